//! One HTTP/2 connection as a caller sees it, without the reading and writing.
//!
//! A real client costs more than the server that is measured. So what one says is recorded once (from
//! `bearerd_client`, hence h2 and tonic) and replayed: header blocks, frames and windows are those of a real client,
//! the cost is that of a copy. Every reply is checked: HTTP and gRPC status, and the length of the message.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bearerd_client::{Channel, pb::v1::GetTokenRequest};
use tokio::{io::AsyncReadExt as _, net::UnixListener, runtime, time::timeout};

use super::{Outcome, client_name};

/// What a client says: when it connects, in its first request, in all later ones.
pub(crate) struct Script {
    greeting: Vec<u8>,
    first: Template,
    later: Template,
}

/// A request in which the stream and the name of the client are still to be filled in.
#[derive(PartialEq)]
struct Template {
    bytes: Vec<u8>,
    streams: Vec<usize>,
    name: usize,
}

impl Script {
    /// Lets `bearerd_client` talk to a socket on which nobody answers, and takes down what it says.
    pub(crate) fn record() -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("s");
        let spoken = runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let listener = UnixListener::bind(&socket)?;
            let broker = Channel::connect(&socket).await?.broker();
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..SPOKEN {
                let mut broker = broker.clone();
                let request = GetTokenRequest { client: client_name(0), ..GetTokenRequest::default() };
                calls.spawn(async move { broker.get_token(request).await });
            }
            let (mut stream, _) = listener.accept().await?;
            let mut bytes = Vec::new();
            while requests(&bytes).len() < SPOKEN {
                let read = timeout(Duration::from_secs(10), stream.read_buf(&mut bytes)).await??;
                if read == 0 {
                    return Err("the client hung up".into());
                }
            }
            Outcome::Ok(bytes)
        })?;
        let mut requests = requests(&spoken).into_iter();
        let (Some(first), Some(later), Some(again)) = (requests.next(), requests.next(), requests.next()) else {
            return Err("the client said too little".into());
        };
        if later != again {
            return Err("the client's requests differ from each other".into());
        }
        let mut greeting = spoken[..PREFACE].to_vec();
        for frame in frames(&spoken[PREFACE..]).filter(|frame| frame.stream == 0) {
            greeting.extend_from_slice(frame.whole);
        }
        Ok(Self { greeting, first, later })
    }
}

/// The requests that were said as a whole, in order.
fn requests(spoken: &[u8]) -> Vec<Template> {
    let mut requests = Vec::new();
    for stream in (1..).step_by(2) {
        let mut template = Template { bytes: Vec::new(), streams: Vec::new(), name: 0 };
        let mut ended = false;
        let said = spoken.get(PREFACE..).unwrap_or_default();
        for frame in frames(said).filter(|frame| frame.stream == stream) {
            template.streams.push(template.bytes.len() + 5);
            template.bytes.extend_from_slice(frame.whole);
            ended |= frame.flags & END_STREAM != 0;
        }
        if !ended {
            break;
        }
        for at in &template.streams {
            template.bytes[*at..at + 4].fill(0);
        }
        let name = client_name(0);
        template.name =
            template.bytes.windows(name.len()).rposition(|part| part == name.as_bytes()).unwrap_or_default();
        requests.push(template);
    }
    requests
}

/// How long a message is expected to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) length: usize,
    /// Timestamps take a byte more or less, from one client to the next.
    pub(crate) give_or_take: usize,
}

/// A connection's state on the caller's side.
pub(crate) struct Conversation {
    script: Arc<Script>,
    expected: Expected,
    stream: u32,
    table: Table,
    /// Replies that have begun: stream and bytes so far.
    open: Vec<(u32, usize)>,
    /// Received since the peer was last told that there is room again.
    received: u32,
    /// The bytes of all messages, if they are wanted.
    pub(crate) kept: Option<Vec<u8>>,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) consumed: usize,
    pub(crate) replies: u32,
}

