//! Makes an issuer's words fit for a log: short, one line, without control characters, secrets or tokens.
//!
//! Issuers echo what they were sent, in whatever encoding their error page happens to use. So the secret is
//! looked for in every form that it can take on the way, and what looks like a token is taken for one. Matching
//! is done on the whole text while it is copied, so that cutting it never leaves half of a secret behind.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use super::{BasicEncoding, client_auth::basic_credentials, echo::Echo, form};
use crate::sensitive::Sensitive;

/// Knows what must not be shown. `Debug` shows nothing of it.
#[derive(Default)]
pub struct Redactor {
    needles: Vec<Zeroizing<String>>,
    echo: Echo,
}

impl Redactor {
    /// Hides these secrets of a client, however encoded, and the credentials made of its id and each of them.
    #[must_use]
    pub fn new(client_id: &str, secrets: &[&Sensitive]) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            redactor.echo.listen_for(secret.expose());
            for needle in plain_forms(secret.expose()) {
                redactor.hide(needle);
            }
            for encoding in [BasicEncoding::Raw, BasicEncoding::Rfc6749] {
                let basic = basic_credentials(encoding, client_id, secret);
                redactor.hide(Zeroizing::new(basic.trim_end_matches('=').to_owned()));
            }
        }
        redactor
    }

    /// At most about `limit` bytes of the text, on one line, with secrets and tokens replaced by `[redacted]`.
    ///
    /// If a piece of a secret is left in a notation that was not foreseen, nothing of the text is shown.
    #[must_use]
    pub fn excerpt(&self, text: &str, limit: usize) -> String {
        let excerpt = self.copy(text, limit);
        if self.echo.is_in(&excerpt) { WITHHELD.to_owned() } else { excerpt }
    }

    fn copy(&self, text: &str, limit: usize) -> String {
        let mut excerpt = Excerpt::default();
        let mut hidden_to = 0;
        for (at, character) in text.char_indices() {
            let open = at >= hidden_to;
            let end = self.secret_at(text, at).max(if open { token_at(text, at) } else { 0 });
            if open && end > at {
                excerpt.push_hidden();
            } else if open {
                excerpt.push(character);
            }
            hidden_to = hidden_to.max(end);
            if excerpt.text.len() >= limit {
                return excerpt.finish(hidden_to.max(at + character.len_utf8()) >= text.len());
            }
        }
        excerpt.finish(true)
    }

    fn hide(&mut self, needle: Zeroizing<String>) {
        if !needle.is_empty() && !self.needles.contains(&needle) {
            self.needles.push(needle);
        }
    }

    /// Where the longest secret that begins at this byte ends; 0 if none does.
    fn secret_at(&self, text: &str, at: usize) -> usize {
        let rest = text.get(at..).unwrap_or_default();
        let longest = self.needles.iter().filter(|needle| rest.starts_with(needle.as_str())).map(|needle| needle.len());
        longest.max().map_or(0, |length| at + length)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// The secret as it is, and as URLs, forms, JSON, HTML and base64 would carry it.
fn plain_forms(secret: &str) -> Vec<Zeroizing<String>> {
    let form = form::encode(secret);
    let percent = Zeroizing::new(form.replace('+', "%20"));
    let json = Zeroizing::new(serde_json::to_string(secret).unwrap_or_default());
    let json = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    vec![
        Zeroizing::new(secret.to_owned()),
        Zeroizing::new(lower_hex(&form)),
        Zeroizing::new(lower_hex(&percent)),
        // RFC 3986 leaves a tilde alone and encodes an asterisk, forms do the opposite, JavaScript neither.
        Zeroizing::new(percent.replace("%7E", "~").replace('*', "%2A")),
        javascript(&percent),
        form,
        percent,
        Zeroizing::new(json.replace('/', "\\/")),
        Zeroizing::new(json.to_owned()),
        html(secret, "&#39;"),
        html(secret, "&#x27;"),
        Zeroizing::new(STANDARD_NO_PAD.encode(secret)),
        Zeroizing::new(URL_SAFE_NO_PAD.encode(secret)),
    ]
}

fn lower_hex(encoded: &str) -> String {
    let mut hex = 0_u8;
    encoded
        .chars()
        .map(|character| {
            let digit = hex > 0;
            hex = if character == '%' { 2 } else { hex.saturating_sub(1) };
            if digit { character.to_ascii_lowercase() } else { character }
        })
        .collect()
}

/// What `encodeURIComponent` makes of it: `!'()*~` stay as they are.
fn javascript(percent: &str) -> Zeroizing<String> {
    let plain = [("%21", "!"), ("%27", "'"), ("%28", "("), ("%29", ")"), ("%7E", "~")];
    let start = Zeroizing::new(percent.to_owned());
    plain.into_iter().fold(start, |text, (hex, character)| Zeroizing::new(text.replace(hex, character)))
}

fn html(secret: &str, apostrophe: &str) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(6 * secret.len()));
    for character in secret.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str(apostrophe),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Where the token that begins at this byte ends; 0 if none does.
