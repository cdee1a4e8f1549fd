//! Repairs the `:authority` that some gRPC clients send on a Unix socket.
//!
//! gRPC C-core (Python, C++, Ruby, PHP) sends the percent-encoded path of the socket. That is not an authority
//! (RFC 3986 section 3.2 lets `%` stand in a registered name, but the HTTP library refuses it), so the request
//! would be reset with PROTOCOL_ERROR before anybody could look at it. On a local socket the authority means
//! nothing, so the offending characters are overwritten in the header block at equal length: the peer's HPACK
//! table (RFC 7541) and ours stay in step, because an entry's size depends on lengths alone.

use std::sync::LazyLock;

use http::uri::Authority;

/// What was found in a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No literal `:authority`: there is none, or it is a reference to an earlier one.
    Nothing,
    /// One that was overwritten, or one that cannot be read and is left to the HTTP library.
    Odd,
    /// One that is good as it is.
    Valid,
}

/// Looks for a literal `:authority` in a header block fragment and repairs it in place if need be.
///
/// Stops at the first thing it does not understand: the HTTP library will have its own opinion of that.
pub fn repair(block: &mut [u8]) -> Found {
    let mut at = 0;
    while let Some(field) = next_field(block, at) {
        match field {
            Field::Skip { end } => at = end,
            Field::Authority { value } => return repair_value(block, &value),
        }
    }
    Found::Nothing
}

/// One header field representation (RFC 7541 section 6).
enum Field {
    /// Not interesting; the next one starts at `end`.
    Skip { end: usize },
    /// A literal `:authority`.
    Authority { value: Text },
}

/// A string literal (RFC 7541 section 5.2).
struct Text {
    start: usize,
    end: usize,
    huffman: bool,
}

fn next_field(block: &[u8], at: usize) -> Option<Field> {
    let first = *block.get(at)?;
    let (prefix, literal) = match first {
        0x80..=0xff => (7, false),
        0x40..=0x7f => (6, true),
        0x20..=0x3f => (5, false),
        0x00..=0x1f => (4, true),
    };
    let (index, mut end) = integer(block, at, prefix)?;
    if !literal {
        return Some(Field::Skip { end });
    }
    let mut is_authority = index == AUTHORITY_INDEX;
    if index == 0 {
        let name = text(block, end)?;
        is_authority = name.is_authority(block);
        end = name.end;
    }
    let value = text(block, end)?;
    Some(if is_authority { Field::Authority { value } } else { Field::Skip { end: value.end } })
}

/// An integer with a prefix of `bits` bits (RFC 7541 section 5.1), and where it ends.
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut end = at + 1;
    if value < most {
        return Some((value, end));
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(end)?);
        end += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, end));
        }
    }
    None
}

fn text(block: &[u8], at: usize) -> Option<Text> {
    let huffman = block.get(at)? & 0x80 != 0;
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some(Text { start, end, huffman })
}

impl Text {
    fn is_authority(&self, block: &[u8]) -> bool {
        let Some(bytes) = block.get(self.start..self.end) else { return false };
        if self.huffman {
            // Compared as it is: decoding is work that a peer could make us do for nothing. A coded text is unique but
            // for its padding, which has one form as well.
            bytes == AUTHORITY_CODED
        } else {
            bytes == AUTHORITY
        }
    }
}

fn repair_value(block: &mut [u8], value: &Text) -> Found {
    let Some(bytes) = block.get_mut(value.start..value.end) else { return Found::Odd };
    if bytes.len() > LONGEST {
        // No socket has such a path.
        return Found::Odd;
    }
    if value.huffman {
        return repair_huffman(bytes);
    }
    if Authority::try_from(&*bytes).is_ok() {
        return Found::Valid;
    }
    for byte in bytes.iter_mut().filter(|byte| !is_plain(**byte)) {
        *byte = b'-';
    }
    Found::Odd
}

