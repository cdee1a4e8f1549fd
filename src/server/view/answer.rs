//! Answers of the view: status, JSON, and headers that keep them out of caches.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::yield_now;
use tonic::Code;

use crate::{
    json::{Token, client_status},
    pb::v1,
    sensitive::SensitiveBytes,
    server::{
        reply::{Refusal, Told},
        session::Turn,
    },
};

/// What is answered to a request.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A token with the proof for one call.
#[derive(Serialize)]
pub(super) struct Proven<'a> {
    /// The value of the DPoP header.
    pub(super) proof: &'a str,
    pub(super) token: Token<'a>,
}

impl Answer {
    /// What was asked for.
    pub(super) fn good(value: &Value) -> Self {
        Self::new(StatusCode::OK, Bytes::from(format!("{value}\n")))
    }

    /// What was asked for, with secrets in it: in one buffer, wiped when it is sent.
    pub(super) fn secret(value: &impl Serialize) -> Self {
        let mut length = Length(0);
        let mut text = Vec::new();
        // Measured first: a buffer that grows would leave copies behind.
        let written = serde_json::to_writer(&mut length, value).and_then(|()| {
            text.reserve_exact(length.0 + 1);
            serde_json::to_writer(&mut text, value)
        });
        if let Err(error) = written {
            return Self::failed(&error.to_string());
        }
        text.push(b'\n');
        debug_assert_eq!(text.len(), length.0 + 1);
        Self::new(StatusCode::OK, Bytes::from_owner(SensitiveBytes::new(text)))
    }

    /// The clients. Written in pieces: others are served meanwhile.
    pub(super) async fn list(clients: &[v1::ClientStatus]) -> Self {
        let mut text = String::from("{\"clients\":[");
        for (number, client) in clients.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            if number % AT_A_TIME == AT_A_TIME - 1 {
                yield_now().await;
            }
            text.push_str(&client_status(client).to_string());
        }
        text.push_str("]}\n");
        Self::new(StatusCode::OK, Bytes::from(text))
    }

    /// Whether a service is well. For those who look at the status alone it is that.
    pub(super) fn health(service: &str, serving: bool) -> Self {
        let status = if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let word = if serving { "SERVING" } else { "NOT_SERVING" };
        Self::new(status, Bytes::from(format!("{}\n", json!({ "service": service, "status": word }))))
    }

    /// A request that this view does not take from anybody.
    pub(super) fn forbidden(reason: &str, text: &str) -> Self {
        Self::error(StatusCode::FORBIDDEN, "PERMISSION_DENIED", reason, text)
    }

    /// What should not happen.
    pub(super) fn failed(text: &str) -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "INTERNAL", text)
    }

    /// Only these methods do something there.
    pub(super) fn method_not_allowed(good: &'static str) -> Self {
        let text = format!("this method does nothing here; use one of {good}");
        let mut answer = Self::error(StatusCode::METHOD_NOT_ALLOWED, "UNIMPLEMENTED", "METHOD_UNKNOWN", &text);
        answer.headers.insert(ALLOW, HeaderValue::from_static(good));
        answer
    }

    /// An error, as gRPC would call it.
    pub(super) fn error(status: StatusCode, code: &str, reason: &str, text: &str) -> Self {
        Self::refusal(status, code, reason, text, None)
    }

    fn refusal(status: StatusCode, code: &str, reason: &str, text: &str, retry_in: Option<Duration>) -> Self {
        let wait = retry_in.map(|wait| (wait.as_secs_f64() * 1_000.0).round() / 1_000.0);
        let error = json!({ "code": code, "reason": reason, "message": text, "retry_after_s": wait });
        let mut answer = Self::new(status, Bytes::from(format!("{}\n", json!({ "error": error }))));
        if let Some(wait) = retry_in {
            answer.headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        answer
    }

    fn new(status: StatusCode, body: Bytes) -> Self {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status, headers: headers.into_iter().collect(), body }
    }

    /// The response; the call counts until it is written. `last`: the connection takes no more after it.
    pub(super) fn into_response(mut self, turn: Option<Turn>, last: bool) -> Response<Reply> {
        if last {
            self.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = Response::new(Full::new(Bytes::from_owner(Counted { body: self.body, _turn: turn })));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let told = refusal.told();
        let (status, code) = said(&told);
        Self::refusal(status, code, told.reason, &told.text, told.retry_in)
    }
}

/// The status and the name of a code. Where a caller can only wait, it is told so (503), whoever has to do something
/// about it; the reason says who that is.
fn said(told: &Told) -> (StatusCode, &'static str) {
    match told.code {
        Code::FailedPrecondition if told.retry_in.is_some() => (StatusCode::SERVICE_UNAVAILABLE, "FAILED_PRECONDITION"),
        Code::FailedPrecondition => (StatusCode::CONFLICT, "FAILED_PRECONDITION"),
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
        Code::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Code::OutOfRange => (StatusCode::UNPROCESSABLE_ENTITY, "OUT_OF_RANGE"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
    }
}

/// `Retry-After` knows whole seconds: never too few.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer on its way.
pub(super) type Reply = Full<Bytes>;

/// The bytes of an answer, which the library lets go of when they are written: only then has the call ended.
struct Counted {
    body: Bytes,
    _turn: Option<Turn>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Clients that are written without a pause.
const AT_A_TIME: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_in_whole_seconds_and_never_too_short() {
        for (millis, seconds) in [(0, 0), (1, 1), (500, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis}");
        }
    }
}
