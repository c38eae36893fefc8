//! An echo server on every core, and a client that holds it to its word.
//!
//! ```console
//! $ cargo run --release --example echo -- serve 127.0.0.1:7000
//! $ cargo run --release --example echo -- load 127.0.0.1:7000 --connections 1000 --seconds 5
//! ```
//!
//! With `--udp`, `serve` answers datagrams at the same address too, and `load` sends datagrams instead.
//!
//! `serve` runs one executor per core, each with a listener of its own on the same address, until
//! SIGTERM or Ctrl-C. `load` sends messages over many connections, compares every answer with what
//! it sent, and prints what it saw as JSON; it exits with 1 if a connection failed.

mod load;
mod serve;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, Subcommand};
use glommio::StopHandle;

#[derive(Parser)]
#[command(name = "echo", about = "An echo server on glommio, and its client")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer every connection with what it sends, until SIGTERM or Ctrl-C
    Serve {
        /// Address to listen on
        #[arg(default_value = "127.0.0.1:7000")]
        address: SocketAddr,
        /// Executors, each on a CPU of its own; default: one per usable CPU
        #[arg(long)]
        cores: Option<usize>,
        /// Answer UDP too
        #[arg(long)]
        udp: bool,
    },
    /// Send messages, compare the answers, report as JSON
    Load {
        /// Address of the server; a host name is looked up once
        #[arg(value_parser = look_up)]
        address: Addresses,
        /// Send datagrams, again if no answer comes, from as many sockets as there are connections
        #[arg(long)]
        udp: bool,
        /// Connections at the same time
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Bytes per message
        #[arg(long, default_value_t = 64)]
        bytes: usize,
        /// For how long to send; fractions are allowed
        #[arg(long, default_value = "2", value_parser = seconds)]
        seconds: Duration,
        /// How long a connection may be silent before it counts as failed
        #[arg(long, default_value = "60", value_parser = seconds)]
        patience: Duration,
    },
}

/// What an address may stand for, in the order in which to try.
type Addresses = Arc<[SocketAddr]>;

fn look_up(text: &str) -> Result<Addresses, String> {
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    let found: Addresses = found.collect();
    if found.is_empty() {
        return Err("the name has no address".to_owned());
    }
    Ok(found)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve {
            address,
            cores,
            udp,
        } => serve_until_signalled(address, cores, udp),
        Command::Load {
            address,
            udp,
            connections,
            bytes,
            seconds,
            patience,
        } => {
            let plan = load::Plan {
                addresses: address,
                udp,
                connections,
                bytes,
                duration: seconds,
                patience,
            };
            let seen = load::run(plan).map(|seen| {
                println!("{}", seen.to_json());
                seen.failures.is_empty()
            });
            exit_code(seen)
        }
    }
}

fn serve_until_signalled(address: SocketAddr, cores: Option<usize>, udp: bool) -> ExitCode {
    let served = StopHandle::new().and_then(|stop| {
        let on_signal = stop.clone();
        ctrlc::set_handler(move || on_signal.request_stop())
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let served = serve::run(address, cores, udp, stop)?;
        println!("stopped after {served}");
        Ok(true)
    });
    exit_code(served)
}

fn exit_code(outcome: Result<bool, glommio::GlommioError<()>>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