impl Conversation {
    /// Begins one; the first bytes to send are put into `out`.
    pub(crate) fn begin(script: &Arc<Script>, expected: Expected, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&script.greeting);
        Self {
            script: Arc::clone(script),
            expected,
            stream: 1,
            table: Table::default(),
            open: Vec::new(),
            received: 0,
            kept: None,
        }
    }

    /// Puts a request for the token of the client with this number into `out`.
    pub(crate) fn ask(&mut self, client: u32, out: &mut Vec<u8>) {
        let template = if self.stream == 1 { &self.script.first } else { &self.script.later };
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        for at in &template.streams {
            out[start + at..start + at + 4].copy_from_slice(&self.stream.to_be_bytes());
        }
        if client != 0 {
            let name = client_name(client);
            out[start + template.name..start + template.name + name.len()].copy_from_slice(name.as_bytes());
        }
        self.stream += 2;
    }

    /// Takes in what arrived, whole frames of it. What must be answered is put into `out`.
    pub(crate) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Outcome<Heard> {
        let mut heard = Heard::default();
        for frame in frames(bytes) {
            heard.consumed += frame.whole.len();
            heard.replies += u32::from(self.take(&frame, out)?);
        }
        Ok(heard)
    }

    /// Returns whether a reply is complete.
    fn take(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Outcome<bool> {
        match frame.kind {
            DATA => self.data(frame, out).map(|()| false),
            HEADERS => self.headers(frame),
            SETTINGS if frame.flags & ACK == 0 => {
                out.extend_from_slice(&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]);
                Ok(false)
            }
            PING if frame.flags & ACK == 0 => {
                out.extend_from_slice(&[0, 0, 8, PING, ACK, 0, 0, 0, 0]);
                out.extend_from_slice(frame.payload);
                Ok(false)
            }
            SETTINGS | PING | WINDOW_UPDATE => Ok(false),
            kind => {
                Err(format!("unexpected frame of type {kind}: {:?}", frame.payload.escape_ascii().to_string()).into())
            }
        }
    }

    fn data(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Outcome<()> {
        let length = u32::try_from(frame.payload.len())?;
        self.received += length;
        if self.received >= ROOM_AGAIN {
            out.extend_from_slice(&[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0]);
            out.extend_from_slice(&self.received.to_be_bytes());
            self.received = 0;
        }
        let open = self.open.iter_mut().find(|(stream, _)| *stream == frame.stream).ok_or("data before headers")?;
        open.1 += frame.payload.len();
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(frame.payload);
        }
        if frame.flags & END_STREAM != 0 { Err("a reply without trailers".into()) } else { Ok(()) }
    }

    fn headers(&mut self, frame: &Frame<'_>) -> Outcome<bool> {
        if frame.flags & !END_STREAM != END_HEADERS {
            return Err("headers that are padded, have a priority or go on in another frame".into());
        }
        let status = self.table.read(frame.payload)?;
        let at = self.open.iter().position(|(stream, _)| *stream == frame.stream);
        match (at, frame.flags & END_STREAM != 0) {
            (None, false) if frame.payload.first() == Some(&HTTP_OK) => {
                self.open.push((frame.stream, 0));
                Ok(false)
            }
            (Some(at), true) if status == Some(true) => {
                let length = self.open.swap_remove(at).1.saturating_sub(MESSAGE_PREFIX);
                let Expected { length: expected, give_or_take } = self.expected;
                if length.abs_diff(expected) > give_or_take {
                    return Err(format!("a message of {length} bytes instead of {expected}").into());
                }
                Ok(true)
            }
            _ => Err(format!("the call failed: {:?}", frame.payload.escape_ascii().to_string()).into()),
        }
    }
}

/// As much of HPACK (RFC 7541) as it takes to see whether `grpc-status` is 0.
///
/// Values may be Huffman-coded; they are only compared, never decoded.
#[derive(Default)]
struct Table(VecDeque<Field>);

#[derive(Clone, Copy, Default)]
struct Field {
    is_status: bool,
    is_zero: bool,
}

impl Table {
    /// Whether the block says that the call succeeded, if it says anything about that.
    fn read(&mut self, mut block: &[u8]) -> Outcome<Option<bool>> {
        let mut status = None;
        while let Some(&first) = block.first() {
            let field = match first {
                0x80.. => self.known(integer(&mut block, 7)?),
                0x40..=0x7f => {
                    let field = self.literal(&mut block, 6)?;
                    self.0.push_front(field);
                    // The peer forgets fields long before, and never names those.
                    self.0.truncate(MOST_FIELDS);
                    field
                }
                0x20..=0x3f => {
                    integer(&mut block, 5)?;
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            if field.is_status {
                status = Some(field.is_zero);
            }
        }
        Ok(status)
    }

    fn known(&self, index: usize) -> Field {
        index.checked_sub(FIRST_DYNAMIC).and_then(|index| self.0.get(index)).copied().unwrap_or_default()
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Outcome<Field> {
        let index = integer(block, prefix)?;
        let is_status = if index == 0 {
            let name = text(block)?;
            name == b"grpc-status" || name == GRPC_STATUS
        } else {
            self.known(index).is_status
        };
        let value = text(block)?;
        Ok(Field { is_status, is_zero: value == b"0" || value == ZERO })
    }
}

fn integer(block: &mut &[u8], prefix: u32) -> Outcome<usize> {
    let mut next = || block.split_off_first().copied().ok_or("a header block that ends too soon");
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(next()?) & most;
    if value == most {
        for shift in (0..28).step_by(7) {
            let byte = next()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    Ok(value)
}

fn text<'a>(block: &mut &'a [u8]) -> Outcome<&'a [u8]> {
    let length = integer(block, 7)?;
    block.split_off(..length).ok_or_else(|| "a header block that ends too soon".into())
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
    whole: &'a [u8],
}

/// The whole frames at the beginning of `bytes` (RFC 9113 section 4.1).
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let &[high, middle, low, kind, flags, a, b, c, d] = bytes.first_chunk()?;
        let length = FRAME_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
        let whole = bytes.split_off(..length)?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes([a, b, c, d]), payload: &whole[FRAME_HEADER..], whole })
    })
}

/// Requests that are recorded: the first, the second, and one more to see that it is like the second.
const SPOKEN: usize = 3;
/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113 section 3.4).
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// Flag and length in front of a gRPC message.
pub(crate) const MESSAGE_PREFIX: usize = 5;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` of the static table.
const HTTP_OK: u8 = 0x88;
/// Index of the newest entry of the dynamic table.
const FIRST_DYNAMIC: usize = 62;
/// A table of 4,096 bytes holds at most so many.
const MOST_FIELDS: usize = 128;
/// Huffman code of `grpc-status`.
const GRPC_STATUS: &[u8] = b"\x9a\xca\xc8\xb2\x12\x34\xda\x8f";
/// Huffman code of `0`.
const ZERO: &[u8] = b"\x07";
/// The recorded client gives the connection a window of 5 MiB.
const ROOM_AGAIN: u32 = 1024 * 1024;
