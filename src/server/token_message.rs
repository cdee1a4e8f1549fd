//! `GetTokenResponse` written straight from a token: one buffer of its final size, wiped when it has been sent.
//!
//! The generated message would hold the token twice in strings that nobody wipes, and cost as much as all the rest of
//! the call. A test holds this against the generated code.

use std::time::SystemTime;

use bytes::{BufMut as _, Bytes};
use prost::encoding::{encode_varint, encoded_len_varint};

use super::{body::PREFIX, convert};
use crate::{
    moment::Moment,
    refresh::{Entry, Given},
    sensitive::SensitiveBytes,
    token::{HeaderValueRule, RequestHeader},
};

/// The message with its gRPC prefix (one byte that says "not compressed", four bytes of length).
pub(super) fn encode(entry: &Entry, given: &Given, now: Moment) -> Bytes {
    let id = given.token.id.text();
    let token = Token::of(entry, given, id.as_str(), now);
    let rejection = i32::from(convert::rejection(given.rejection));
    let inner = token.length();
    let length = message_length(inner) + if rejection == 0 { 0 } else { 1 + varint_length(rejection.into()) };
    let mut out = Vec::with_capacity(PREFIX + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    put_key(&mut out, 1, LENGTH_DELIMITED);
    put_varint(&mut out, inner);
    token.put(&mut out);
    if rejection != 0 {
        put_key(&mut out, 2, VARINT);
        encode_varint(u64::try_from(rejection).unwrap_or_default(), &mut out);
    }
    debug_assert_eq!(out.len(), PREFIX + length, "a buffer that grows leaves a copy of the token behind");
    Bytes::from_owner(SensitiveBytes::new(out))
}

/// `bearerd.v1.Token` in the making.
struct Token<'a> {
    texts: [(u32, &'a str); 3],
    scope: &'a str,
    authorization: (&'a str, &'a str),
    times: [(u32, prost_types::Timestamp); 2],
    headers: &'a [RequestHeader],
    id: &'a str,
    bound: bool,
}

impl<'a> Token<'a> {
    fn of(entry: &'a Entry, given: &'a Given, id: &'a str, now: Moment) -> Self {
        let token = &given.token;
        let time = |at: SystemTime| convert::timestamp(at);
        Self {
            texts: [(1, entry.name.as_str()), (2, token.value.expose()), (3, &token.token_type)],
            scope: &token.scope,
            authorization: (&token.token_type, token.value.expose()),
            times: [(6, time(token.sent.wall)), (7, time(token.expires_at_wall(now)))],
            headers: &entry.request_headers,
            id,
            bound: token.binding.is_some(),
        }
    }

    fn length(&self) -> usize {
        let texts: usize = self.texts.iter().map(|(_, text)| text_length(text)).sum();
        let scope = text_length(self.scope);
        let times: usize = self.times.iter().map(|(_, time)| message_length(time_length(time))).sum();
        let headers: usize = self.headers.iter().map(|header| message_length(Header::of(header).length())).sum();
        texts
            + scope
            + times
            + headers
            + message_length(self.authorization_length())
            + text_length(self.id)
            + number_length(self.bound.into())
    }

    fn authorization_length(&self) -> usize {
        self.authorization.0.len() + 1 + self.authorization.1.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        for (field, text) in &self.texts {
            put_text(out, *field, text);
        }
        put_key(out, 4, LENGTH_DELIMITED);
        put_varint(out, self.authorization_length());
        for part in [self.authorization.0, " ", self.authorization.1] {
            out.put_slice(part.as_bytes());
        }
        put_text(out, 5, self.id);
        for (field, time) in &self.times {
            put_key(out, *field, LENGTH_DELIMITED);
            put_varint(out, time_length(time));
            put_number(out, 1, time.seconds);
            put_number(out, 2, time.nanos.into());
        }
        put_text(out, 8, self.scope);
        for header in self.headers {
            let header = Header::of(header);
            put_key(out, 9, LENGTH_DELIMITED);
            put_varint(out, header.length());
            header.put(out);
        }
        put_number(out, 10, self.bound.into());
    }
}

/// `bearerd.v1.RequestHeader` in the making.
struct Header<'a> {
    name: &'a str,
    value: &'a str,
    per_call: bool,
    pattern: &'a str,
}

impl<'a> Header<'a> {
    fn of(header: &'a RequestHeader) -> Self {
        let (value, per_call, pattern) = match &header.value {
            HeaderValueRule::Fixed(value) => (&**value, false, ""),
            HeaderValueRule::PerCall { pattern } => ("", true, pattern.as_deref().unwrap_or_default()),
        };
        Self { name: &header.name, value, per_call, pattern }
    }

    fn length(&self) -> usize {
        let texts: usize = [self.name, self.value, self.pattern].into_iter().map(text_length).sum();
        texts + number_length(self.per_call.into())
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, 1, self.name);
        put_text(out, 2, self.value);
        put_number(out, 3, self.per_call.into());
        put_text(out, 4, self.pattern);
    }
}

