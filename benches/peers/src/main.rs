//! The comparison program with other runtimes as contenders.

mod channels;
mod compio;
mod glommio_ng;
mod glommio_upstream;
mod monoio;
mod shapes;
mod tokio;
mod tokio_uring;

use std::marker::PhantomData;
use std::process::ExitCode;

use glommio_benches::{cli, contender, own};

fn main() -> ExitCode {
    let mut contenders = own::contenders();
    contenders.extend([
        &glommio_upstream::GlommioUpstream as &'static dyn contender::Contender,
        &glommio_ng::GlommioNg,
        &monoio::Monoio,
        &compio::Compio,
        &tokio_uring::TokioUring,
        &tokio::Tokio,
        &channels::OnGlommio(PhantomData::<channels::Flume>),
        &channels::OnGlommio(PhantomData::<channels::AsyncChannel>),
        &channels::OnGlommio(PhantomData::<channels::Kanal>),
    ]);
    cli::main(&contenders)
}
