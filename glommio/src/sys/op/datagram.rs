//! Receiving and sending datagrams (IORING_OP_RECVMSG and IORING_OP_SENDMSG, 5.3; IORING_OP_SEND,
//! 5.6).
//!
//! A receive belongs to its socket, not to the call that started it: what arrives stands in the
//! socket's [`Inbox`], and a call that is given up loses nothing. It always asks for the sender's
//! address, on connected sockets too: the kernel keeps what arrived before the socket was connected,
//! and that came from whomever.
//!
//! A receive tries first and waits then, unlike that of a stream: the kernel does not tell of a
//! datagram socket whether it holds more.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, task::Waker};

use io_uring::{opcode, squeue, types};

use super::{
    Class, Completion, Driven, Next, Operation,
    poll::{AwaitReadable, Receiver},
};
use crate::{
    sys::{
        buffers::{message::Message, socket::SocketBuffers},
        fd::Fd,
        inflight::{Key, fits},
        ledger::IoKind,
    },
    waiters::Turns,
};

/// What a socket has received and nobody has taken.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Datagrams and errors, as they came.
    pub(crate) arrived: VecDeque<Result<Box<Message>, i32>>,
    /// The receive in flight.
    pub(crate) armed: Option<Key>,
    /// Who waits to look again.
    pub(crate) turns: Turns,
    /// The last receive did not wait, though there was nothing: the next one is preceded by a poll.
    dry: bool,
}

impl Inbox {
    /// Takes the error in front, if one is there. Errors are told once, like the kernel's.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        match self.arrived.front() {
            Some(&Err(errno)) => {
                self.arrived.pop_front();
                Some(io::Error::from_raw_os_error(errno))
            }
            _ => None,
        }
    }
}

const _: () = assert!(
    fits::<Receive>() && fits::<Send>(),
    "a datagram allocates nothing"
);

/// A receive in flight.
struct Receive {
    fd: Fd,
    inbox: Rc<RefCell<Inbox>>,
    buffers: Rc<SocketBuffers>,
    /// There until the completion.
    message: Option<Box<Message>>,
}

/// Starts a receive of up to `bytes`, unless one is in flight.
pub(crate) fn arm(fd: &Fd, inbox: &Rc<RefCell<Inbox>>, buffers: &Rc<SocketBuffers>, bytes: usize) {
    let mut state = inbox.borrow_mut();
    if state.armed.is_some() {
        return;
    }
    if std::mem::take(&mut state.dry) {
        state.armed = Some(fd.ring().submit_driven(AwaitReadable {
            fd: fd.clone(),
            receiver: inbox.clone(),
        }));
        return;
    }
    let mut message = buffers.message();
    message.make_room(bytes);
    state.armed = Some(fd.ring().submit_driven(Receive {
        fd: fd.clone(),
        inbox: inbox.clone(),
        buffers: buffers.clone(),
        message: Some(message),
    }));
}

// SAFETY: the message is boxed, and neither moved out of its box nor changed before the completion.
unsafe impl Operation for Receive {
    const IO: Option<IoKind> = Some(IoKind::SocketRead);

    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let message = self.message.as_mut().expect("there until the completion");
        opcode::RecvMsg::new(types::Fd(self.fd.raw()), message.header_to_receive()).build()
    }
}

impl Driven for Receive {
    fn on_completion(&mut self, completion: Completion) -> Next {
        let mut inbox = self.inbox.borrow_mut();
        inbox.armed = None;
        if let Some(mut message) = self.message.take() {
            if completion.result >= 0 {
                // SAFETY: this is the completion of the receive into this message.
                unsafe { message.received(completion.result as usize) };
                inbox.arrived.push_back(Ok(message));
            } else {
                self.buffers.put_back_message(message);
                match -completion.result {
                    // Stopped by us, or interrupted: whoever waits starts another.
                    libc::ECANCELED | libc::EINTR => {}
                    libc::EAGAIN => inbox.dry = true,
                    errno => inbox.arrived.push_back(Err(errno)),
                }
            }
        }
        Next::Done(inbox.turns.tell_next())
    }
}

impl Receiver for Inbox {
    fn on_readable(&mut self) -> Option<Waker> {
        self.armed = None;
        self.turns.tell_next()
    }
}

/// Sends a datagram.
pub(crate) struct Send {
    pub(crate) fd: Fd,
    pub(crate) message: Box<Message>,
}

// SAFETY: the message is boxed, and not changed while the operation has it.
unsafe impl Operation for Send {
    const IO: Option<IoKind> = Some(IoKind::SocketWrite);

    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd.raw());
        if self.message.is_addressed() {
            let flags = libc::MSG_NOSIGNAL as u32;
            return opcode::SendMsg::new(fd, self.message.header_to_send())
                .flags(flags)
                .build();
        }
        let data = self.message.data();
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        opcode::Send::new(fd, data.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
    }
}