fn repair_huffman(bytes: &mut [u8]) -> Found {
    let Some(symbols) = decode(bytes) else { return Found::Odd };
    let text: Vec<u8> = symbols.iter().map(|symbol| symbol.byte).collect();
    if Authority::try_from(text.as_slice()).is_ok() {
        return Found::Valid;
    }
    for symbol in symbols.iter().filter(|symbol| !is_plain(symbol.byte)) {
        // Only a character with a code of the same length fits in its place.
        let substitute = match symbol.length {
            6 => b'-',
            7 => b'x',
            8 => b'X',
            _ => continue,
        };
        symbol.overwrite(bytes, substitute);
    }
    Found::Odd
}

/// Characters that are good anywhere in an authority.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

/// One decoded character and where its code stands.
struct Symbol {
    byte: u8,
    bit: usize,
    length: usize,
}

impl Symbol {
    fn overwrite(&self, bytes: &mut [u8], substitute: u8) {
        let Some((length, code)) = code_of(substitute) else { return };
        debug_assert_eq!(length, self.length, "a code of another length would shift what follows");
        for offset in 0..self.length {
            let bit = self.bit + offset;
            let mask = 0x80_u8 >> (bit % 8);
            let set = code >> (self.length - 1 - offset) & 1 == 1;
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte = if set { *byte | mask } else { *byte & !mask };
            }
        }
    }
}

/// Decodes printable ASCII (RFC 7541 appendix B); `None` at anything else.
fn decode(bytes: &[u8]) -> Option<Vec<Symbol>> {
    let bits = bytes.len() * 8;
    let mut symbols = Vec::new();
    let mut start = 0;
    while start < bits {
        let Some(symbol) = decode_one(bytes, start) else {
            // What is left must be padding: fewer than eight bits, all ones.
            let padding = bits - start < 8 && (start..bits).all(|bit| bit_at(bytes, bit) == 1);
            return padding.then_some(symbols);
        };
        start += symbol.length;
        symbols.push(symbol);
    }
    Some(symbols)
}

fn decode_one(bytes: &[u8], bit: usize) -> Option<Symbol> {
    let mut code = 0;
    for length in 1..=LONGEST_CODE.min(bytes.len() * 8 - bit) {
        code = code << 1 | bit_at(bytes, bit + length - 1);
        if let Ok(position) = SORTED.binary_search_by_key(&(length, code), |known| (known.0, known.1)) {
            let byte = SORTED.get(position)?.2;
            return Some(Symbol { byte, bit, length });
        }
    }
    None
}

fn bit_at(bytes: &[u8], bit: usize) -> u32 {
    bytes.get(bit / 8).map_or(0, |byte| u32::from(byte >> (7 - bit % 8) & 1))
}

fn code_of(byte: u8) -> Option<(usize, u32)> {
    CODES.get(usize::from(byte.checked_sub(FIRST)?)).copied()
}

/// [`CODES`] with their characters, in order of length and code.
static SORTED: LazyLock<Vec<(usize, u32, u8)>> = LazyLock::new(|| {
    let mut sorted: Vec<_> = (FIRST..).zip(CODES).map(|(byte, (length, code))| (length, code, byte)).collect();
    sorted.sort_unstable();
    sorted
});

