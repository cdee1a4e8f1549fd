//! The building blocks of the embedded issuer's answers.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use serde_json::{Value, json};

use super::token_request::Refusal;

/// A complete answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// An answer for a person.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.into())
}

/// An answer that holds a web page.
pub(super) fn page(status: StatusCode, page: &'static str) -> Reply {
    reply(status, "text/html; charset=utf-8", page)
}

/// An answer for a program.
pub(super) fn json(status: StatusCode, value: &Value) -> Reply {
    reply(status, "application/json", value.to_string())
}

/// The answer to a refused token request (RFC 6749 section 5.2).
pub(super) fn refusal(refusal: Refusal) -> Reply {
    let body = json!({ "error": refusal.error.code(), "error_description": refusal.description });
    let answer = json(refusal.error.status(), &body);
    if refusal.challenge { with(answer, WWW_AUTHENTICATE, BASIC_CHALLENGE) } else { answer }
}

/// The same answer with one more header.
pub(super) fn with(mut reply: Reply, name: HeaderName, value: &'static str) -> Reply {
    reply.headers_mut().insert(name, HeaderValue::from_static(value));
    reply
}

/// RFC 6749 section 5.1 forbids caching of tokens by both headers. Here nothing may be cached: what people look
/// at changes when they turn a switch.
fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    headers.into_iter().fold(reply, |reply, (name, value)| with(reply, name, value))
}

const BASIC_CHALLENGE: &str = r#"Basic realm="bearerd dev", charset="UTF-8""#;
