//! What goes wrong, with what a program may rely on.

use std::{
    borrow::Cow,
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{ConnectError, clock, pb::v1};

/// Why there is no token, no proof or no headers.
///
/// [`reason`](Self::reason) is what a program tests; [`Display`](fmt::Display) says to a person what is wrong and what to
/// do. Neither ever contains a token.
#[derive(Clone, Debug)]
pub struct Error {
    reason: Cow<'static, str>,
    code: Code,
    message: String,
    retry_at: Option<SystemTime>,
}

impl Error {
    /// The stable reason: one of [`reason`](mod@reason), or one that a newer daemon gives.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The gRPC status code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The name of the status code, like `NOT_FOUND`.
    #[must_use]
    pub fn code_name(&self) -> &'static str {
        code_name(self.code)
    }

    /// What is wrong and what to do, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long it is from now until it makes sense to try again: when the daemon asks the issuer next. `None` if that is
    /// not known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_at.map(|at| at.duration_since(clock::now()).unwrap_or_default())
    }

    pub(crate) fn new(reason: &'static str, code: Code, message: impl Into<String>) -> Self {
        Self { reason: Cow::Borrowed(reason), code, message: message.into(), retry_at: None }
    }

    /// Nothing could be asked of the daemon on this socket, because `why`.
    pub(crate) fn unreachable(socket: &Path, why: &str) -> Self {
        let socket = socket.display();
        let message = format!(
            "the daemon on {socket} {why}; see `systemctl status bearerd`, or set BEARERD_SOCKET to the path of the \
             daemon's socket"
        );
        Self::new(reason::DAEMON_UNREACHABLE, Code::Unavailable, message)
    }

    /// The daemon's answer is not one.
    pub(crate) fn nonsense(what: &str) -> Self {
        Self::new(reason::INTERNAL, Code::Internal, format!("the daemon's answer makes no sense: {what}"))
    }

    pub(crate) fn closed() -> Self {
        Self::new(reason::CLOSED, Code::Cancelled, "the broker was closed by this program")
    }

    /// Time is up while the first token is on its way.
    pub(crate) fn pending(client: &str, waited: Duration) -> Self {
        let message = format!("the token of `{client}` is on its way, but did not come within {waited:?}; try again");
        Self::new(reason::TOKEN_PENDING, Code::Unavailable, message)
    }

    /// What a call to the daemon on this socket ended with.
    pub(crate) fn of_call(status: &Status, socket: &Path) -> Self {
        let Some(info) = status.get_details_error_info() else {
            if broken(status) {
                return Self::unreachable(socket, "closed the connection");
            }
            return Self::unexplained(status);
        };
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self {
            reason: Cow::Owned(info.reason),
            code: status.code(),
            message: status.message().to_owned(),
            retry_at: wait.and_then(|wait| clock::now().checked_add(wait)),
        }
    }

    /// What the daemon says while there is no token.
    pub(crate) fn of_state(unavailable: v1::Unavailable) -> Self {
        let v1::Unavailable { code, reason, message, next_attempt_at } = unavailable;
        let retry_at = next_attempt_at.and_then(|at| SystemTime::try_from(at).ok());
        Self { reason: Cow::Owned(reason), code: Code::from(code), message, retry_at }
    }

    /// A status without our details: not the broker that speaks, but what is between.
    fn unexplained(status: &Status) -> Self {
        let name = code_name(status.code());
        let message = match status.message() {
            "" => format!("the daemon answered {name}"),
            message => message.to_owned(),
        };
        Self::new(name, status.code(), message)
    }

    /// Whether whoever gets this is to forget what it has: the daemon is there, and would not hand it out.
    pub(crate) fn fails_closed(&self) -> bool {
        matches!(
            self.code,
            Code::NotFound
                | Code::PermissionDenied
                | Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::ResourceExhausted
                | Code::Unimplemented
        )
    }

    /// Whether the token is on its way.
    pub(crate) fn is_pending(&self) -> bool {
        self.reason == reason::TOKEN_PENDING
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.reason)
    }
}

impl std::error::Error for Error {}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::new(reason::DAEMON_UNREACHABLE, Code::Unavailable, error.to_string())
    }
}

