//! The Unix stream under an HTTP/2 connection: repairs the authority on the way in, gathers writes on the way out.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::scan::Scan;
use crate::sensitive::wipe;

/// Makes the stream for the HTTP library, and the handle for whoever drives the connection.
pub fn split(stream: UnixStream) -> (Wire, Outbox) {
    let (read, write) = stream.into_split();
    let outbox = Outbox(Arc::new(Shared {
        out: Mutex::new(Out { write, bytes: Vec::new(), sent: 0, written: 0, refused: false }),
        greeted: AtomicBool::new(false),
        ration: AtomicUsize::new(RATION),
    }));
    (Wire { read, scan: Scan::default(), outbox: outbox.clone() }, outbox)
}

/// The stream as the HTTP library sees it.
pub struct Wire {
    read: OwnedReadHalf,
    scan: Scan,
    outbox: Outbox,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shared = &*this.outbox.0;
        let ration = shared.ration.load(Ordering::Relaxed);
        if ration == 0 {
            // It has said enough for one turn; others are served before the rest is read.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if this.scan.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.read).poll_read(cx, buf))?;
            let Some(fresh) = buf.filled_mut().get_mut(before..) else { return Poll::Ready(Ok(())) };
            if fresh.is_empty() {
                // The end. A header block that was being collected will never be complete: hand over what came.
                this.scan.give_up(buf);
                return Poll::Ready(Ok(()));
            }
            shared.ration.store(ration.saturating_sub(fresh.len()), Ordering::Relaxed);
            let passed = this.scan.pass(fresh);
            if !shared.greeted.load(Ordering::Relaxed) {
                shared.greeted.store(this.scan.has_seen_a_frame(), Ordering::Relaxed);
            }
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut out = self.outbox.lock();
        if out.bytes.len() - out.sent >= FULL {
            out.refused = true;
            ready!(out.poll_drain(cx))?;
            out.refused = false;
        }
        out.forget_sent();
        let before = out.bytes.len();
        out.make_room(bufs.iter().map(|buf| buf.len()).sum());
        for buf in bufs {
            out.bytes.extend_from_slice(buf);
        }
        Poll::Ready(Ok(out.bytes.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the driver writes once, after the HTTP library has said all it has to say.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.outbox.lock();
        ready!(out.poll_drain(cx))?;
        Pin::new(&mut out.write).poll_shutdown(cx)
    }
}

/// What is to be written, shared by the HTTP library, which fills it, and the driver, which empties it.
///
/// Both run in one task, so the lock is never contended.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    out: Mutex<Out>,
    greeted: AtomicBool,
    /// Bytes that may still be read in this turn.
    ration: AtomicUsize,
}

struct Out {
    write: OwnedWriteHalf,
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes written so far.
    written: u64,
    refused: bool,
}

/// How far emptying the outbox got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything is written.
    All,
    /// Everything is written, and the HTTP library was turned away before: it has more to write.
    AllAndMoreWaits,
    /// The peer does not take more now; the task is woken when it does. True if it took something this time.
    Blocked(bool),
}

impl Outbox {
    /// Writes as much as the peer takes.
    ///
    /// # Errors
    /// The stream is broken.
    pub fn drain(&self, cx: &mut Context<'_>) -> io::Result<Drained> {
        let mut out = self.lock();
        let before = out.bytes.len() - out.sent;
        match out.poll_drain(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) if std::mem::take(&mut out.refused) => Ok(Drained::AllAndMoreWaits),
            Poll::Ready(Ok(())) => Ok(Drained::All),
            Poll::Pending => Ok(Drained::Blocked(out.bytes.len() - out.sent < before)),
        }
    }

    /// How many bytes the peer has been written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// Whether there is something that the peer has not taken yet.
    #[must_use]
    pub fn unsent(&self) -> bool {
        let out = self.lock();
        out.sent < out.bytes.len()
    }

    /// Begins a new turn: the peer may be listened to again.
    pub fn refill(&self) {
        self.0.ration.store(RATION, Ordering::Relaxed);
    }

    /// Whether the peer has said its preface and a first frame.
    #[must_use]
    pub fn greeted(&self) -> bool {
        self.0.greeted.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.0.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.write).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.written += u64::try_from(written).unwrap_or_default();
        }
        self.sent = 0;
        // Replies held tokens: overwritten, and not kept larger than one reply needs.
        wipe(&mut self.bytes);
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        Poll::Ready(Ok(()))
    }

    /// Grows by hand where that is needed: a buffer that grows by itself leaves what it held behind.
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let mut larger = Vec::with_capacity(needed.next_power_of_two().max(KEEP));
            larger.extend_from_slice(&self.bytes);
            wipe(&mut self.bytes);
            self.bytes = larger;
        }
    }

    /// Drops what was sent from the front of what waits, so that a peer which never takes all of it does not make it
    /// grow for ever.
    fn forget_sent(&mut self) {
        if self.sent < FULL {
            return;
        }
        let rest = self.bytes.len() - self.sent;
        self.bytes.copy_within(self.sent.., 0);
        wipe(self.bytes.get_mut(rest..).unwrap_or_default());
        self.bytes.truncate(rest);
        self.sent = 0;
    }
}

/// With more than this unwritten the HTTP library is turned away until the peer has taken it.
const FULL: usize = 64 * 1024;
/// Bytes that one peer may say before it is another's turn.
const RATION: usize = 64 * 1024;
/// Buffer kept between two replies.
const KEEP: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_never_takes_all_does_not_make_the_outbox_grow() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut wire, outbox) = split(ours);
        let (mut written, mut taken) = (0, 0);
        let chunk = [7; 16 * 1024];
        for _ in 0..1_000 {
            // Until the peer's side is full and something stays behind.
            let more = poll_fn(|cx| match Pin::new(&mut wire).poll_write(cx, &chunk) {
                Poll::Ready(length) => Poll::Ready(Some(length.unwrap())),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
            written += more.unwrap_or(0);
            poll_fn(|cx| Poll::Ready(outbox.drain(cx).unwrap())).await;
            if more.is_none() {
                taken += theirs.try_read(&mut [0; 16 * 1024]).unwrap_or(0);
                // Lets the runtime notice that there is room again.
                tokio::task::yield_now().await;
            }
            let held = outbox.lock().bytes.len();
            assert!(held <= 3 * FULL, "{held} bytes are held");
        }
        assert!(written > 1_000_000 && taken > 1_000_000, "{written} {taken}");
    }

    #[tokio::test]
    async fn one_turn_reads_no_more_than_its_ration() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut sent = 0;
        while let Ok(length) = theirs.try_write(&[0; 4 * 1024]) {
            sent += length;
        }
        assert!(sent > RATION, "{sent}");
        ours.readable().await.unwrap();
        let (mut wire, outbox) = split(ours);
        let mut turn = async || {
            let mut all = 0;
            poll_fn(|cx| {
                let mut space = [0; 8 * 1024];
                let mut buf = ReadBuf::new(&mut space);
                while Pin::new(&mut wire).poll_read(cx, &mut buf).is_ready() {
                    all += buf.filled().len();
                    buf.clear();
                }
                Poll::Ready(())
            })
            .await;
            all
        };
        let first = turn().await;
        // The beginning of a frame may be held back until the rest of it has come.
        assert!((RATION - 16..=RATION).contains(&first), "{first}");
        assert_eq!(turn().await, 0);
        outbox.refill();
        assert!(turn().await > 0);
    }
}
