//! The Unix stream under an HTTP/2 connection: repairs the authority on the way in, gathers writes on the way out.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
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

use super::authority::{self, Found};

/// Makes the stream for the HTTP library, and the handle for whoever drives the connection.
pub fn split(stream: UnixStream) -> (Wire, Outbox) {
    let (read, write) = stream.into_split();
    let outbox = Outbox(Arc::new(Shared {
        out: Mutex::new(Out { write, bytes: Vec::new(), sent: 0, refused: false }),
        greeted: AtomicBool::new(false),
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
            this.outbox.0.greeted.store(true, Ordering::Relaxed);
            let passed = this.scan.pass(fresh);
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
        let before = out.bytes.len();
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
}

struct Out {
    write: OwnedWriteHalf,
    bytes: Vec<u8>,
    sent: usize,
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

    /// Whether the peer has said anything yet.
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
        }
        self.sent = 0;
        // Replies held tokens: overwritten, and not kept larger than one reply needs.
        self.bytes.fill(0);
        std::hint::black_box(&self.bytes);
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        Poll::Ready(Ok(()))
    }
}

/// Walks the frames of the incoming side (RFC 9113 section 4.1) and repairs header blocks.
///
/// Bytes pass through where they are; only a HEADERS frame that arrives in pieces is held back until it is whole.
/// Once a valid authority was seen the walk ends: a client sends the same one in every request.
#[derive(Debug)]
pub struct Scan {
    over: bool,
    /// Bytes of the preface or of an uninteresting frame that are still to pass.
    skip: usize,
    held: Vec<u8>,
    /// Bytes of `held` that have been repaired and can be handed over, and how many of them have been.
    ready: usize,
    given: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { over: false, skip: PREFACE, held: Vec::new(), ready: 0, given: 0 }
    }
}

impl Scan {
    /// Hands over what was held back and is complete. Returns whether anything was.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(rest) = self.held.get(self.given..self.ready).filter(|rest| !rest.is_empty()) else { return false };
        let some = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..some).unwrap_or_default());
        self.given += some;
        if self.given == self.ready {
            self.held.drain(..self.ready);
            (self.ready, self.given) = (0, 0);
            // Whole frames may already wait behind the one that was just handed over.
            self.process_held();
        }
        some > 0
    }

    /// Hands over an incomplete header block at the end of the stream, as far as it fits.
    fn give_up(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = std::mem::take(&mut self.held);
        buf.put_slice(rest.get(..rest.len().min(buf.remaining())).unwrap_or_default());
        self.over = true;
    }

    /// Looks at bytes that have just arrived. Returns how many of them, from the first, can be handed over; the
    /// others are held back.
    pub fn pass(&mut self, fresh: &mut [u8]) -> usize {
        if !self.held.is_empty() {
            self.held.extend_from_slice(fresh);
            self.process_held();
            return 0;
        }
        if self.over {
            return fresh.len();
        }
        let whole = self.walk(fresh);
        if let Some(rest) = fresh.get(whole..) {
            self.held.extend_from_slice(rest);
        }
        whole
    }

    fn process_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        self.ready = self.walk(&mut held);
        self.held = held;
    }

    /// Repairs every whole HEADERS frame. Returns where an incomplete one, or an incomplete frame header, starts.
    fn walk(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while !self.over && at < bytes.len() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len() - at);
                self.skip -= passed;
                at += passed;
                continue;
            }
            let Some((length, kind, flags)) = frame_header(bytes, at) else { return at };
            if kind != HEADERS {
                self.skip = FRAME_HEADER + length;
                continue;
            }
            if length > LARGEST_FRAME {
                // The HTTP library refuses such a frame and closes the connection.
                self.over = true;
                break;
            }
            let end = at + FRAME_HEADER + length;
            let Some(payload) = bytes.get_mut(at + FRAME_HEADER..end) else { return at };
            self.over = fragment(payload, flags).map(authority::repair) == Some(Found::Valid);
            at = end;
        }
        bytes.len()
    }
}

/// Length, type and flags of the frame that starts at `at`, if its header is there as a whole.
fn frame_header(bytes: &[u8], at: usize) -> Option<(usize, u8, u8)> {
    match bytes.get(at..at + FRAME_HEADER)? {
        &[high, middle, low, kind, flags, ..] => {
            Some((usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low), kind, flags))
        }
        _ => None,
    }
}