fn token_at(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    if rest.starts_with(JWT_START) {
        return at + span(rest, |byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte));
    }
    let before = text.as_bytes().get(..at).unwrap_or_default();
    match named_value(before) {
        Some(quoting) => at + value_length(rest, quoting),
        None => 0,
    }
}

/// How a value began.
#[derive(Clone, Copy)]
enum Quoting {
    Bare,
    Quoted(u8),
}

/// Whether a value begins after this text whose name says that it is a secret; if so, how it began.
///
/// `"access_token" : "`, `access_token=`, `<access_token>`, `\"client_secret\":\"` and the like. Looks back over
/// a bounded number of bytes.
fn named_value(before: &[u8]) -> Option<Quoting> {
    let (before, quoting) = match before {
        [start @ .., quote @ (b'"' | b'\'')] => (start, Quoting::Quoted(*quote)),
        _ => (before, Quoting::Bare),
    };
    let before = before.strip_suffix(b"\\").unwrap_or(before);
    let (separator, before) = trim_blank(before).split_last()?;
    if !b":=>".contains(separator) {
        return None;
    }
    let before = trim_blank(before);
    let quoted = before.last().is_some_and(|byte| b"\"'".contains(byte));
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    let before = before.strip_suffix(b"\\").unwrap_or(before);
    let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let length = before.iter().rev().take(LONGEST_NAME).take_while(in_name).count();
    let name = before.get(before.len() - length..)?.to_ascii_lowercase();
    let known = SECRET_NAMES.iter().any(|known| name.ends_with(known.as_bytes()));
    // In prose, only an exact name is believed: `invalid token: expired` has nothing to hide.
    let like = || (quoted || *separator != b':') && SECRET_WORDS.iter().any(|word| contains(&name, word.as_bytes()));
    (known || like()).then_some(quoting)
}

