//! An echo server on one core. Run it, then `nc 127.0.0.1 7000`.

use futures_lite::io;
use glommio::net::TcpListener;
use glommio::{GlommioError, LocalExecutorBuilder, Placement, spawn_local};

fn main() -> Result<(), GlommioError<()>> {
    let server = LocalExecutorBuilder::new(Placement::Fixed(0)).spawn(|| async {
        let listener = TcpListener::bind("127.0.0.1:7000")?;
        loop {
            let (reader, writer) = io::split(listener.accept().await?);
            spawn_local(io::copy(reader, writer)).detach();
        }
    })?;
    server.join()?
}
