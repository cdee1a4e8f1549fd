//! Walks the frames that a peer sends and repairs the header blocks among them.

use tokio::io::ReadBuf;

use super::authority::{self, Found};

/// Walks the frames of the incoming side (RFC 9113 section 4.1) and repairs header blocks.
///
/// Bytes pass through where they are; only a HEADERS frame that arrives in pieces is held back until it is whole.
/// Once a valid authority was seen the walk ends: a client sends the same one in every request.
#[derive(Debug)]
pub struct Scan {
    over: bool,
    /// Whole frames that were seen, up to one.
    frames: bool,
    /// Bytes of the preface or of an uninteresting frame that are still to pass.
    skip: usize,
    held: Vec<u8>,
    /// Bytes of `held` that have been repaired and can be handed over, and how many of them have been.
    ready: usize,
    given: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { over: false, frames: false, skip: PREFACE, held: Vec::new(), ready: 0, given: 0 }
    }
}

impl Scan {
    /// Hands over what was held back and is complete. Returns whether anything was.
    pub fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
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
    pub fn give_up(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = std::mem::take(&mut self.held);
        buf.put_slice(rest.get(..rest.len().min(buf.remaining())).unwrap_or_default());
        self.over = true;
    }

    /// Whether the preface and at least one frame have passed.
    #[must_use]
    pub fn has_seen_a_frame(&self) -> bool {
        self.frames && self.skip == 0
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
            self.frames = true;
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
