//! The server: one executor per core, all of them listening on one address.

use std::{cell::Cell, fmt, net::SocketAddr, ops::Add, rc::Rc, thread, time::Duration};

use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use glommio::{
    GlommioError, LocalExecutorPoolBuilder, PoolPlacement, StopHandle, executor,
    net::{TcpListener, TcpStream, UdpSocket},
    spawn_local, timer,
};

type Result<T> = std::result::Result<T, GlommioError<()>>;

/// What an executor, or all of them, received.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served {
    pub connections: u64,
    /// Over connections.
    pub bytes: u64,
    pub datagrams: u64,
}

impl Add for Served {
    type Output = Served;

    fn add(self, other: Served) -> Served {
        Served {
            connections: self.connections + other.connections,
            bytes: self.bytes + other.bytes,
            datagrams: self.datagrams + other.datagrams,
        }
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served {
            connections,
            bytes,
            datagrams,
        } = self;
        write!(
            f,
            "{connections} connections and {bytes} bytes, and {datagrams} datagrams"
        )
    }
}

/// Serves until `stop` is requested. Connections that are open then are closed.
pub fn run(
    address: SocketAddr,
    cores: Option<usize>,
    udp: bool,
    stop: StopHandle,
) -> Result<Served> {
    let cores = cores.map_or_else(thread::available_parallelism, |cores| {
        cores
            .try_into()
            .map_err(|_| std::io::Error::other("--cores is 0"))
    })?;
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::MaxSpread(cores.get(), None))
        .name("echo")
        .stop_handle(stop)
        .on_all_shards(move || async move {
            let stop = executor().stop_handle();
            let served = serve(address, udp).await;
            // A core that cannot serve takes the others down with it.
            stop.request_stop();
            served
        })?;
    let shards = pool.join_all().into_iter();
    shards
        .map(|shard| shard?)
        .try_fold(Served::default(), |sum, shard| Ok(sum + shard?))
}

/// One core's part.
async fn serve(address: SocketAddr, udp: bool) -> Result<Served> {
    let served = Rc::new(Cell::new(Served::default()));
    if udp {
        // Before it listens: whoever can connect can send datagrams too.
        let socket = UdpSocket::bind(address)?;
        spawn_local(echo_datagrams(socket, served.clone())).detach();
    }
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let stop = executor().stop_handle();
    while let Some(connection) = stop.run_until_stopped(listener.accept()).await {
        // Such as the limit of open files: the connections that are there are served on.
        match connection {
            Ok(connection) => {
                spawn_local(echo(connection, served.clone())).detach();
            }
            Err(error) => {
                eprintln!("echo: cannot accept a connection: {error}");
                timer::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    Ok(served.get())
}

/// Sends back what arrives. The peer's leaving is the end, however it leaves.
async fn echo(mut connection: TcpStream, served: Rc<Cell<Served>>) {
    let mut buffer = vec![0; 16 << 10];
    let add = |connections, bytes| {
        let more = Served {
            connections,
            bytes,
            datagrams: 0,
        };
        served.set(served.get() + more);
    };
    add(1, 0);
    let _: io::Result<()> = async {
        loop {
            let read = connection.read(&mut buffer).await?;
            if read == 0 {
                return connection.close().await;
            }
            add(0, read as u64);
            connection.write_all(&buffer[..read]).await?;
        }
    }
    .await;
}

/// Sends datagrams back to where they came from. One that cannot be sent is lost, like others on their
/// way.
async fn echo_datagrams(mut socket: UdpSocket, served: Rc<Cell<Served>>) {
    let mut buffer = vec![0; 64 << 10];
    socket.set_buffer_size(buffer.len());
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, sender)) => {
                let _ = socket.send_to(&buffer[..len], sender).await;
                let more = Served {
                    datagrams: 1,
                    ..Served::default()
                };
                served.set(served.get() + more);
            }
            Err(error) => {
                eprintln!("echo: cannot receive a datagram: {error}");
                timer::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
