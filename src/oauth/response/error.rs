//! An answer without a token: what went wrong, who must act, in words for a person.

use std::borrow::Cow;

use super::{
    Answer, Expectations, Unreadable,
    body::Body,
    fields::{Fields, Value},
};
use crate::{
    oauth::redact::Redactor,
    token::{Failure, FailureKind},
};

/// The failure of an answer that should have had a token; `problem` is what comes after "HTTP 200 with".
pub(super) fn unusable(answer: &Answer<'_>, problem: &str) -> Failure {
    let mut text = format!("HTTP {} with {problem}", answer.status);
    if let Some(encoding) = answer.content_encoding.map(str::trim).filter(|encoding| !EXPECTED.contains(encoding)) {
        // An unknown one is whatever the issuer wrote, and there is no knowing what that repeats.
        let shown = CODINGS.into_iter().find(|coding| *coding == encoding).unwrap_or("something unknown");
        text = format!("{text} (Content-Encoding: {shown}, which was not asked for)");
    }
    Failure::new(FailureKind::Malformed, text)
}

/// The failure of a 4xx or 5xx.
pub(super) fn of_status(answer: &Answer<'_>, expectations: &Expectations<'_>) -> Failure {
    let redactor = expectations.redactor;
    let body = Body::decode(answer.body);
    let text = match &body {
        Ok(body) => body.lossy(),
        Err(problem) => return failure(answer.status, None, &format!(" with {problem}"), expectations),
    };
    let fields = Fields::read(&text, answer.content_type, &ERROR_FIELDS);
    if let Some(failure) = fields.as_ref().ok().and_then(|fields| of_fields(answer.status, fields, expectations)) {
        return failure;
    }
    let said = match fields {
        Err(Unreadable::Empty) => " with an empty body".to_owned(),
        _ => format!(": {}", redactor.excerpt(&text, EXCERPT)),
    };
    failure(answer.status, None, &said, expectations)
}

/// The failure that an answer's `error` field tells (RFC 6749 section 5.2), whatever its status; `None` without one.
pub(super) fn of_fields(status: u16, fields: &Fields, expectations: &Expectations<'_>) -> Option<Failure> {
    let redactor = expectations.redactor;
    match fields.get("error")? {
        Value::Text(_) => {
            let code = fields.text("error")?;
            let text = format!(", {}{}", redactor.excerpt(code, SHORT), description(fields, redactor));
            Some(failure(status, Some(code), &text, expectations))
        }
        // With an error status the body is quoted instead, which says more.
        Value::Nested | Value::Flag(true) if status < 400 => {
            let text = format!(" with an error in an unknown form{}", description(fields, redactor));
            Some(failure(status, None, &text, expectations))
        }
        Value::Flag(_) | Value::Nested | Value::Null | Value::Number(_) => None,
    }
}

/// What the issuer says about its error; `message` is what frameworks call it.
fn description(fields: &Fields, redactor: &Redactor) -> String {
    let said = fields.text("error_description").or_else(|| fields.text("message"));
    said.map(|text| format!(": {}", redactor.excerpt(text, EXCERPT))).unwrap_or_default()
}

/// `HTTP 401` + `, invalid_client: no such client` + ` (check client_id, ...)`.
fn failure(status: u16, code: Option<&str>, said: &str, expectations: &Expectations<'_>) -> Failure {
    let code = code.map(str::to_ascii_lowercase);
    let code = code.as_deref();
    let kind = kind(status, code);
    let advice = advice(status, code, expectations).map(|advice| format!(" ({advice})")).unwrap_or_default();
    // Keycloak says `unauthorized_client` of a wrong secret, Auth0 `access_denied`; what they mean is in the status.
    let invalid_client = kind == FailureKind::Refused && (status == 401 || code == Some("invalid_client"));
    Failure::new(kind, format!("HTTP {status}{said}{advice}"))
        .throttled(status == 429 || is_zohos_429(status, code))
        .invalid_client(invalid_client)
}

/// Zoho says that it gets too many requests in words of its own; their neighbour `access_denied` is a refusal.
fn is_zohos_429(status: u16, code: Option<&str>) -> bool {
    matches!(status, 200..=299 | 400) && code == Some("access denied")
}

/// Whether waiting helps, or somebody must change something.
fn kind(status: u16, code: Option<&str>) -> FailureKind {
    match (status, code) {
        _ if is_zohos_429(status, code) => FailureKind::Busy,
        (408 | 425 | 429 | 500.., _) | (_, Some("server_error" | "slow_down" | "temporarily_unavailable")) => {
            FailureKind::Busy
        }
        _ => FailureKind::Refused,
    }
}

/// What to look at: what the code or the status tells, else what a request consists of.
fn advice(status: u16, code: Option<&str>, expectations: &Expectations<'_>) -> Option<Cow<'static, str>> {
    let Expectations { proof, grant_proof, .. } = expectations;
    let advice = match (code, status) {
        (_, 408 | 425 | 429 | 500..) => return None,
        _ if is_zohos_429(status, code) => "too many token requests; see budget and idle_after",
        (Some("slow_down" | "temporarily_unavailable" | "server_error"), _) => return None,
        (Some("invalid_scope"), _) => "check scope",
        (Some("invalid_target"), _) => "check resource and audience",
        (Some("invalid_dpop_proof" | "use_dpop_nonce"), _) => "set dpop = true; if it is, check this machine's clock",
        (Some("invalid_client"), _) | (_, 401) => {
            return Some(format!("check client_id, {proof} and auth_method").into());
        }
        (Some("invalid_grant"), _) => {
            return Some(format!("check {grant_proof}, whom it speaks for and to, and this machine's clock").into());
        }
        (Some("unauthorized_client"), _) => "the issuer must allow this client the grant that it asks with; see grant",
        (Some("unsupported_grant_type"), _) => "check token_url and grant; this endpoint does not have that grant",
        (None, 404 | 405 | 410) => "check token_url",
        (None, 407) => "the proxy wants a user and a password; set them in proxy",
        _ => return Some(format!("check client_id, {proof} and scope").into()),
    };
    Some(advice.into())
}

/// The fields that are read of an error.
const ERROR_FIELDS: [&str; 3] = ["error", "error_description", "message"];
/// Other content codings that are registered (RFC 9110 section 18.6).
const CODINGS: [&str; 5] = ["br", "compress", "deflate", "x-compress", "zstd"];
/// Encodings that explain nothing.
const EXPECTED: [&str; 4] = ["", "gzip", "identity", "x-gzip"];
/// How much of a body or a description is quoted, in bytes.
const EXCERPT: usize = 512;
/// How much of an error code is quoted, in bytes.
const SHORT: usize = 64;
