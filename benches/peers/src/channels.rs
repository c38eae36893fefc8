//! Channels that know no runtime, between tasks and executors of glommio.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;

use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, spawn_local};
use glommio_benches::contender::{Contender, Setting, refuse};
use glommio_benches::{Sample, Stopwatch, Workload};

/// A bounded channel of numbers.
pub trait Channel: Sync + 'static {
    const NAME: &'static str;
    type Sender: Send + 'static;
    type Receiver: Send + 'static;

    fn bounded(capacity: usize) -> (Self::Sender, Self::Receiver);

    /// Says whether the other side was there.
    fn send(sender: &Self::Sender, number: u64) -> impl Future<Output = bool>;

    /// `None` when the other side is gone.
    fn receive(receiver: &Self::Receiver) -> impl Future<Output = Option<u64>>;
}

macro_rules! channel {
    ($name:ident, $text:literal, $bounded:path, $sender:ty, $receiver:ty, $send:ident, $receive:ident) => {
        pub struct $name;

        impl Channel for $name {
            const NAME: &'static str = $text;
            type Sender = $sender;
            type Receiver = $receiver;

            fn bounded(capacity: usize) -> ($sender, $receiver) {
                $bounded(capacity)
            }

            async fn send(sender: &$sender, number: u64) -> bool {
                sender.$send(number).await.is_ok()
            }

            async fn receive(receiver: &$receiver) -> Option<u64> {
                receiver.$receive().await.ok()
            }
        }
    };
}

channel!(
    Flume,
    "flume",
    flume::bounded,
    flume::Sender<u64>,
    flume::Receiver<u64>,
    send_async,
    recv_async
);
channel!(
    AsyncChannel,
    "async-channel",
    async_channel::bounded,
    async_channel::Sender<u64>,
    async_channel::Receiver<u64>,
    send,
    recv
);
channel!(
    Kanal,
    "kanal",
    kanal::bounded_async,
    kanal::AsyncSender<u64>,
    kanal::AsyncReceiver<u64>,
    send,
    recv
);

/// A channel as a contender.
pub struct OnGlommio<C>(pub PhantomData<C>);

fn failed(error: GlommioError<()>) -> io::Error {
    io::Error::other(error)
}

impl<C: Channel> Contender for OnGlommio<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn takes(&self, workload: Workload) -> bool {
        matches!(
            workload,
            Workload::LocalChannel | Workload::SharedPingPong | Workload::SharedStream
        )
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::LocalChannel => Ok(LocalExecutor::default().run(local::<C>(n))),
            Workload::SharedPingPong => ping_pong::<C>(&setting.cpus, n),
            Workload::SharedStream => stream::<C>(&setting.cpus, n),
            _ => Err(refuse(self, workload)),
        }
    }

    fn serve(&self, _listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        Err(refuse(self, Workload::Echo { connections, size }))
    }
}

async fn send_all<C: Channel>(sender: C::Sender, n: u64) {
    for i in 0..n {
        assert!(C::send(&sender, i).await);
    }
}

async fn receive_all<C: Channel>(receiver: C::Receiver, n: u64) -> C::Receiver {
    for i in 0..n {
        assert_eq!(C::receive(&receiver).await, Some(i));
    }
    receiver
}

async fn local<C: Channel>(n: u64) -> Sample {
    let (sender, receiver) = C::bounded(128);
    let watch = Stopwatch::start();
    let sending = spawn_local(send_all::<C>(sender, n));
    let receiving = spawn_local(receive_all::<C>(receiver, n));
    sending.await;
    receiving.await;
    watch.stop(n)
}

fn on_two_cpus<F, L>(
    cpus: &[usize],
    first: impl FnOnce() -> F + Send + 'static,
    last: impl FnOnce() -> L + Send + 'static,
) -> io::Result<Sample>
where
    F: Future<Output = Sample> + 'static,
    L: Future<Output = ()> + 'static,
{
    let placement =
        |cpu: Option<&usize>| cpu.map_or(Placement::Unbound, |&cpu| Placement::Fixed(cpu));
    let last = LocalExecutorBuilder::new(placement(cpus.last()))
        .spawn(last)
        .map_err(failed)?;
    let first = LocalExecutorBuilder::new(placement(cpus.first()))
        .spawn(first)
        .map_err(failed)?;
    let sample = first.join().map_err(failed)?;
    last.join().map_err(failed)?;
    Ok(sample)
}

fn stream<C: Channel>(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (sender, receiver) = C::bounded(1024);
    let receiving = move || async move {
        // The first one waits until the other thread is there.
        assert_eq!(C::receive(&receiver).await, Some(0));
        let watch = Stopwatch::start();
        for i in 1..=n {
            assert_eq!(C::receive(&receiver).await, Some(i));
        }
        watch.stop(n)
    };
    on_two_cpus(cpus, receiving, move || send_all::<C>(sender, n + 1))
}

fn ping_pong<C: Channel>(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (questions, asked) = C::bounded(1);
    let (answers, answered) = C::bounded(1);
    let asking = move || async move {
        let watch = Stopwatch::start();
        for i in 0..n {
            assert!(C::send(&questions, i).await);
            assert_eq!(C::receive(&answered).await, Some(i));
        }
        watch.stop(n)
    };
    on_two_cpus(cpus, asking, move || async move {
        while let Some(i) = C::receive(&asked).await {
            // The last answer may find that the other side is done.
            C::send(&answers, i).await;
        }
    })
}
