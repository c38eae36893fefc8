//! glommio's own numbers, beside those of io_uring by hand, to follow from change to change.
//!
//! The functions are those of `compare`, which is the tool for claims: here the contenders run one after
//! the other. What `compare` judges by CPU time is judged by CPU time here, too.

#![allow(missing_docs, reason = "criterion_group! makes a function without any")]

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use glommio_benches::client::Client;
use glommio_benches::contender::{Contender, Setting};
use glommio_benches::ours::Glommio;
use glommio_benches::raw::Raw;
use glommio_benches::{Workload, host};

static CONTENDERS: [&dyn Contender; 2] = [&Glommio, &Raw];

const FILE_BYTES: u64 = 64 << 20;

fn all(criterion: &mut Criterion) {
    // Beside the program, since a temporary directory may refuse O_DIRECT.
    let program = std::env::current_exe().expect("the program has a path");
    let file = program.with_file_name("glommio-criterion-data");
    let mut cpus = host::allowed_cpus();
    cpus.truncate(2);
    let setting = Setting { cpus, file };
    // See the README's traps: a CPU that halts hides everything.
    let _spinners = host::Spinners::start(&setting.cpus).expect("spinners start");
    if let Some(&cpu) = setting.cpus.last() {
        host::pin(cpu).expect("an allowed CPU");
    }
    for workload in [
        Workload::NeedPreempt,
        Workload::Yield,
        Workload::Spawn,
        Workload::LocalChannel,
        Workload::Semaphore,
        Workload::TimerCancel,
        Workload::Nop,
        Workload::PingPong,
        Workload::SharedPingPong,
        Workload::SharedStream,
        Workload::Executor,
        Workload::Echo {
            connections: 1,
            size: 64,
        },
        Workload::Echo {
            connections: 128,
            size: 1024,
        },
        Workload::Read { depth: 1 },
        Workload::Read { depth: 32 },
    ] {
        group(criterion, workload, &setting);
    }
    // It may not exist: a filter may have left the reads out.
    let _ = std::fs::remove_file(&setting.file);
}

fn group(criterion: &mut Criterion, workload: Workload, setting: &Setting) {
    let mut group = criterion.benchmark_group(workload.to_string());
    group.throughput(Throughput::Elements(1));
    group.sample_size(20);
    for contender in CONTENDERS {
        let is_echo = matches!(workload, Workload::Echo { .. });
        if !is_echo && !contender.takes(workload) {
            continue;
        }
        group.bench_function(contender.name(), |bencher| {
            if matches!(workload, Workload::Read { .. }) {
                host::written_file(&setting.file, FILE_BYTES).expect("the test file is written");
            }
            bencher.iter_custom(|n| {
                let done = match workload {
                    Workload::Echo { connections, size } => {
                        echo(contender, connections, size, n, setting)
                    }
                    _ => run(contender, workload, n, setting),
                };
                done.unwrap_or_else(|error| panic!("{workload}, {}: {error}", contender.name()))
            });
        });
    }
    group.finish();
}

// On a thread of its own, pinned, as in the fresh processes of `compare`.
fn run(
    contender: &'static dyn Contender,
    workload: Workload,
    n: u64,
    setting: &Setting,
) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let setting = setting.clone();
    let measured = thread::spawn(move || {
        if let Some(&cpu) = setting.cpus.first() {
            host::pin(cpu)?;
        }
        contender.run(workload, n, &setting)
    });
    let sample = measured.join().map_err(|_| "the workload panicked")??;
    Ok(if workload.judged_by_cpu() {
        sample.cpu
    } else {
        sample.wall
    })
}

fn echo(
    contender: &'static dyn Contender,
    connections: usize,
    size: usize,
    n: u64,
    setting: &Setting,
) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let cpu = setting.cpus.first().copied();
    let server = thread::spawn(move || {
        cpu.map_or(Ok(()), host::pin)?;
        contender.serve(listener, connections, size)
    });
    let mut client = Client::connect(address, connections, size)?;
    let took = client.run_count(n)?;
    client.finish()?;
    server.join().map_err(|_| "the server panicked")??;
    Ok(took)
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(benches);
