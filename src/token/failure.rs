//! Why an attempt failed: who must act, and is it worth retrying.

use std::{fmt, time::Duration};

/// What sort of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The issuer answered that it cannot serve now: 408, 425, 429, 5xx, `temporarily_unavailable`,
    /// `server_error`. Waiting helps.
    Busy,
    /// The issuer's answer made no sense: an empty or unusable 200, a redirect. Retried; the issuer or
    /// `token_url` may need a person.
    Malformed,
    /// The client secret cannot be read on this machine. The administrator must act.
    Misconfigured,
    /// The issuer refuses the credentials or the request. The administrator must act.
    Refused,
    /// The issuer cannot be reached: name resolution, connection, TLS, time limit. Waiting may help.
    Unreachable,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Busy, Self::Malformed, Self::Misconfigured, Self::Refused, Self::Unreachable];

    /// The stable reason in `google.rpc.ErrorInfo`, in the status and in the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Busy => "ISSUER_BUSY",
            Self::Malformed => "ISSUER_ANSWER_INVALID",
            Self::Misconfigured => "SECRET_UNREADABLE",
            Self::Refused => "CREDENTIALS_REFUSED",
            Self::Unreachable => "ISSUER_UNREACHABLE",
        }
    }

    /// Whether it stays until somebody changes something, rather than passing by itself.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::Misconfigured | Self::Refused)
    }
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort it was.
    pub kind: FailureKind,
    /// For a person: what happened. Never contains a secret or a token.
    pub text: Box<str>,
    /// How long the issuer asks to wait (`Retry-After`), uncapped.
    pub retry_after: Option<Duration>,
    /// The issuer says that it gets too many requests (429).
    pub throttled: bool,
    /// The issuer does not accept what the client proves itself with (`invalid_client`); another secret may do.
    pub invalid_client: bool,
}

impl Failure {
    /// A failure with no wish of the issuer's.
    #[must_use]
    pub fn new(kind: FailureKind, text: impl Into<Box<str>>) -> Self {
        Self { kind, text: text.into(), retry_after: None, throttled: false, invalid_client: false }
    }

    /// The same with the wait that the issuer asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The same, marked as `invalid_client`.
    #[must_use]
    pub fn invalid_client(mut self, invalid: bool) -> Self {
        self.invalid_client = invalid;
        self
    }

    /// The same, marked as "too many requests".
    #[must_use]
    pub fn throttled(mut self, throttled: bool) -> Self {
        self.throttled = throttled;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
