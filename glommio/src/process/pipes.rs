//! The streams of a child.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    pin::Pin,
    process::Stdio,
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};

use crate::{
    error::Result,
    reactor::Reactor,
    sys::{
        fd::Fd,
        stream::{Pipe, RxHalf, TxHalf},
    },
};

/// What a child reads.
///
/// What is written is collected, up to 64 KiB, and goes to the child when the executor next turns to
/// the kernel, as with a [`TcpStream`](crate::net::TcpStream): it gets there even if this is dropped, as long as
/// the executor lives, and an error, such as that nobody reads, surfaces with the next call.
/// [`close`](futures_lite::AsyncWriteExt::close) waits until the pipe has taken everything, and then tells the child
/// that nothing follows; dropping this does so without waiting.
///
/// # Cancel safety
///
/// A dropped write has either accepted its data or not.
///
/// # Examples
///
/// ```
/// use futures_lite::AsyncWriteExt;
/// use std::process::Stdio;
/// # use glommio::process::Command;
/// # glommio::LocalExecutor::default().run(async {
/// let mut child = Command::new("grep").args(["-q", "needle"]).stdin(Stdio::piped()).spawn().await?;
/// let mut input = child.stdin.take().unwrap();
/// input.write_all(b"hay\nneedle\nhay\n").await?;
/// input.close().await?;
/// assert!(child.wait().await?.success());
/// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
/// ```
pub struct ChildStdin {
    /// `None` once it was closed.
    half: Option<TxHalf<Pipe>>,
}

impl ChildStdin {
    pub(super) fn new(fd: OwnedFd, reactor: &Reactor) -> ChildStdin {
        let fd = Fd::new(fd, reactor.ring().clone());
        ChildStdin {
            half: Some(TxHalf::new(fd, reactor.sockets().clone())),
        }
    }

    fn open(&mut self) -> io::Result<&mut TxHalf<Pipe>> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "this stream was closed");
        self.half.as_mut().ok_or_else(closed)
    }

    /// A descriptor of the pipe, for another program or for code that blocks. What was written is not
    /// waited for.
    ///
    /// # Errors
    ///
    /// When it was closed, and when no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{io::Write, process::Stdio};
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("grep").args(["-q", "x"]).stdin(Stdio::piped()).spawn().await?;
    /// let pipe = child.stdin.take().unwrap().into_owned_fd()?;
    /// std::fs::File::from(pipe).write_all(b"x\n")?;
    /// assert!(child.wait().await?.success());
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn into_owned_fd(mut self) -> Result<OwnedFd, ()> {
        Ok(self.open()?.fd().duplicate()?)
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.open()?.poll_queue(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.half {
            Some(half) => half.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.as_mut().poll_flush(cx));
        self.half = None;
        Poll::Ready(flushed)
    }
}

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildStdin")
            .field("fd", &self.half.as_ref().map(|half| half.fd().raw()))
            .finish()
    }
}

impl TryFrom<ChildStdin> for Stdio {
    type Error = crate::error::GlommioError<()>;

    fn try_from(stream: ChildStdin) -> Result<Stdio, ()> {
        stream.into_owned_fd().map(Stdio::from)
    }
}

macro_rules! output {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            half: RxHalf<Pipe>,
        }

        impl $name {
            pub(super) fn new(fd: OwnedFd, reactor: &Reactor) -> $name {
                let fd = Fd::new(fd, reactor.ring().clone());
                $name {
                    half: RxHalf::new(fd, reactor.sockets().clone()),
                }
            }

            /// A descriptor of the pipe, for another program or for code that blocks. What a read that was
            /// given up has taken from the pipe is lost.
            ///
            /// # Errors
            ///
            /// When no descriptor is left.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::process::Stdio;
            /// # use glommio::process::Command;
            /// # glommio::LocalExecutor::default().run(async {
            /// let mut echo = Command::new("sh")
            ///     .args(["-c", "echo hello; echo hello >&2"])
            ///     .stdout(Stdio::piped())
            ///     .stderr(Stdio::piped())
            ///     .spawn()
            ///     .await?;
            #[doc = concat!("let hello: Stdio = echo.", output!(@field $name), ".take().unwrap().try_into()?;")]
            /// let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(hello).output().await?;
            /// assert_eq!(output.stdout, b"HELLO\n");
            /// echo.wait().await?;
            /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
            /// ```
            pub fn into_owned_fd(self) -> Result<OwnedFd, ()> {
                Ok(self.half.fd().duplicate()?)
            }
        }

        impl AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.half.poll_read(cx, buf)
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.half.fd().raw()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.half.fd().as_fd()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("fd", &self.as_raw_fd())
                    .finish()
            }
        }

        impl TryFrom<$name> for Stdio {
            type Error = crate::error::GlommioError<()>;

            fn try_from(stream: $name) -> Result<Stdio, ()> {
                stream.into_owned_fd().map(Stdio::from)
            }
        }
    };
    (@field ChildStdout) => { "stdout" };
    (@field ChildStderr) => { "stderr" };
}

output! {
    /// What a child writes.
    ///
    /// # Cancel safety
    ///
    /// A dropped read loses no data.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{AsyncBufReadExt, StreamExt, io::BufReader};
    /// use std::process::Stdio;
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut seq = Command::new("seq").arg("3").stdout(Stdio::piped()).spawn().await?;
    /// let mut lines = BufReader::new(seq.stdout.take().unwrap()).lines();
    /// let mut sum = 0;
    /// while let Some(line) = lines.next().await {
    ///     sum += line?.parse::<u32>().unwrap();
    /// }
    /// assert_eq!(sum, 6);
    /// seq.wait().await?;
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    ChildStdout
}

output! {
    /// What errors a child writes.
    ///
    /// # Cancel safety
    ///
    /// A dropped read loses no data.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::AsyncReadExt;
    /// use std::process::Stdio;
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut sh = Command::new("sh").args(["-c", "echo no >&2"]).stderr(Stdio::piped()).spawn().await?;
    /// let mut complaint = String::new();
    /// sh.stderr.take().unwrap().read_to_string(&mut complaint).await?;
    /// assert_eq!(complaint, "no\n");
    /// sh.wait().await?;
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    ChildStderr
}
