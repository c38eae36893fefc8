//! The load generator: one thread, blocking sockets, the same for every echo server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Accepts `connections` connections, with Nagle off: what every echo server begins with.
///
/// # Errors
///
/// If accepting fails.
pub fn accept(listener: &TcpListener, connections: usize) -> io::Result<Vec<TcpStream>> {
    (0..connections)
        .map(|_| {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
        .collect()
}

/// Connections to an echo server, each with at most one message in flight.
#[derive(Debug)]
pub struct Client {
    streams: Vec<TcpStream>,
    message: Vec<u8>,
    answer: Vec<u8>,
    // The stream whose answer is read next; the load wraps around.
    turn: usize,
    in_flight: bool,
}

impl Client {
    /// Opens `connections` connections for messages of `size` bytes, with Nagle off.
    ///
    /// # Errors
    ///
    /// If a connection is refused.
    pub fn connect(server: SocketAddr, connections: usize, size: usize) -> io::Result<Self> {
        let streams = (0..connections)
            .map(|_| {
                let stream = TcpStream::connect(server)?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let message = (0..size).map(|i| i as u8).collect();
        Ok(Self {
            streams,
            message,
            answer: vec![0; size],
            turn: 0,
            in_flight: false,
        })
    }

    /// Exchanges messages for about `duration`, and says how many were answered.
    ///
    /// Every connection keeps one message in flight: the client reads the answer on one, sends the
    /// next message there, and goes to the next connection.
    ///
    /// # Errors
    ///
    /// If the server closes a connection or answers with other bytes than it was sent.
    pub fn run_for(&mut self, duration: Duration) -> io::Result<(u64, Duration)> {
        self.fill()?;
        let begin = Instant::now();
        let mut answered = 0;
        loop {
            // The clock is read once per 16 messages; it is not free.
            for _ in 0..16 {
                self.exchange()?;
            }
            answered += 16;
            let elapsed = begin.elapsed();
            if elapsed >= duration {
                return Ok((answered, elapsed));
            }
        }
    }

    /// Exchanges exactly `messages` messages beyond those in flight, and says how long that took.
    ///
    /// # Errors
    ///
    /// As for [`run_for`](Self::run_for).
    pub fn run_count(&mut self, messages: u64) -> io::Result<Duration> {
        self.fill()?;
        let begin = Instant::now();
        for _ in 0..messages {
            self.exchange()?;
        }
        Ok(begin.elapsed())
    }

    /// Reads the answers still under way and closes the connections.
    ///
    /// # Errors
    ///
    /// As for [`run_for`](Self::run_for).
    pub fn finish(mut self) -> io::Result<()> {
        if self.in_flight {
            for _ in 0..self.streams.len() {
                self.receive()?;
                self.turn = (self.turn + 1) % self.streams.len();
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.in_flight {
            for stream in &mut self.streams {
                stream.write_all(&self.message)?;
            }
            self.in_flight = true;
        }
        Ok(())
    }

    fn exchange(&mut self) -> io::Result<()> {
        self.receive()?;
        self.streams[self.turn].write_all(&self.message)?;
        self.turn += 1;
        if self.turn == self.streams.len() {
            self.turn = 0;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.streams[self.turn].read_exact(&mut self.answer)?;
        // First and last byte: cheap, and enough to catch an answer that is shifted or stale.
        let (first, last) = (0, self.answer.len() - 1);
        if self.answer[first] != self.message[first] || self.answer[last] != self.message[last] {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the echo is not what was sent",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn echo_with_std(connections: usize) -> (SocketAddr, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            thread::scope(|scope| {
                for _ in 0..connections {
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || io::copy(&mut &stream, &mut &stream).unwrap());
                }
            });
        });
        (address, server)
    }

    #[test]
    fn counts_messages_and_leaves_none_behind() {
        let (address, server) = echo_with_std(3);
        let mut client = Client::connect(address, 3, 100).unwrap();
        client.run_count(50).unwrap();
        let (answered, elapsed) = client.run_for(Duration::from_millis(5)).unwrap();
        assert!(answered >= 16 && elapsed >= Duration::from_millis(5));
        client.finish().unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_wrong_echo_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut message = [0; 8];
            stream.read_exact(&mut message).unwrap();
            stream.write_all(&[0xff; 8]).unwrap();
        });
        let mut client = Client::connect(address, 1, 8).unwrap();
        let refusal = client.run_count(1).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::InvalidData);
        server.join().unwrap();
    }
}
