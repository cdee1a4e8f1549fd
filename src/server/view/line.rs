//! The stream under a connection that speaks HTTP/1.1: counts what is written, and gives up on who takes nothing.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    time::{Sleep, sleep},
};

/// The stream as the HTTP library sees it.
pub(super) struct Line {
    stream: UnixStream,
    progress: Arc<Progress>,
    /// Runs while the peer takes nothing of what is to be written, and whether that began when the daemon was going.
    /// Answers hold tokens, which expire.
    blocked: Option<(Pin<Box<Sleep>>, bool)>,
}

/// What is known of a [`Line`] that the library holds.
#[derive(Debug, Default)]
pub(super) struct Progress {
    written: AtomicU64,
    leaving: AtomicBool,
}

impl Progress {
    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// From now on the peer is given little time.
    pub(super) fn hurry(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

impl Line {
    pub(super) fn new(stream: UnixStream) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        (Self { stream, progress: Arc::clone(&progress), blocked: None }, progress)
    }

    /// The outcome of an attempt to write, or that the peer has had its time.
    fn wrote(&mut self, outcome: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Poll::Pending = outcome else {
            self.blocked = None;
            if let Poll::Ready(Ok(written)) = outcome {
                self.progress.written.fetch_add(written as u64, Ordering::Relaxed);
            }
            return outcome;
        };
        let leaving = self.progress.leaving.load(Ordering::Relaxed);
        self.blocked.take_if(|(_, before)| *before != leaving);
        let patience = if leaving { LEAVING } else { STALL };
        let (stall, _) = self.blocked.get_or_insert_with(|| (Box::pin(sleep(patience)), leaving));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A peer that takes nothing for this long is gone or hostile.
const STALL: Duration = Duration::from_secs(30);
/// The same when the daemon goes.
const LEAVING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    /// Writes until the peer, who reads nothing, has had its time.
    async fn give_up(line: &mut Line) -> Duration {
        let began = Instant::now();
        loop {
            if let Err(error) = poll_fn(|cx| Pin::new(&mut *line).poll_write(cx, &[7; 4_096])).await {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return began.elapsed();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_has_half_a_minute_and_a_second_when_the_daemon_goes() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (mut line, progress) = Line::new(ours);
        assert_eq!(give_up(&mut line).await, STALL);
        assert!(progress.written() > 0);
        progress.hurry();
        assert_eq!(give_up(&mut line).await, LEAVING);
    }
}