/// Whether it is the connection that ended, not the call.
fn broken(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<hyper::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The reasons of an [`Error`](struct@Error).
pub mod reason {
    /// The configuration does not allow this process to use the client.
    pub const CALLER_NOT_ALLOWED: &str = "CALLER_NOT_ALLOWED";
    /// This user has too many connections, streams or calls.
    pub const CALLER_LIMIT: &str = "CALLER_LIMIT";
    /// No client of that name is configured.
    pub const CLIENT_UNKNOWN: &str = "CLIENT_UNKNOWN";
    /// The broker was closed by this program.
    pub const CLOSED: &str = "CLOSED";
    /// No usable token; the issuer refuses the credentials.
    pub const CREDENTIALS_REFUSED: &str = "CREDENTIALS_REFUSED";
    /// Nobody answers on the socket.
    pub const DAEMON_UNREACHABLE: &str = "DAEMON_UNREACHABLE";
    /// The daemon is shutting down.
    pub const DRAINING: &str = "DRAINING";
    /// The value of a per-call header is empty, has control characters or does not match the configured pattern.
    pub const HEADER_INVALID: &str = "HEADER_INVALID";
    /// A header that each call must carry is missing.
    pub const HEADER_MISSING: &str = "HEADER_MISSING";
    /// The daemon's answer makes no sense.
    pub const INTERNAL: &str = "INTERNAL";
    /// No usable token; the issuer's answer made no sense.
    pub const ISSUER_ANSWER_INVALID: &str = "ISSUER_ANSWER_INVALID";
    /// No usable token; the issuer asks to come back later.
    pub const ISSUER_BUSY: &str = "ISSUER_BUSY";
    /// No usable token; the issuer cannot be reached.
    pub const ISSUER_UNREACHABLE: &str = "ISSUER_UNREACHABLE";
    /// The client's tokens are not bound to a key.
    pub const PROOF_NOT_NEEDED: &str = "PROOF_NOT_NEEDED";
    /// The token is bound to a key: each call needs a proof of its own.
    pub const PROOF_REQUIRED: &str = "PROOF_REQUIRED";
    /// A field of the request is malformed.
    pub const REQUEST_INVALID: &str = "REQUEST_INVALID";
    /// No usable token; the client secret cannot be read.
    pub const SECRET_UNREADABLE: &str = "SECRET_UNREADABLE";
    /// The token is on its way, but did not come in time.
    pub const TOKEN_PENDING: &str = "TOKEN_PENDING";
    /// The URL is neither https nor on this machine.
    pub const URL_INSECURE: &str = "URL_INSECURE";
    /// The minimum validity asked for is longer than the tokens live.
    pub const VALIDITY_UNATTAINABLE: &str = "VALIDITY_UNATTAINABLE";
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_details_of_a_status_are_what_counts() {
        let mut details = ErrorDetails::new();
        details.set_error_info("ISSUER_BUSY", "bearerd", HashMap::new());
        details.set_retry_info(Some(Duration::from_secs(5)));
        let status = Status::with_error_details(Code::Unavailable, "come back later", details);
        let error = Error::of_call(&status, Path::new("/s"));
        assert_eq!((error.reason(), error.code_name()), (reason::ISSUER_BUSY, "UNAVAILABLE"));
        assert_eq!(error.to_string(), "come back later [ISSUER_BUSY]");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)), "from now");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
    }

    #[test]
    fn a_status_without_details_has_the_code_for_a_reason() {
        let error = Error::of_call(&Status::unimplemented(""), Path::new("/s"));
        assert_eq!((error.reason(), error.message()), ("UNIMPLEMENTED", "the daemon answered UNIMPLEMENTED"));
        assert_eq!(error.retry_after(), None);
    }

    #[test]
    fn an_unreachable_daemon_is_named_with_what_to_do() {
        let error = Error::unreachable(Path::new("/run/x.sock"), "closed the connection");
        let text = error.to_string();
        assert!(text.contains("/run/x.sock") && text.contains("BEARERD_SOCKET"), "{text}");
    }
}
