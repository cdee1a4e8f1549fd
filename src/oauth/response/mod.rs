//! What a token endpoint answered, judged tolerantly (RFC 6749 sections 5.1 and 5.2).
//!
//! Pure: bytes and facts in, a token or a failure out; no clock, no I/O, no panic on any input. Real endpoints
//! break the RFC in many ways that do not matter. Here such an answer is understood, and what was odd about it
//! is said in [`Issued::oddities`]; what cannot be understood becomes a [`Failure`] that names the cause and,
//! where there is one, the key to set. No text that leaves this module contains a secret or a token.

mod body;
mod error;
mod fields;
pub(super) mod jwt;
mod lifetime;
mod point_in_time;
mod redirect;
mod success;
mod time;

use std::{fmt, time::SystemTime};

use url::Url;

use self::{
    body::{Body, Unreadable},
    fields::Fields,
    time::IssuerTime,
};
use super::{LifetimeUnit, Settings, redact::Redactor};
use crate::token::{Failure, FailureKind, Issued};

/// One answer as it came over the wire.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; only a tie-breaker, as it is often wrong.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`; gzip is recognised without it.
    pub content_encoding: Option<&'a str>,
    /// `Date`: what time it is for the issuer.
    pub date: Option<&'a str>,
    /// `Retry-After` (RFC 9110 section 10.2.3).
    pub retry_after: Option<&'a str>,
    /// `Location`, reported when the answer is a redirect.
    pub location: Option<&'a str>,
    /// The body; whoever read it limited its size.
    pub body: &'a [u8],
    /// Local wall time when the request was sent.
    pub sent: SystemTime,
    /// Local wall time when the answer had arrived.
    pub received: SystemTime,
}

impl fmt::Debug for Answer<'_> {
    /// The body may hold a token, and every header an echo of what was sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What the answer is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// Where the request went; a relative `Location` is relative to it.
    pub token_url: &'a Url,
    /// The scope that was asked for.
    pub scope: Option<&'a str>,
    /// The authentication scheme to use, whatever the issuer says.
    pub token_type: Option<&'a str>,
    /// The unit of `expires_in`.
    pub expires_in_unit: LifetimeUnit,
    /// The field to read when there is no usable `expires_in`.
    pub expires_at_field: Option<&'a str>,
    /// What proves who the client is, as the configuration calls it.
    pub proof: &'static str,
    /// What the grant rests on, the same way.
    pub grant_proof: &'static str,
    /// The token is to be bound to a key (RFC 9449).
    pub bound: bool,
    /// Knows what was secret in the request.
    pub redactor: &'a Redactor,
}

impl<'a> Expectations<'a> {
    /// What a client with these settings expects.
    #[must_use]
    pub fn new(settings: &'a Settings, token_url: &'a Url, redactor: &'a Redactor) -> Self {
        Self {
            token_url,
            scope: settings.scope.as_deref(),
            token_type: settings.token_type.as_deref(),
            expires_in_unit: settings.expires_in_unit,
            expires_at_field: settings.expires_at_field.as_deref(),
            proof: settings.proof(),
            grant_proof: settings.grant_proof(),
            bound: settings.dpop,
            redactor,
        }
    }
}

/// Judges an answer.
///
/// [`Issued::secret_in_use`] is left 0: which secret was sent, the sender knows.
///
/// # Errors
/// [`FailureKind::Busy`] for 408, 425, 429, 5xx, the error codes `server_error`, `slow_down` and
/// `temporarily_unavailable` in any status, and Zoho's way to say 429; [`FailureKind::Refused`] for any other error
/// code and any other 4xx; [`FailureKind::Malformed`] for redirects and whatever else brings no usable token.
/// `Retry-After` is passed on with each of them.
pub fn parse(answer: &Answer<'_>, expectations: &Expectations<'_>) -> Result<Issued, Failure> {
    let clock = IssuerTime::of(answer);
    let judged = match answer.status {
        200..=299 => judge_success(answer, expectations, &clock),
        300..=399 => Err(redirect::failure(answer, expectations)),
        400..=599 => Err(error::of_status(answer, expectations)),
        status => Err(Failure::new(FailureKind::Malformed, format!("HTTP {status}, which is no answer to a request"))),
    };
    judged.map_err(|failure| failure.retry_after(clock.wait(answer.retry_after)))
}

fn judge_success(answer: &Answer<'_>, expectations: &Expectations<'_>, clock: &IssuerTime) -> Result<Issued, Failure> {
    let fields = read(answer, expectations).map_err(|problem| error::unusable(answer, &problem.to_string()))?;
    // Some issuers report errors with status 200; a token beside one would be a leftover.
    if let Some(failure) = error::of_fields(answer.status, &fields, expectations) {
        return Err(failure);
    }
    success::issued(answer, &fields, expectations, clock)
}

/// Reads the fields that matter; the rest of the answer is skipped unseen.
fn read(answer: &Answer<'_>, expectations: &Expectations<'_>) -> Result<Fields, Unreadable> {
    let mut wanted = WANTED.to_vec();
    wanted.extend(expectations.expires_at_field);
    let body = Body::decode(answer.body)?;
    Fields::read(body.text()?, answer.content_type, &wanted)
}

/// The fields of RFC 6749 sections 5.1 and 5.2, Entra's `refresh_in`, and `message`, which some have for
/// `error_description`.
const WANTED: [&str; 8] =
    ["access_token", "error", "error_description", "expires_in", "message", "refresh_in", "scope", "token_type"];

#[cfg(test)]
mod tests;