fn trim_blank(mut text: &[u8]) -> &[u8] {
    for _ in 0..MOST_BLANKS {
        match text {
            [start @ .., b' ' | b'\t' | b'\r' | b'\n'] => text = start,
            _ => break,
        }
    }
    text
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Length of a value up to its closing quote, or up to what ends an unquoted one. Zero for blanks and the
/// beginnings of quoted values, objects and lists, which are looked at byte by byte.
fn value_length(rest: &str, quoting: Quoting) -> usize {
    match quoting {
        Quoting::Quoted(quote) => {
            let mut escaped = false;
            span(rest, |byte| {
                let inside = escaped || byte != quote;
                escaped = byte == b'\\' && !escaped;
                inside
            })
        }
        Quoting::Bare => span(rest, |byte| !byte.is_ascii_whitespace() && !b"\"'\\&,;{}[]<>".contains(&byte)),
    }
}

/// How many bytes at the start satisfy the predicate, up to a character boundary.
fn span(text: &str, mut inside: impl FnMut(u8) -> bool) -> usize {
    text.bytes().position(|byte| !inside(byte)).unwrap_or(text.len())
}

/// A text being written on one line.
#[derive(Default)]
struct Excerpt {
    text: String,
    blank: bool,
}

impl Excerpt {
    fn push(&mut self, character: char) {
        if character.is_whitespace() || unprintable(character) {
            self.blank = true;
        } else {
            self.settle_blank();
            self.text.push(character);
        }
    }

    fn push_hidden(&mut self) {
        self.settle_blank();
        // Two secrets side by side are one hole.
        if !self.text.ends_with(HIDDEN) {
            self.text.push_str(HIDDEN);
        }
    }

    fn settle_blank(&mut self) {
        if std::mem::take(&mut self.blank) && !self.text.is_empty() {
            self.text.push(' ');
        }
    }

    fn finish(mut self, complete: bool) -> String {
        if !complete {
            self.text.push('\u{2026}');
        }
        self.text
    }
}

/// Control characters, and those that make a terminal show something else than what is there.
fn unprintable(character: char) -> bool {
    let invisible = matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let rearranging = matches!(character, '\u{2028}'..='\u{202e}');
    character.is_control() || invisible || rearranging
}

/// What stands for a secret.
const HIDDEN: &str = "[redacted]";
/// `{"` in base64url: the start of every JWT header and payload.
const JWT_START: &str = "eyJ";
/// Names whose values are hidden whatever the notation.
const SECRET_NAMES: [&str; 6] =
    ["access_token", "client_assertion", "client_secret", "id_token", "refresh_token", "subject_token"];
/// Words that make a name in JSON, XML or a form suspicious.
const SECRET_WORDS: [&str; 5] = ["assertion", "passw", "secret", "credential", "token"];
/// Longer names are looked at only at their end.
const LONGEST_NAME: usize = 64;
/// More blanks around a separator are not looked across.
const MOST_BLANKS: usize = 8;

/// What is shown of a text that repeats the secret in a notation of its own.
const WITHHELD: &str = "[withheld: it repeats the secret]";

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    fn shown(secret: &str, text: &str) -> String {
        Redactor::new("acme", &[&Sensitive::new(secret)]).excerpt(text, 512)
    }

    #[test]
    fn the_secret_is_hidden_in_every_encoding() {
        let secret = "s/e+c r&t\"%~*'1";
        let echoes = [
            secret,
            "s%2Fe%2Bc+r%26t%22%25%7E*%271",
            "s%2fe%2bc+r%26t%22%25%7e*%271",
            "s%2Fe%2Bc%20r%26t%22%25~%2A%271",
            "s%2fe%2bc%20r%26t%22%25%7e*%271",
            "s%2Fe%2Bc%20r%26t%22%25~*'1",
            r#"s/e+c r&t\"%~*'1"#,
            r#"s\/e+c r&t\"%~*'1"#,
            "s/e+c r&amp;t&quot;%~*&#39;1",
            "s/e+c r&amp;t&quot;%~*&#x27;1",
            &STANDARD.encode(secret),
            &STANDARD_NO_PAD.encode(secret),
            &URL_SAFE.encode(secret),
            &STANDARD.encode(format!("acme:{secret}")),
            &STANDARD.encode("acme:s%2Fe%2Bc+r%26t%22%25%7E*%271"),
        ];
        for echoed in echoes {
            let text = shown(secret, &format!("bad <{echoed}> sent"));
            assert_eq!(text.replace('=', ""), "bad <[redacted]> sent", "{echoed}");
        }
    }

    #[test]
    fn overlapping_secrets_leave_no_rest() {
        assert_eq!(shown("abcabc", "xabcabcabcx"), "x[redacted]x");
        let both = Redactor::new("acme", &[&Sensitive::new("aaab"), &Sensitive::new("abbb")]);
        assert_eq!(both.excerpt("aaabbb.", 100), "[redacted].");
        assert_eq!(shown("abc", "abcabcabc!"), "[redacted]!");
    }

    #[test]
    fn what_looks_like_a_token_is_hidden() {
        for (text, expected) in [
            ("got eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln, ok", "got [redacted], ok"),
            (r#"{"access_token" : "opaque-1","a":1}"#, r#"{"access_token" : "[redacted]","a":1}"#),
            (r#"{"access_token": "a\"b","a":1}"#, r#"{"access_token": "[redacted]","a":1}"#),
            (r#"{"refresh_token":12345}"#, r#"{"refresh_token":[redacted]}"#),
            (r#"{"tenantAccessToken":"t-1"}"#, r#"{"tenantAccessToken":"[redacted]"}"#),
            (r#""{\"client_secret\":\"other\"}""#, r#""{\"client_secret\":\"[redacted]""#),
            ("client_secret=other&scope=a", "client_secret=[redacted]&scope=a"),
            ("a=1&client_assertion=x.y.z", "a=1&client_assertion=[redacted]"),
            ("ACCESS_TOKEN: opaque-1 rest", "ACCESS_TOKEN: [redacted] rest"),
            ("<access_token>opaque</access_token>", "<access_token>[redacted]</access_token>"),
            ("<a password='x y'/>", "<a password='[redacted]'/>"),
            ("access_token=", "access_token="),
        ] {
            assert_eq!(shown("hunter2", text), expected, "{text}");
        }
    }

    #[test]
    fn prose_about_tokens_stays_readable() {
        for text in ["invalid token: expired", "the client secret is wrong", "unknown field token_format"] {
            assert_eq!(shown("hunter2", text), text);
        }
    }

    #[test]
    fn the_excerpt_is_one_short_printable_line() {
        assert_eq!(shown("hunter2", "\u{1b}[31m a\r\n\tb\u{202e}\u{2028}c\0"), "[31m a b c");
        let redactor = Redactor::default();
        assert_eq!(redactor.excerpt("abcdef", 6), "abcdef");
        assert_eq!(redactor.excerpt("abcdef", 5), "abcde\u{2026}");
        assert_eq!(redactor.excerpt("", 5), "");
    }

    #[test]
    fn cutting_never_shows_the_start_of_a_secret() {
        let secret = "correct-horse-battery-staple";
        let text = format!("{}{secret}{secret}", "x".repeat(500));
        let shown = shown(secret, &text);
        assert!(!shown.contains("corr") && shown.contains("[redacted]"), "{shown}");
    }

    #[test]
    fn a_hostile_text_takes_no_quadratic_time() {
        // A quadratic scan of these would take minutes, not milliseconds.
        for unit in ["access_token=", "eyJ", "\"token\":\"", "access_token      ", "\\\"'="] {
            let text = unit.repeat(1_048_576 / unit.len());
            assert!(shown("hunter2", &text).len() < 600);
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives_any_text(
            secret in "[!-~]{4,20}", before in ".{0,600}", after in ".{0,20}", limit in 0_usize..700,
        ) {
            let text = Redactor::new("acme", &[&Sensitive::new(secret.as_str())])
                .excerpt(&format!("{before}{secret}{after}"), limit);
            prop_assume!(!"[redacted]".contains(&secret));
            prop_assert!(!text.contains(&secret));
            prop_assert!(text.len() <= limit + 16);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
