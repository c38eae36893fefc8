//! A TCP echo server with one `io_uring_enter` per turn of its loop.
//!
//! Two things keep a round trip on one connection at exactly one system call:
//!
//! - A send is flagged `MSG_DONTWAIT | MSG_WAITALL` and `CQE_SKIP_SUCCESS`. Either the socket takes
//!   all of it during the submission, silently, or it completes at once with what it did take. So when
//!   `io_uring_enter` has returned, a send without a completion is done, its buffer is free, and no
//!   completion of it has ended the wait for the next message.
//! - The next receive is submitted together with the answer (or is a multishot that stays armed).

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::{cqueue, opcode, squeue, types};

use crate::raw::{ProvidedBuffers, Ring};

/// How the server receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// One receive per message, which waits for readiness before it tries the socket, into a provided buffer.
    PollFirst,
    /// One multishot receive per connection, into provided buffers.
    Multishot,
}

/// What an echo server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Receives that brought data.
    pub receives: u64,
}

// Flags of the receive operation, from the kernel's io_uring.h; the crate names neither in public.
const RECVSEND_POLL_FIRST: u16 = 1 << 0;
const RECV_MULTISHOT: u16 = 1 << 1;

const GROUP: u16 = 0;
const KIND_RECEIVE: u64 = 0;
const KIND_SEND: u64 = 1;
const KIND_SLOW_SEND: u64 = 2;

/// Accepts `connections` connections and echoes on each until the client closes it.
///
/// Buffers have `size` bytes.
///
/// # Errors
///
/// If the ring or its buffers cannot be set up, or accepting fails. Errors on a connection end that
/// connection only.
pub fn serve(
    listener: &TcpListener,
    connections: usize,
    size: usize,
    receive: Receive,
) -> io::Result<Served> {
    let ring = Ring::new((connections as u32 * 2).next_power_of_two().clamp(16, 4096))?;
    // SAFETY: `Server` declares `ring` before `buffers`, so it is dropped first.
    let buffers = unsafe { ProvidedBuffers::register(&ring, GROUP, connections * 2 + 2, size)? };
    let mut server = Server {
        ring,
        buffers,
        connections: Vec::with_capacity(connections),
        receive,
        open: connections,
        sending: Vec::new(),
        unsent: Vec::new(),
        served: Served {
            enters: 0,
            receives: 0,
        },
    };
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        server.connections.push(Connection {
            stream: Some(stream),
            backlog: VecDeque::new(),
            stalled: false,
            sending: false,
            ended: false,
        });
    }
    server.run()
}

struct Connection {
    stream: Option<TcpStream>,
    // Messages (buffer, start, end) that wait for a send to finish.
    backlog: VecDeque<(u16, usize, usize)>,
    // A slow send is under way, or a quick one goes out with the next enter. One at a time: a second
    // could overtake a first that found the socket full.
    stalled: bool,
    sending: bool,
    ended: bool,
}

struct Server {
    ring: Ring,
    buffers: ProvidedBuffers,
    connections: Vec<Connection>,
    receive: Receive,
    open: usize,
    // Connections and buffers whose quick sends go out with the next enter.
    sending: Vec<(usize, u16)>,
    // Buffers whose send did not finish during the submission.
    unsent: Vec<u16>,
    served: Served,
}

impl Server {
    fn run(mut self) -> io::Result<Served> {
        for index in 0..self.connections.len() {
            self.arm(index)?;
        }
        let mut completions = Vec::new();
        while self.open > 0 {
            self.ring.enter(1)?;
            self.ring.take_all(&mut completions);
            // Sends first: only when it is known which of them are over do their buffers come back,
            // and may their connections send again.
            for completion in &completions {
                self.send_failed(completion)?;
            }
            self.settle_sends()?;
            for completion in completions.drain(..) {
                self.complete(&completion)?;
            }
            self.buffers.publish();
        }
        self.served.enters = self.ring.enters();
        Ok(self.served)
    }

    // A quick send that has a completion did not take everything during its submission.
    fn send_failed(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (kind, index, id, end) = unpack(completion.user_data());
        if kind == KIND_SEND {
            self.unsent.push(id);
            self.sent_in_part(index, id, end, completion.result())?;
        }
        Ok(())
    }

