//! `future`.

use std::{future::Ready, time::Duration};

use glommio::future;

use super::Outcome;

/// Functions whose types cannot be written down. Never run.
async fn _functions(any: Ready<u8>) {
    let _: Outcome<u8> = future::timeout::<Ready<u8>, u8>(Duration::ZERO, any).await;
}
