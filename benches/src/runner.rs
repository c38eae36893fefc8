//! Runs contenders in fresh processes.
//!
//! The comparison program starts itself once per measurement: a process that has run one runtime is
//! no fair start for the next. A child either measures itself ([`measure`]) or is an echo server
//! ([`serve`]) that the parent loads and watches from outside.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::contender::{Contender, Setting};
use crate::report::Round;
use crate::{Sample, Workload, host};

/// How much to do in one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// As many operations as take about this long.
    Time(Duration),
    /// This many operations.
    Ops(u64),
}

/// Where and how children run.
#[derive(Clone, Debug)]
pub struct Runner {
    /// The program to start; normally this one.
    pub program: PathBuf,
    /// A command and its arguments to start it under, such as a tracer.
    pub under: Vec<OsString>,
    /// CPUs and test file.
    pub setting: Setting,
}

impl Runner {
    /// Measures one workload of one contender once.
    ///
    /// # Errors
    ///
    /// If the child cannot be started or fails; its standard error goes to ours.
    pub fn round(
        &self,
        contender: &dyn Contender,
        workload: Workload,
        amount: Amount,
    ) -> io::Result<Round> {
        match workload {
            Workload::Echo { connections, size } => self.echo(contender, connections, size, amount),
            _ => self.work(contender, workload, amount),
        }
    }

    fn work(
        &self,
        contender: &dyn Contender,
        workload: Workload,
        amount: Amount,
    ) -> io::Result<Round> {
        let mut command = self.command("measure", contender);
        command.arg("--workload").arg(workload.to_string());
        match amount {
            Amount::Time(time) => command.arg("--millis").arg(time.as_millis().to_string()),
            Amount::Ops(ops) => command.arg("--ops").arg(ops.to_string()),
        };
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "{}: {}",
                contender.name(),
                output.status
            )));
        }
        let [ops, wall_ns, cpu_ns, resident_kib] =
            numbers(&String::from_utf8_lossy(&output.stdout))?;
        let sample = Sample {
            ops,
            wall: Duration::from_nanos(wall_ns),
            cpu: Duration::from_nanos(cpu_ns),
        };
        Ok(Round {
            sample,
            resident_kib,
        })
    }

    fn echo(
        &self,
        contender: &dyn Contender,
        connections: usize,
        size: usize,
        amount: Amount,
    ) -> io::Result<Round> {
        let mut command = self.command("serve", contender);
        command.arg("--connections").arg(connections.to_string());
        command.arg("--size").arg(size.to_string());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().expect("the output is piped"));
        let round = load(&mut output, child.id(), connections, size, amount);
        if round.is_err() {
            // It may wait for connections that will never come.
            let _ = child.kill();
        }
        let status = child.wait()?;
        match round {
            Ok(_) if !status.success() => {
                Err(io::Error::other(format!("{}: {status}", contender.name())))
            }
            other => other,
        }
    }

    fn command(&self, role: &str, contender: &dyn Contender) -> Command {
        let mut command = match self.under.split_first() {
            Some((tracer, arguments)) => {
                let mut command = Command::new(tracer);
                command.args(arguments).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        let cpus: Vec<String> = self.setting.cpus.iter().map(ToString::to_string).collect();
        command.arg(role).arg("--contender").arg(contender.name());
        command
            .arg("--cpus")
            .arg(cpus.join(","))
            .arg("--file")
            .arg(&self.setting.file);
        command
    }
}

// Drives an echo server that writes its port, and at its end its resident memory, to `output`.
fn load(
    output: &mut impl BufRead,
    pid: u32,
    connections: usize,
    size: usize,
    amount: Amount,
) -> io::Result<Round> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    let [port] = numbers(&line)?;
    let port = u16::try_from(port).map_err(io::Error::other)?;
    let mut client = Client::connect(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        connections,
        size,
    )?;
    let sample = match amount {
        Amount::Time(time) => {
            client.run_for(time / 4)?;
            let before = host::cpu_of(pid)?;
            let (ops, wall) = client.run_for(time)?;
            Sample {
                ops,
                wall,
                cpu: host::cpu_of(pid)?.saturating_sub(before),
            }
        }
        // Counting looks at the whole process; its CPU time is the tracer's, mostly.
        Amount::Ops(ops) => Sample {
            ops,
            wall: client.run_count(ops)?,
            cpu: Duration::ZERO,
        },
    };
    client.finish()?;
    line.clear();
    output.read_line(&mut line)?;
    let [resident_kib] = numbers(&line)?;
    Ok(Round {
        sample,
        resident_kib,
    })
}

