//! Finds a secret in a text whatever notation it is written in.
//!
//! Error pages quote what they were sent: percent-encoded in part or twice, escaped for JSON, HTML or a log, in
//! base64 or hex. No list of such forms is ever complete, so the text is undone instead: every notation is taken
//! back, several deep, and the secret's pieces are looked for in all that comes out.

use zeroize::Zeroizing;

/// The secrets to look for.
#[derive(Default)]
pub(super) struct Echo {
    secrets: Vec<Zeroizing<String>>,
}

impl Echo {
    /// Looks out for this secret too. One so short that it would be found everywhere is left to exact matching.
    pub(super) fn listen_for(&mut self, secret: &str) {
        if secret.len() >= LEAST {
            self.secrets.push(Zeroizing::new(secret.to_owned()));
        }
    }

    /// Whether the text contains a piece of a secret in any notation.
    pub(super) fn is_in(&self, text: &str) -> bool {
        if self.secrets.is_empty() {
            return false;
        }
        let mut known: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut layer = vec![Zeroizing::new(text.as_bytes().to_vec())];
        for _ in 0..=DEPTH {
            if layer.iter().any(|form| self.is_plainly_in(form)) {
                return true;
            }
            let undone: Vec<_> =
                layer.iter().flat_map(|form| NOTATIONS.iter().map(|undo| Zeroizing::new(undo(form)))).collect();
            known.append(&mut layer);
            for form in undone.into_iter().take(MOST_FORMS) {
                if !known.contains(&form) && !layer.contains(&form) {
                    layer.push(form);
                }
            }
        }
        false
    }

    fn is_plainly_in(&self, form: &[u8]) -> bool {
        self.secrets.iter().any(|secret| {
            let size = secret.len().min(PIECE);
            form.windows(size).any(|window| secret.as_bytes().windows(size).any(|piece| piece == window))
        })
    }
}

/// Takes one notation back, wherever it occurs in the text.
type Undo = fn(&[u8]) -> Vec<u8>;

const NOTATIONS: [Undo; 7] = [percent, form, backslash, entity, hex, |text| base64(text, 0), |text| base64(text, 1)];

