//! [`PacedStream`]: a connection whose client must take what it asked for in time.
//!
//! hyper waits for heads with a time limit and the endpoints wait for bodies with one. The third way to hold a connection
//! for ever is not to read the answer: here it ends.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream that fails with `TimedOut` if an answer is not taken whole within a time.
#[derive(Debug)]
pub(crate) struct PacedStream<T> {
    stream: T,
    write_within: Duration,
    /// From the first write that had to wait, to the flush.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T: AsyncWrite + Unpin> PacedStream<T> {
    pub(crate) fn new(stream: T, write_within: Duration) -> Self {
        Self { stream, write_within, deadline: None }
    }

    fn or_late<R>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if done.is_ready() {
            return done;
        }
        let within = self.write_within;
        ready!(self.deadline.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for PacedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for PacedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.or_late(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.or_late(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.deadline = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn who_does_not_read_is_cut_and_who_reads_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (near, far) = tokio::net::UnixStream::pair().unwrap();
            let mut paced = PacedStream::new(near, Duration::from_millis(5));
            let failed = loop {
                let block = [0; 65_536];
                match poll_fn(|cx| Pin::new(&mut paced).poll_write(cx, &block)).await {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(failed.kind(), ErrorKind::TimedOut);
            let mut taken = vec![0; 1 << 20];
            while far.try_read(&mut taken).is_ok() {}
            poll_fn(|cx| Pin::new(&mut paced).poll_flush(cx)).await.unwrap();
            assert_eq!(poll_fn(|cx| Pin::new(&mut paced).poll_write(cx, b"more")).await.unwrap(), 4);
        });
    }
}
