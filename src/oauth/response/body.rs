//! From the bytes of a body to text: gzip, byte order mark, UTF-8.

use std::{borrow::Cow, fmt, io::Read as _};

use flate2::read::MultiGzDecoder;
use zeroize::Zeroizing;

/// A body, unpacked and without its byte order mark.
pub(super) enum Body<'a> {
    /// As it came.
    Plain(&'a [u8]),
    /// After gzip. Wiped when dropped, as it may hold a token.
    Unpacked(Zeroizing<Vec<u8>>),
}

impl<'a> Body<'a> {
    /// Unpacks a body that begins like gzip, whatever `Content-Encoding` says: gateways add the header to plain
    /// bodies and strip it from packed ones.
    ///
    /// # Errors
    /// [`Unreadable::Gzip`] if it is damaged, [`Unreadable::Bomb`] if it unpacks to more than 1 MiB.
    pub(super) fn decode(raw: &'a [u8]) -> Result<Self, Unreadable> {
        if !raw.starts_with(GZIP_MAGIC) {
            return Ok(Self::Plain(raw));
        }
        // Room for more than token answers shrink by, so that the buffer hardly ever has to move.
        let room = raw.len().saturating_mul(8).clamp(4_096, MOST_UNPACKED);
        let mut unpacked = Zeroizing::new(Vec::with_capacity(room));
        let limit = u64::try_from(MOST_UNPACKED).unwrap_or(u64::MAX).saturating_add(1);
        let length = MultiGzDecoder::new(raw).take(limit).read_to_end(&mut unpacked).map_err(|_| Unreadable::Gzip)?;
        if length > MOST_UNPACKED { Err(Unreadable::Bomb) } else { Ok(Self::Unpacked(unpacked)) }
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Unreadable::Utf8`] if it is not UTF-8: a token with a replaced byte would be a wrong token.
    pub(super) fn text(&self) -> Result<&str, Unreadable> {
        std::str::from_utf8(self.bytes()).map_err(|_| Unreadable::Utf8)
    }

    /// The body as text for a person, with whatever is not UTF-8 replaced.
    pub(super) fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }

    fn bytes(&self) -> &[u8] {
        let bytes = match self {
            Self::Plain(bytes) => bytes,
            Self::Unpacked(bytes) => bytes.as_slice(),
        };
        bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
    }
}

/// Why a body says nothing. Displays as what comes after "HTTP 200 with".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It unpacks to too much.
    Bomb,
    /// There is none.
    Empty,
    /// Its gzip is damaged.
    Gzip,
    /// It is a page for people.
    Html,
    /// It is not valid JSON, from here on.
    Json { line: usize, column: usize },
    /// It is neither a JSON object nor a form.
    Unknown,
    /// It is not UTF-8.
    Utf8,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bomb => "a gzip body that unpacks to more than 1 MiB",
            Self::Empty => "an empty body",
            Self::Gzip => "a damaged gzip body",
            Self::Html => "an HTML page instead of a token; check token_url",
            Self::Json { line, column } => return write!(f, "broken JSON (line {line}, column {column})"),
            Self::Unknown => "a body that is neither a JSON object nor a form; check token_url",
            Self::Utf8 => "a body that is not UTF-8",
        })
    }
}

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
/// Largest body after unpacking, in bytes; the same as before it.
const MOST_UNPACKED: usize = 1024 * 1024;
