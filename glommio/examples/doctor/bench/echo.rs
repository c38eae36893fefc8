//! A TCP echo server on one executor, its clients on another one.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Instant;

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::spawn_local;

use super::Failure;
use super::clock::{Deadline, StepClock};
use super::executors::start;
use super::mailbox::{Receiver, mailbox};
use super::recorder::{Recorder, Sample};

const MESSAGE_BYTES: usize = 64;

/// Sends messages of 64 bytes over `connections` loopback connections and waits for each echo;
/// one message per connection is on its way at any time.
pub fn tcp_echo(
    cpus: (usize, usize),
    connections: usize,
    clock: StepClock,
) -> Result<Sample, Failure> {
    // Dropped with the client's future, however that ends: then the server stops accepting.
    let (client_lives, client_is_gone) = mailbox();
    let (address_to, address_from) = mpsc::channel();

    let server = start(cpus.0, move || serve(address_to, client_is_gone))?;
    let Ok(address) = address_from.recv() else {
        // The server ended before it listened; it knows why.
        drop(client_lives);
        server.join()?;
        return Err("the echo server ended before it listened".into());
    };
    let client = start(cpus.1, move || async move {
        let sample = talk(address, connections, clock).await;
        drop(client_lives);
        sample
    });

    let sample = client.and_then(|running| running.join());
    let served = server.join();
    let sample = sample?;
    served?;
    Ok(sample)
}

async fn serve(address_to: mpsc::Sender<SocketAddr>, stop: Receiver) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    address_to.send(listener.local_addr()?)?;
    let mut echoes = Vec::new();
    let next_client = async || {
        let accepted = async { Some(listener.accept().await) };
        let stopped = async {
            stop.closed().await;
            None
        };
        accepted.or(stopped).await
    };
    while let Some(accepted) = next_client().await {
        echoes.push(spawn_local(echo(accepted?)));
    }
    for echo in echoes {
        echo.await?;
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            stream.close().await?;
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

async fn talk(
    address: SocketAddr,
    connections: usize,
    clock: StepClock,
) -> Result<Sample, Failure> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let deadline = clock.start();
    let recorder = Rc::new(RefCell::new(Recorder::start(1)));
    let conversations: Vec<_> = streams
        .into_iter()
        .map(|stream| spawn_local(converse(stream, deadline.clone(), recorder.clone())))
        .collect();
    for conversation in conversations {
        conversation.await?;
    }
    let recorder = Rc::into_inner(recorder).expect("the conversations have ended");
    Ok(recorder.into_inner().finish())
}

async fn converse(
    mut stream: TcpStream,
    deadline: Deadline,
    recorder: Rc<RefCell<Recorder>>,
) -> Result<(), Failure> {
    let mut message = [0; MESSAGE_BYTES];
    let mut answer = [0; MESSAGE_BYTES];
    for number in 0u64.. {
        message[..size_of::<u64>()].copy_from_slice(&number.to_le_bytes());
        let before = Instant::now();
        stream.write_all(&message).await?;
        stream.read_exact(&mut answer).await?;
        let now = Instant::now();
        if answer != message {
            return Err("the echo differs from what was sent".into());
        }
        recorder.borrow_mut().record(now - before);
        if deadline.has_passed(now) {
            break;
        }
    }
    stream.close().await?;
    Ok(())
}
