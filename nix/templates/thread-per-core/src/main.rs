//! A server with one executor per core. Each core has a listener, its own connections and its own
//! state, and shares nothing with the others.
//!
//! It answers every line with how many lines its core has seen:
//!
//! ```console
//! $ cargo run --release
//! $ printf 'a\nb\n' | nc -q1 127.0.0.1 7000
//! 1
//! 2
//! ```

use std::{cell::Cell, net::SocketAddr, rc::Rc, thread};

use futures_lite::{AsyncBufReadExt, AsyncWriteExt, StreamExt, io};
use glommio::{
    GlommioError, LocalExecutorPoolBuilder, PoolPlacement, StopHandle, executor,
    net::{TcpListener, TcpStream},
    spawn_local,
};

type Result<T> = std::result::Result<T, GlommioError<()>>;

fn main() -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], 7000));
    let cores = thread::available_parallelism()?.get();
    let stop = StopHandle::new()?;
    let on_signal = stop.clone();
    ctrlc::set_handler(move || on_signal.request_stop()).map_err(std::io::Error::other)?;
    println!("{cores} cores listen on {address} until Ctrl-C");
    for lines in serve(address, cores, stop)? {
        println!("a core saw {lines} lines");
    }
    Ok(())
}

/// Serves on that many cores until `stop` is requested; how many lines each of them saw.
fn serve(address: SocketAddr, cores: usize, stop: StopHandle) -> Result<Vec<u64>> {
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::MaxSpread(cores, None))
        .name("server")
        .stop_handle(stop)
        .on_all_shards(move || async move {
            let served = serve_on_this_core(address).await;
            // One core that cannot serve ends the others too.
            executor().stop_handle().request_stop();
            served
        })?;
    pool.join_all().into_iter().map(|core| core?).collect()
}

async fn serve_on_this_core(address: SocketAddr) -> Result<u64> {
    // The kernel spreads connections over the listeners of all cores.
    let listener = TcpListener::bind(address)?;
    let stop = executor().stop_handle();
    // No lock and no atomic: only tasks of this core reach it.
    let lines = Rc::new(Cell::new(0));
    while let Some(connection) = stop.run_until_stopped(listener.accept()).await {
        spawn_local(talk(connection?, lines.clone())).detach();
    }
    Ok(lines.get())
}

/// One connection, until its peer leaves.
async fn talk(connection: TcpStream, lines: Rc<Cell<u64>>) -> io::Result<()> {
    let (reader, mut writer) = io::split(connection);
    let mut received = io::BufReader::new(reader).lines();
    while let Some(line) = received.next().await {
        line?;
        lines.set(lines.get() + 1);
        writer
            .write_all(format!("{}\n", lines.get()).as_bytes())
            .await?;
    }
    writer.close().await
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn every_line_is_answered_with_its_number() {
        // Found free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let stop = StopHandle::new().unwrap();
        let server = thread::spawn({
            let stop = stop.clone();
            move || serve(address, 1, stop)
        });

        let mut connection = loop {
            match TcpStream::connect(address) {
                Ok(connection) => break connection,
                Err(_) => thread::yield_now(),
            }
        };
        connection.write_all(b"a\nb\nc\n").unwrap();
        let answers = BufReader::new(connection).lines().take(3);
        assert_eq!(
            answers.collect::<std::io::Result<Vec<_>>>().unwrap(),
            ["1", "2", "3"]
        );

        stop.request_stop();
        assert_eq!(server.join().unwrap().unwrap(), [3]);
    }
}