fn time_length(time: &prost_types::Timestamp) -> usize {
    number_length(time.seconds) + number_length(time.nanos.into())
}

/// An empty text and a zero are not written (proto3).
fn text_length(text: &str) -> usize {
    if text.is_empty() { 0 } else { message_length(text.len()) }
}

fn number_length(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + varint_length(number) }
}

/// Of a field with so many bytes; all field numbers here are below 16, so that a key is one byte.
fn message_length(inner: usize) -> usize {
    1 + encoded_len_varint(inner as u64) + inner
}

fn varint_length(number: i64) -> usize {
    encoded_len_varint(number.cast_unsigned())
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        put_key(out, field, LENGTH_DELIMITED);
        put_varint(out, text.len());
        out.put_slice(text.as_bytes());
    }
}

fn put_number(out: &mut Vec<u8>, field: u32, number: i64) {
    if number != 0 {
        put_key(out, field, VARINT);
        encode_varint(number.cast_unsigned(), out);
    }
}

fn put_key(out: &mut Vec<u8>, field: u32, kind: u32) {
    // One byte: the fields here have numbers below 16.
    out.put_u8(u8::try_from(field << 3 | kind).unwrap_or_default());
}

fn put_varint(out: &mut Vec<u8>, length: usize) {
    encode_varint(length as u64, out);
}

/// Wire types of protobuf.
const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, sync::Arc, time::Duration};

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::{
        access::Policy,
        clock::{Clock as _, SystemClock},
        pb::v1,
        refresh::registry::tests::entry,
        sensitive::Sensitive,
        token::{AccessToken, Binding, ProvenCall, Prover, Rejection, TokenId},
    };

    struct Unused;

    impl Prover for Unused {
        fn prove(&self, _: &ProvenCall<'_>, _: &Sensitive) -> Option<String> {
            None
        }
    }

    fn headers() -> impl Strategy<Value = Vec<RequestHeader>> {
        let rule = prop_oneof![
            ".{0,9}".prop_map(|value| HeaderValueRule::Fixed(value.into())),
            proptest::option::of(".{0,200}")
                .prop_map(|pattern| HeaderValueRule::PerCall { pattern: pattern.map(Into::into) }),
        ];
        prop::collection::vec(
            ("[a-zA-Z-]{1,20}", rule).prop_map(|(name, value)| RequestHeader { name: name.into(), value }),
            0..4,
        )
    }

    proptest! {
        #[test]
        fn is_what_the_generated_code_writes(
            value in ".{1,200}", scope in ".{0,40}", headers in headers(), epoch: u64, serial: u64,
            lifetime in 0_u64..10_000_000, rejection in 0_usize..6, bound: bool,
        ) {
            let now = SystemClock.now();
            let token = AccessToken {
                id: TokenId { epoch, serial },
                generation: 1,
                value: Sensitive::new(value),
                token_type: Cow::Borrowed("Bearer"),
                scope: scope.into(),
                sent: now,
                lifetime: Duration::from_secs(lifetime),
                ends: now.boot.plus(Duration::from_secs(lifetime)),
                binding: bound.then(|| Binding::to(Arc::new(Unused))),
            };
            let rejections = [
                None, Some(Rejection::AlreadyReplaced), Some(Rejection::RateLimited), Some(Rejection::Replaced),
                Some(Rejection::SameToken), Some(Rejection::TooYoung),
            ];
            let given = Given { token: Arc::new(token), rejection: rejections[rejection] };
            let mut entry = entry("some-client", Policy::new(0, []));
            entry.request_headers = headers.into();
            let written = encode(&entry, &given, now);
            let expected = v1::GetTokenResponse {
                token: Some(convert::token(&entry.name, &given.token, &entry.request_headers, now)),
                rejection: convert::rejection(given.rejection).into(),
            };
            let length = u32::try_from(expected.encoded_len()).unwrap();
            prop_assert_eq!(&written[..5], &[&[0], &length.to_be_bytes()[..]].concat()[..]);
            prop_assert!(written[5..] == expected.encode_to_vec());
        }
    }
}
