//! A stream with its receive buffer, for whatever address family.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use super::{
    deadline::within,
    rx_buf::{Buffered, NonBuffered, RxBuf},
    stream::Stream,
};
use crate::error::Result;

/// A stream and what it received but its reader has not taken.
pub(super) struct BufferedStream<B> {
    pub(super) raw: Stream,
    buf: B,
}

impl BufferedStream<NonBuffered> {
    pub(super) fn of(raw: Stream) -> Self {
        BufferedStream {
            raw,
            buf: NonBuffered,
        }
    }

    pub(super) fn with<B>(self, buf: B) -> BufferedStream<B> {
        BufferedStream { raw: self.raw, buf }
    }
}

impl<B: RxBuf> BufferedStream<B> {
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.buf.is_empty() {
            if out.len() >= self.buf.buffer_size() {
                return self.raw.poll_read(cx, out);
            }
            if out.is_empty() {
                return Poll::Ready(Ok(0));
            }
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(self.buf.read(out)))
    }

    /// Receives into the buffer, which is empty.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.buf.unfilled();
        if room.is_empty() {
            let full = "the stream's buffer is empty and has no room";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, full)));
        }
        let received = ready!(self.raw.poll_read(cx, room))?;
        self.buf.handle_result(received);
        Poll::Ready(Ok(()))
    }

    /// Copies unread bytes: those of the buffer, then those behind it.
    pub(super) async fn peek(&self, out: &mut [u8]) -> Result<usize, ()> {
        let work = async {
            let buffered = self.buf.peek(out);
            let rest = &mut out[buffered..];
            let peeked = poll_fn(|cx| match self.raw.poll_peek(cx, rest) {
                // What is there is no reason to wait.
                Poll::Pending if buffered > 0 => Poll::Ready(Ok(0)),
                Poll::Ready(Err(_)) if buffered > 0 => Poll::Ready(Ok(0)),
                poll => poll,
            });
            Ok(buffered + peeked.await?)
        };
        within(self.raw.read_patience().limit(), work).await
    }
}

impl<B: Buffered> BufferedStream<B> {
    pub(super) fn poll_fill_buf(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.buf.is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(self.buf.as_bytes()))
    }

    pub(super) fn consume(&mut self, amt: usize) {
        self.buf.consume(amt);
    }
}

/// What every public stream is, by its field `inner`.
macro_rules! stream_traits {
    ($stream:ident) => {
        impl<B: $crate::net::RxBuf + Unpin> futures_io::AsyncRead for $stream<B> {
            #[inline]
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.inner.poll_read(cx, buf)
            }
        }

        impl<B: $crate::net::Buffered + Unpin> futures_io::AsyncBufRead for $stream<B> {
            fn poll_fill_buf<'a>(
                self: std::pin::Pin<&'a mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<&'a [u8]>> {
                self.get_mut().inner.poll_fill_buf(cx)
            }

            fn consume(mut self: std::pin::Pin<&mut Self>, amt: usize) {
                self.inner.consume(amt);
            }
        }

        impl<B: $crate::net::RxBuf + Unpin> futures_io::AsyncWrite for $stream<B> {
            #[inline]
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.inner.raw.poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.inner.raw.poll_write_vectored(cx, bufs)
            }

            #[inline]
            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.inner.raw.poll_flush(cx)
            }

            fn poll_close(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.inner.raw.poll_close(cx)
            }
        }

        impl<B: $crate::net::RxBuf> std::os::fd::AsRawFd for $stream<B> {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.inner.raw.fd().raw()
            }
        }
    };
}

pub(super) use stream_traits;