/// The header block fragment of a HEADERS frame, without padding and priority (RFC 9113 section 6.2).
fn fragment(payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    let mut start = 0;
    let mut padding = 0;
    if flags & PADDED != 0 {
        padding = usize::from(*payload.first()?);
        start = 1;
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    let end = payload.len().checked_sub(padding)?;
    payload.get_mut(start..end)
}

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113 section 3.4).
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// Frame type HEADERS.
const HEADERS: u8 = 0x1;
/// Flag PADDED.
const PADDED: u8 = 0x8;
/// Flag PRIORITY.
const PRIORITY: u8 = 0x20;
/// The largest frame that we allow a peer to send, the protocol's default.
const LARGEST_FRAME: usize = 16_384;
/// With more than this unwritten the HTTP library is turned away until the peer has taken it.
const FULL: usize = 64 * 1024;
/// Buffer kept between two replies.
const KEEP: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::pedantic, reason = "bytes and sizes written as they come")]

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    fn headers(authority: &str) -> Vec<u8> {
        let mut block = vec![0x83, 0x86, 0x41, u8::try_from(authority.len()).unwrap()];
        block.extend(authority.bytes());
        block
    }

    fn conversation(authority: &str) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, &[0; 12]));
        bytes.extend(frame(HEADERS, 4, &headers(authority)));
        bytes.extend(frame(0, 1, b"/not/a/header/"));
        let mut padded = vec![3, 0, 0, 0, 0, 16];
        padded.extend(headers(authority));
        padded.extend([0; 3]);
        bytes.extend(frame(HEADERS, 4 | PADDED | PRIORITY, &padded));
        bytes
    }

    /// Sends the bytes through in pieces of the given sizes, reading with a buffer of `room` bytes.
    fn through(bytes: &[u8], sizes: &[usize], room: usize) -> Vec<u8> {
        let mut scan = Scan::default();
        let mut out = Vec::new();
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            let mut piece = piece.to_vec();
            let passed = scan.pass(&mut piece);
            out.extend_from_slice(&piece[..passed]);
            loop {
                let mut space = vec![0; room];
                let mut buf = ReadBuf::new(&mut space);
                if !scan.deliver(&mut buf) {
                    break;
                }
                out.extend_from_slice(buf.filled());
            }
        }
        out
    }

    const BAD: &str = "%2Frun%2Fx.sock";
    const GOOD: &str = "-2Frun-2Fx.sock";

    #[test]
    fn every_header_block_is_repaired_however_it_arrives() {
        let (sent, expected) = (conversation(BAD), conversation(GOOD));
        for size in 1..sent.len() + 1 {
            for room in [1, 7, 8_192] {
                assert_eq!(through(&sent, &[size], room), expected, "pieces of {size}, room for {room}");
            }
        }
    }

    #[test]
    fn a_valid_authority_ends_the_walk() {
        let mut scan = Scan::default();
        let mut bytes = conversation("localhost");
        assert_eq!(scan.pass(&mut bytes), bytes.len());
        assert!(scan.over);
        assert_eq!(bytes, conversation("localhost"));
    }

    #[test]
    fn an_oversized_frame_is_left_to_the_library() {
        let mut scan = Scan { skip: 0, ..Scan::default() };
        let mut bytes = frame(HEADERS, 4, &[0; LARGEST_FRAME + 1]);
        assert_eq!(scan.pass(&mut bytes), bytes.len());
        assert!(scan.over);
    }

    #[test]
    fn padding_longer_than_the_frame_is_no_block() {
        assert_eq!(fragment(&mut [9, 1, 2], PADDED), None);
        assert_eq!(fragment(&mut [], PADDED), None);
        assert_eq!(fragment(&mut [1, 2], PRIORITY), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_added_or_reordered(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            sizes in prop::collection::vec(1_usize..60, 1..8),
            room in 1_usize..100,
        ) {
            // A repair replaces bytes of a value only, so lengths tell. An incomplete frame stays held back.
            let out = through(&bytes, &sizes, room);
            prop_assert!(out.len() <= bytes.len());
            let again = through(&bytes, &[bytes.len().max(1)], 8_192);
            prop_assert_eq!(out, again);
        }
    }
}