fn numbers<const N: usize>(line: &str) -> io::Result<[u64; N]> {
    let numbers: Option<Vec<u64>> = line
        .split_whitespace()
        .map(|number| number.parse().ok())
        .collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the child answered {line:?}"),
            )
        })
}

/// The child's part of a measurement: does the work and writes one line of numbers to `output`.
///
/// # Errors
///
/// If the work or writing fails.
pub fn measure(
    contender: &dyn Contender,
    workload: Workload,
    amount: Amount,
    setting: &Setting,
    output: &mut impl Write,
) -> io::Result<()> {
    if let Some(&cpu) = setting.cpus.first() {
        host::pin(cpu)?;
    }
    let sample = match amount {
        Amount::Ops(ops) => contender.run(workload, ops, setting)?,
        Amount::Time(time) => sized(contender, workload, time, setting)?,
    };
    writeln!(
        output,
        "{} {} {} {}",
        sample.ops,
        sample.wall.as_nanos(),
        sample.cpu.as_nanos(),
        host::resident_kib()
    )
}

// Finds how many operations fill `time`, which also warms everything up, and does that many.
fn sized(
    contender: &dyn Contender,
    workload: Workload,
    time: Duration,
    setting: &Setting,
) -> io::Result<Sample> {
    if workload == Workload::Sleeps {
        // More sleeps do not take longer.
        return contender.run(workload, 100_000, setting);
    }
    let mut ops = 64;
    loop {
        let sample = contender.run(workload, ops, setting)?;
        if sample.wall >= time / 8 {
            let fill = time.as_secs_f64() / sample.wall.as_secs_f64();
            return contender.run(workload, ((ops as f64 * fill) as u64).max(1), setting);
        }
        ops *= 4;
    }
}

/// The child's part of an echo measurement: writes its port, serves, and writes its resident memory.
///
/// # Errors
///
/// If the server cannot be set up or fails.
pub fn serve(
    contender: &dyn Contender,
    connections: usize,
    size: usize,
    setting: &Setting,
    output: &mut impl Write,
) -> io::Result<()> {
    if let Some(&cpu) = setting.cpus.first() {
        host::pin(cpu)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    writeln!(output, "{}", listener.local_addr()?.port())?;
    output.flush()?;
    contender.serve(listener, connections, size)?;
    writeln!(output, "{}", host::resident_kib())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Raw;

    fn setting() -> Setting {
        Setting {
            cpus: host::allowed_cpus(),
            file: PathBuf::new(),
        }
    }

    #[test]
    fn a_measurement_is_one_line_of_four_numbers() {
        std::thread::spawn(|| {
            let mut line = Vec::new();
            let amount = Amount::Ops(100);
            measure(&Raw, Workload::Nop, amount, &setting(), &mut line).unwrap();
            let [ops, wall_ns, _, resident_kib] =
                numbers(std::str::from_utf8(&line).unwrap()).unwrap();
            assert_eq!(ops, 100);
            assert!(wall_ns > 0 && resident_kib > 0);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn an_amount_of_time_is_filled() {
        let time = Duration::from_millis(20);
        let sample = sized(&Raw, Workload::Yield, time, &setting()).unwrap();
        assert!(sample.ops > 1000 && sample.wall > time / 8, "{sample:?}");
    }

    #[test]
    fn garbage_from_a_child_is_an_error() {
        assert!(numbers::<2>("1 2 3").is_err());
        assert!(numbers::<1>("one").is_err());
        assert_eq!(numbers("1 2\n").unwrap(), [1, 2]);
    }
}