/// The name of the pseudo-header, plain and Huffman coded.
const AUTHORITY: &[u8] = b":authority";
const AUTHORITY_CODED: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// The path of a socket has at most 107 bytes, each of which may become `%XX`.
const LONGEST: usize = 512;
/// Index of `:authority` in the static table (RFC 7541 appendix A).
const AUTHORITY_INDEX: usize = 1;
/// The first printable character, which has the first code.
const FIRST: u8 = b' ';
/// The longest code of a printable character, in bits.
const LONGEST_CODE: usize = 19;
/// Length in bits and code of the printable ASCII characters, from the space on (RFC 7541 appendix B).
const CODES: [(usize, u32); 95] = [
    (6, 0x14),
    (10, 0x3f8),
    (10, 0x3f9),
    (12, 0xffa),
    (13, 0x1ff9),
    (6, 0x15),
    (8, 0xf8),
    (11, 0x7fa),
    (10, 0x3fa),
    (10, 0x3fb),
    (8, 0xf9),
    (11, 0x7fb),
    (8, 0xfa),
    (6, 0x16),
    (6, 0x17),
    (6, 0x18),
    (5, 0x0),
    (5, 0x1),
    (5, 0x2),
    (6, 0x19),
    (6, 0x1a),
    (6, 0x1b),
    (6, 0x1c),
    (6, 0x1d),
    (6, 0x1e),
    (6, 0x1f),
    (7, 0x5c),
    (8, 0xfb),
    (15, 0x7ffc),
    (6, 0x20),
    (12, 0xffb),
    (10, 0x3fc),
    (13, 0x1ffa),
    (6, 0x21),
    (7, 0x5d),
    (7, 0x5e),
    (7, 0x5f),
    (7, 0x60),
    (7, 0x61),
    (7, 0x62),
    (7, 0x63),
    (7, 0x64),
    (7, 0x65),
    (7, 0x66),
    (7, 0x67),
    (7, 0x68),
    (7, 0x69),
    (7, 0x6a),
    (7, 0x6b),
    (7, 0x6c),
    (7, 0x6d),
    (7, 0x6e),
    (7, 0x6f),
    (7, 0x70),
    (7, 0x71),
    (7, 0x72),
    (8, 0xfc),
    (7, 0x73),
    (8, 0xfd),
    (13, 0x1ffb),
    (19, 0x7fff0),
    (13, 0x1ffc),
    (14, 0x3ffc),
    (6, 0x22),
    (15, 0x7ffd),
    (5, 0x3),
    (6, 0x23),
    (5, 0x4),
    (6, 0x24),
    (5, 0x5),
    (6, 0x25),
    (6, 0x26),
    (6, 0x27),
    (5, 0x6),
    (7, 0x74),
    (7, 0x75),
    (6, 0x28),
    (6, 0x29),
    (6, 0x2a),
    (5, 0x7),
    (6, 0x2b),
    (7, 0x76),
    (6, 0x2c),
    (5, 0x8),
    (5, 0x9),
    (6, 0x2d),
    (7, 0x77),
    (7, 0x78),
    (7, 0x79),
    (7, 0x7a),
    (7, 0x7b),
    (15, 0x7ffe),
    (11, 0x7fc),
    (14, 0x3ffd),
    (13, 0x1ffd),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A literal with incremental indexing and the indexed name `:authority`, not Huffman coded.
    fn plain(value: &str) -> Vec<u8> {
        let mut block = vec![0x83, 0x86, 0x41, u8::try_from(value.len()).unwrap()];
        block.extend(value.bytes());
        block.push(0x84);
        block
    }

    fn encode(value: &str) -> Vec<u8> {
        let bits: Vec<u32> = value
            .bytes()
            .flat_map(|byte| {
                let (length, code) = code_of(byte).unwrap();
                (0..length).rev().map(move |shift| code >> shift & 1)
            })
            .collect();
        bits.chunks(8)
            .map(|chunk| {
                let value = chunk.iter().fold(0, |byte, bit| byte << 1 | bit);
                let missing = 8 - chunk.len();
                u8::try_from(value << missing | ((1 << missing) - 1)).unwrap()
            })
            .collect()
    }

    fn huffman(value: &str) -> Vec<u8> {
        let coded = encode(value);
        let mut block = vec![0x83, 0x41, 0x80 | u8::try_from(coded.len()).unwrap()];
        block.extend(coded);
        block.push(0x84);
        block
    }

    fn text_of(block: &[u8], start: usize) -> String {
        let text = text(block, start).unwrap();
        let bytes = &block[text.start..text.end];
        let decoded = if text.huffman {
            decode(bytes).unwrap().iter().map(|symbol| symbol.byte).collect()
        } else {
            bytes.to_vec()
        };
        String::from_utf8(decoded).unwrap()
    }

    #[test]
    fn good_authorities_are_left_alone() {
        for good in ["localhost", "localhost:50051", "[::1]:80", "example.com", "a_b"] {
            for mut block in [plain(good), huffman(good)] {
                let before = block.clone();
                assert_eq!(repair(&mut block), Found::Valid, "{good}");
                assert_eq!(block, before);
            }
        }
    }

    #[test]
    fn socket_paths_are_overwritten_at_equal_length() {
        for (bad, good) in [
            ("%2Frun%2Fbearerd%2Fbearerd.sock", "-2Frun-2Fbearerd-2Fbearerd.sock"),
            ("/run/bearerd/bearerd.sock", "-run-bearerd-bearerd.sock"),
            ("run/my-dir", "run-my-dir"),
        ] {
            let mut block = plain(bad);
            assert_eq!(repair(&mut block), Found::Odd);
            assert_eq!(text_of(&block, 3), good);
            assert_eq!(block.len(), plain(bad).len());
            let mut block = huffman(bad);
            assert_eq!(repair(&mut block), Found::Odd);
            assert_eq!(text_of(&block, 2), good);
            assert!(Authority::try_from(good).is_ok());
        }
    }

    #[test]
    fn other_characters_are_overwritten_too() {
        let mut block = plain("/tmp/a b:c:d@e?#.sock");
        assert_eq!(repair(&mut block), Found::Odd);
        assert_eq!(text_of(&block, 3), "-tmp-a-b-c-d-e--.sock");
        let mut block = huffman("/tmp/a:b&c");
        assert_eq!(repair(&mut block), Found::Odd);
        assert_eq!(text_of(&block, 2), "-tmp-axbXc");
    }

    #[test]
    fn the_name_may_be_spelt_out() {
        let mut block = vec![0x00, 10];
        block.extend(b":authority");
        block.extend([4, b'/', b'a', b'/', b'b']);
        assert_eq!(repair(&mut block), Found::Odd);
        assert_eq!(&block[block.len() - 4..], b"-a-b");
    }

    #[test]
    fn the_name_may_be_coded() {
        assert_eq!(encode(":authority"), AUTHORITY_CODED);
        let mut block = vec![0x00, 0x80 | u8::try_from(AUTHORITY_CODED.len()).unwrap()];
        block.extend(AUTHORITY_CODED);
        block.extend([4, b'/', b'a', b'/', b'b']);
        assert_eq!(repair(&mut block), Found::Odd);
        assert_eq!(&block[block.len() - 4..], b"-a-b");
    }

    #[test]
    fn every_code_is_found() {
        for byte in b' '..=b'~' {
            let coded = encode(&char::from(byte).to_string());
            assert_eq!(decode(&coded).unwrap()[0].byte, byte);
        }
    }

    #[test]
    fn what_is_too_long_for_a_socket_is_left_alone() {
        let long = "/".repeat(LONGEST + 1);
        let mut block = vec![0x41, 0x7f, 0x82, 0x03];
        block.extend(long.bytes());
        assert_eq!((repair(&mut block), block.ends_with(b"//")), (Found::Odd, true));
    }

    #[test]
    fn blocks_without_one_are_nothing() {
        assert_eq!(repair(&mut [0x83, 0x86, 0xc0, 0x3f, 0xe1, 0x1f]), Found::Nothing);
        assert_eq!(repair(&mut []), Found::Nothing);
        assert_eq!(repair(&mut [0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]), Found::Nothing, "cut off");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_change_lengths(mut block in prop::collection::vec(any::<u8>(), 0..200)) {
            let before = block.len();
            repair(&mut block);
            prop_assert_eq!(block.len(), before);
        }

        #[test]
        fn after_a_repair_the_authority_is_valid(path in "/[ -~]{1,40}") {
            let mut block = plain(&path);
            repair(&mut block);
            prop_assert!(Authority::try_from(text_of(&block, 3).as_str()).is_ok());
        }
    }
}