    fn settle_sends(&mut self) -> io::Result<()> {
        let mut sent = std::mem::take(&mut self.sending);
        for (index, id) in sent.drain(..) {
            if self.unsent.is_empty() || !self.unsent.contains(&id) {
                self.buffers.give_back(id);
            }
            let connection = &mut self.connections[index];
            connection.sending = false;
            if !connection.stalled && !connection.backlog.is_empty() {
                self.next_of_backlog(index)?;
            }
        }
        self.unsent.clear();
        self.sending = sent;
        Ok(())
    }

    fn complete(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (kind, index, id, _) = unpack(completion.user_data());
        match kind {
            KIND_RECEIVE => self.received(index, completion),
            KIND_SEND => Ok(()),
            _ => {
                self.buffers.give_back(id);
                if completion.result() < 0 {
                    self.connections[index].ended = true;
                }
                self.next_of_backlog(index)
            }
        }
    }

    fn received(&mut self, index: usize, completion: &cqueue::Entry) -> io::Result<()> {
        let armed = cqueue::more(completion.flags());
        let result = completion.result();
        let connection = &mut self.connections[index];
        match cqueue::buffer_select(completion.flags()) {
            Some(id) if result > 0 && !connection.ended => {
                self.served.receives += 1;
                let len = result as usize;
                if connection.stalled || connection.sending {
                    connection.backlog.push_back((id, 0, len));
                } else {
                    self.send(index, id, len)?;
                }
            }
            Some(id) => self.buffers.give_back(id),
            None => {}
        }
        // Out of buffers is not the end: some come back with this very turn.
        let ended = result <= 0 && result != -libc::ENOBUFS;
        if ended {
            self.connections[index].ended = true;
        }
        if armed {
            Ok(())
        } else if self.connections[index].ended {
            self.close(index);
            Ok(())
        } else {
            self.arm(index)
        }
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        let fd = self.fd(index);
        let ioprio = match self.receive {
            Receive::PollFirst => RECVSEND_POLL_FIRST,
            Receive::Multishot => RECVSEND_POLL_FIRST | RECV_MULTISHOT,
        };
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .ioprio(ioprio)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(pack(KIND_RECEIVE, index, 0, 0));
        // SAFETY: the entry points to no memory; the provided buffers outlive the ring.
        unsafe { self.ring.push(&entry) }
    }

    fn send(&mut self, index: usize, id: u16, len: usize) -> io::Result<()> {
        let entry = opcode::Send::new(
            self.fd(index),
            self.buffers.filled(id, len).as_ptr(),
            len as u32,
        )
        .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(pack(KIND_SEND, index, id, len));
        self.sending.push((index, id));
        self.connections[index].sending = true;
        // SAFETY: the buffer is not given back before the send is known to be over: after the next
        // enter if no completion was posted, else after the slow send that follows.
        unsafe { self.ring.push(&entry) }
    }

    fn sent_in_part(&mut self, index: usize, id: u16, end: usize, result: i32) -> io::Result<()> {
        let start = match usize::try_from(result) {
            Ok(sent) => sent,
            Err(_) if result == -libc::EAGAIN => 0,
            Err(_) => {
                self.connections[index].ended = true;
                end
            }
        };
        let connection = &mut self.connections[index];
        if start == end || connection.ended {
            self.buffers.give_back(id);
            return Ok(());
        }
        connection.backlog.push_back((id, start, end));
        if connection.stalled {
            Ok(())
        } else {
            self.next_of_backlog(index)
        }
    }

