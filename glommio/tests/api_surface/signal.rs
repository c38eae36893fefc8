//! `signal`.

use std::{ffi::c_int, fmt::Debug};

use glommio::signal::{self, Signals};

use super::{Outcome, typed};

signatures! {
    Signals::new => fn(&[c_int]) -> Outcome<Signals>;
    Signals::try_recv => fn(&Signals) -> Outcome<Option<c_int>>;
    signal::block => fn(&[c_int]) -> Outcome<()>;
}

implements! {
    Signals: Debug;
}

lacks! {
    Signals: Send, Clone;
}

async fn futures(signals: &Signals) {
    typed::<Outcome<c_int>>(signals.recv().await);
    typed::<Outcome<()>>(signal::ctrl_c().await);
}

#[test]
fn futures_have_their_outputs() {
    let _ = futures;
}