/// Copies a text; `undo` says what stands at its beginning and how much of the text that takes.
fn rewrite(text: &[u8], undo: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some((bytes, taken)) = undo(rest) {
            out.extend(bytes);
            rest = rest.get(taken.max(1)..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

/// `%7E`.
fn percent(text: &[u8]) -> Vec<u8> {
    rewrite(text, |rest| match rest {
        [b'%', high, low, ..] => Some((vec![pair(*high, *low)?], 3)),
        _ => None,
    })
}

/// `%7E`, and `+` for a blank.
fn form(text: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent(&blanks)
}

/// `\"`, `\x7e`, `\u007e` and `\u{7e}`.
fn backslash(text: &[u8]) -> Vec<u8> {
    rewrite(text, |rest| match rest {
        [b'\\', b'x', high, low, ..] => Some((vec![pair(*high, *low)?], 4)),
        [b'\\', b'u', b'{', digits @ ..] => {
            let length = digits.iter().position(|byte| *byte == b'}')?;
            Some((character(digits.get(..length)?, 16)?, length + 4))
        }
        [b'\\', b'u', digits @ ..] => Some((character(digits.get(..4)?, 16)?, 6)),
        [b'\\', escaped, ..] => Some((vec![*escaped], 2)),
        _ => None,
    })
}

/// `&amp;`, `&#39;` and `&#x27;`.
fn entity(text: &[u8]) -> Vec<u8> {
    rewrite(text, |rest| {
        let inside = rest.strip_prefix(b"&")?;
        let length = inside.iter().take(LONGEST_ENTITY).position(|byte| *byte == b';')?;
        let bytes = match inside.get(..length)? {
            b"amp" => vec![b'&'],
            b"lt" => vec![b'<'],
            b"gt" => vec![b'>'],
            b"quot" => vec![b'"'],
            b"apos" => vec![b'\''],
            [b'#', b'x' | b'X', digits @ ..] => character(digits, 16)?,
            [b'#', digits @ ..] => character(digits, 10)?,
            _ => return None,
        };
        Some((bytes, length + 2))
    })
}

/// Runs of hexadecimal digits.
fn hex(text: &[u8]) -> Vec<u8> {
    rewrite(text, |rest| {
        let run = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() & !1;
        if run < SHORTEST_RUN {
            return None;
        }
        let pairs = rest.get(..run)?.chunks_exact(2);
        let bytes = pairs.filter_map(|digits| match digits {
            [high, low] => pair(*high, *low),
            _ => None,
        });
        Some((bytes.collect(), run))
    })
}

/// Runs of base64 in either alphabet; `skip` characters at the start of a run belong to something else.
fn base64(text: &[u8], skip: usize) -> Vec<u8> {
    rewrite(text, |rest| {
        let run = rest.iter().take_while(|byte| sextet(**byte).is_some()).count();
        if run < SHORTEST_RUN {
            return None;
        }
        let sextets: Vec<u32> = rest.get(skip..run)?.iter().filter_map(|byte| sextet(*byte)).collect();
        let bytes = sextets.chunks(4).flat_map(|group| {
            let bits = group.iter().fold(0, |bits, sextet| bits << 6 | sextet) << (6 * (4 - group.len()));
            let [_, bytes @ ..] = bits.to_be_bytes();
            bytes.into_iter().take(group.len().saturating_sub(1)).collect::<Vec<_>>()
        });
        Some((bytes.collect(), run))
    })
}

fn sextet(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

fn pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// The character of this number, in UTF-8.
fn character(digits: &[u8], radix: u32) -> Option<Vec<u8>> {
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    Some(char::from_u32(number)?.to_string().into_bytes())
}

/// So many bytes of a secret in a row are taken for it.
const PIECE: usize = 8;
/// A secret shorter than this would be found in every text.
const LEAST: usize = 4;
/// A form in a form in JSON in a log line.
const DEPTH: usize = 3;
/// Bounds the work for a text that was made to be looked at for long.
const MOST_FORMS: usize = 64;
/// Shorter runs of hex or base64 hold no piece of a secret.
const SHORTEST_RUN: usize = 8;
/// `#x10ffff;`
const LONGEST_ENTITY: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t&p=+%:/\u{fc}~x\"Hq<k'9\\Zw Q7mB_vT4*!Rk2";

    fn found(text: &str) -> bool {
        let mut echo = Echo::default();
        echo.listen_for(SECRET);
        echo.is_in(text)
    }

    #[test]
    fn every_notation_is_undone() {
        for text in [
            format!("got {SECRET}, sorry"),
            "s3cr3t%26p%3d%2b%25%3a%2f%c3%bc~x%22Hq".to_owned(),
            "s3cr3t%2526p%253D%252B%2525%253A".to_owned(),
            "%5CZw+Q7mB_vT4*!Rk2".to_owned(),
            "p=+%:/\\u00fc~x\\\"Hq".to_owned(),
            "p=+%:/\\u{fc}~x\\\\\\\"Hq".to_owned(),
            "%:/\\xc3\\xbc~x\\\"Hq".to_owned(),
            "s3cr3t&amp;p=+%:/ and k&#039;9".to_owned(),
            "x&#x22;Hq&lt;k&#x27;9".to_owned(),
            "73336372337426703d2b25".to_owned(),
            "YW5vdGhlci1pZDpzM2NyM3QmcD0rJTov".to_owned(),
            "xYW5vdGhlci1pZDpzM2NyM3QmcD0rJTov".to_owned(),
        ] {
            assert!(found(&text), "{text}");
        }
    }

    #[test]
    fn other_words_are_none_of_it() {
        for text in ["", "invalid_client: no such client", "s3cr3t", "%zz &x; \\u{ \\u12 \\", "%26%3d"] {
            assert!(!found(text), "{text}");
        }
    }

    #[test]
    fn tiny_secrets_are_left_to_exact_matching() {
        let mut echo = Echo::default();
        echo.listen_for("abc");
        assert!(!echo.is_in("abc"));
    }
}