    fn next_of_backlog(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.stalled = false;
        let Some((id, start, end)) = connection.backlog.pop_front() else {
            if connection.ended {
                self.close(index);
            }
            return Ok(());
        };
        connection.stalled = true;
        let rest = &self.buffers.filled(id, end)[start..];
        let entry = opcode::Send::new(self.fd(index), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(pack(KIND_SLOW_SEND, index, id, end));
        // SAFETY: the buffer is given back only at this send's completion.
        unsafe { self.ring.push(&entry) }
    }

    fn close(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.stalled || !connection.backlog.is_empty() {
            return;
        }
        if connection.stream.take().is_some() {
            self.open -= 1;
        }
    }

    fn fd(&self, index: usize) -> types::Fd {
        let stream = self.connections[index].stream.as_ref();
        types::Fd(
            stream
                .expect("only open connections have operations")
                .as_raw_fd(),
        )
    }
}

// kind: 2 bits, buffer: 15 bits, connection: 20 bits, length: 27 bits.
fn pack(kind: u64, index: usize, id: u16, len: usize) -> u64 {
    debug_assert!(index < 1 << 20 && id < 1 << 15 && len < 1 << 27);
    kind | u64::from(id) << 2 | (index as u64) << 17 | (len as u64) << 37
}

fn unpack(user_data: u64) -> (u64, usize, u16, usize) {
    (
        user_data & 0b11,
        (user_data >> 17 & 0xf_ffff) as usize,
        (user_data >> 2 & 0x7fff) as u16,
        (user_data >> 37) as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use std::io::{Read, Write};
    use std::thread;

    fn served_while(
        connections: usize,
        size: usize,
        receive: Receive,
        work: impl FnOnce(std::net::SocketAddr),
    ) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || serve(&listener, connections, size, receive).unwrap());
        work(address);
        server.join().unwrap()
    }

    #[test]
    fn one_connection_costs_one_enter_per_round_trip() {
        for receive in [Receive::PollFirst, Receive::Multishot] {
            let served = served_while(1, 64, receive, |address| {
                let mut client = Client::connect(address, 1, 64).unwrap();
                client.run_count(1000).unwrap();
                client.finish().unwrap();
            });
            // 1,001 messages (the last is the one in flight), and the end of the stream.
            assert_eq!(
                served,
                Served {
                    enters: 1002,
                    receives: 1001
                },
                "{receive:?}"
            );
        }
    }

    #[test]
    fn many_connections_share_enters() {
        for receive in [Receive::PollFirst, Receive::Multishot] {
            let served = served_while(64, 1024, receive, |address| {
                let mut client = Client::connect(address, 64, 1024).unwrap();
                client.run_count(20_000).unwrap();
                client.finish().unwrap();
            });
            assert!(served.receives >= 20_064, "{served:?}");
            assert!(served.enters < served.receives, "{served:?}");
        }
    }

    #[test]
    fn a_reader_slower_than_the_socket_buffers_gets_every_byte_in_order() {
        // More than the socket buffers and the provided buffers hold together: sends must stall.
        const TOTAL: usize = 16 << 20;
        for receive in [Receive::PollFirst, Receive::Multishot] {
            served_while(1, 4096, receive, |address| {
                let mut reader = TcpStream::connect(address).unwrap();
                let mut writer = reader.try_clone().unwrap();
                let pattern = |i: usize| (i / 7 + i / 4096) as u8;
                let sender = thread::spawn(move || {
                    let bytes: Vec<u8> = (0..TOTAL).map(pattern).collect();
                    writer.write_all(&bytes).unwrap();
                    writer.shutdown(std::net::Shutdown::Write).unwrap();
                });
                // Nothing is read until the server has certainly been unable to send: the sender
                // cannot finish before, as the echo has nowhere to go.
                let mut echoed = Vec::with_capacity(TOTAL);
                let mut chunk = vec![0; 1 << 16];
                loop {
                    let n = reader.read(&mut chunk).unwrap();
                    if n == 0 {
                        break;
                    }
                    echoed.extend_from_slice(&chunk[..n]);
                    thread::yield_now();
                }
                sender.join().unwrap();
                assert_eq!(echoed.len(), TOTAL);
                assert!(
                    echoed
                        .iter()
                        .enumerate()
                        .all(|(i, &byte)| byte == pattern(i))
                );
            });
        }
    }

    #[test]
    fn user_data_unpacks_to_what_was_packed() {
        let packed = pack(KIND_SLOW_SEND, 0xf_fffe, 0x7ffe, 0x7ff_fffe);
        assert_eq!(
            unpack(packed),
            (KIND_SLOW_SEND, 0xf_fffe, 0x7ffe, 0x7ff_fffe)
        );
    }
}
