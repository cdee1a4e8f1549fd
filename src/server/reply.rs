//! From a refusal to a gRPC status: the only place that knows codes.

use std::{sync::Arc, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::Full;
use crate::{
    access::Caller,
    moment::{BootTime, Moment},
    refresh::Denied,
    token::{FailureKind, Refused},
};

/// Why a call gets no answer. Knows nothing of gRPC.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The policy does not let the caller in.
    NotAllowed {
        /// What it wanted.
        what: Box<str>,
        /// Why a rule that might have let it in did not, if that is because too little is known of it.
        unidentified: Option<Box<str>>,
        /// Who the kernel says it is.
        caller: Arc<Caller>,
    },
    /// The daemon is shutting down.
    Draining,
    /// A field of the request is malformed.
    Invalid(Box<str>),
    /// There is no token to hand out.
    NoToken {
        /// Whose.
        client: Box<str>,
        /// Why.
        refused: Refused,
        /// When this was found.
        now: Moment,
    },
    /// A proof was asked for, and the client's tokens need none.
    NotBound {
        /// Whose.
        client: Box<str>,
    },
    /// The caller's user has too much in use.
    TooMany {
        /// Of what.
        full: Full,
        /// Who the kernel says it is.
        caller: Arc<Caller>,
    },
    /// There is no such client.
    Unknown {
        /// The name asked for.
        client: Box<str>,
        /// The configured name that is most like it.
        nearest: Option<Box<str>>,
    },
}

/// What a caller is told: the parts of a status that also fit in a stream's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// gRPC code.
    pub code: Code,
    /// Stable reason in `google.rpc.ErrorInfo`.
    pub reason: &'static str,
    /// For a person: what is wrong and what to do.
    pub text: String,
    /// How long to wait before trying again, where waiting helps.
    pub retry_in: Option<Duration>,
}

impl Refusal {
    /// A denial by the registry as a refusal.
    #[must_use]
    pub fn of_denied(denied: Denied, client: &str, caller: &Arc<Caller>) -> Self {
        match denied {
            Denied::NotAllowed { unidentified } => {
                let what = format!("client `{client}`").into();
                Self::NotAllowed { what, unidentified, caller: Arc::clone(caller) }
            }
            Denied::Unknown { nearest } => {
                Self::Unknown { client: client.into(), nearest: nearest.map(|name| name.as_str().into()) }
            }
        }
    }

    /// What to tell the caller.
    #[must_use]
    pub fn told(&self) -> Told {
        match self {
            Self::NotAllowed { what, unidentified, caller } => Told::lasting(
                Code::PermissionDenied,
                "CALLER_NOT_ALLOWED",
                not_allowed(what, unidentified.as_deref(), caller),
            ),
            Self::Draining => Told::passing(
                Code::Unavailable,
                "DRAINING",
                "the daemon is shutting down; connect again when it is back".to_owned(),
                AFTER_RESTART,
            ),
            Self::Invalid(text) => Told::lasting(Code::InvalidArgument, "REQUEST_INVALID", text.to_string()),
            Self::NoToken { client, refused, now } => no_token(client, refused, *now),
            Self::NotBound { client } => Told::lasting(
                Code::FailedPrecondition,
                "PROOF_NOT_NEEDED",
                format!("tokens of `{client}` are not bound to a key; use them without a proof, or set dpop = true"),
            ),
            Self::TooMany { full, caller } => {
                Told::passing(Code::ResourceExhausted, "CALLER_LIMIT", too_many(*full, caller), AFTER_LIMIT)
            }
            Self::Unknown { client, nearest } => {
                Told::lasting(Code::NotFound, "CLIENT_UNKNOWN", unknown(client, nearest.as_deref()))
            }
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.told().into()
    }
}

impl From<Told> for Status {
    fn from(told: Told) -> Self {
        let mut details = ErrorDetails::with_error_info(told.reason, DOMAIN, []);
        if let Some(wait) = told.retry_in {
            details.set_retry_info(Some(wait));
        }
        Status::with_error_details(told.code, told.text, details)
    }
}

impl Told {
    fn lasting(code: Code, reason: &'static str, text: String) -> Self {
        Self { code, reason, text, retry_in: None }
    }

    fn passing(code: Code, reason: &'static str, text: String, retry_in: Duration) -> Self {
        Self { code, reason, text, retry_in: Some(retry_in) }
    }
}

fn not_allowed(what: &str, unidentified: Option<&str>, caller: &Caller) -> String {
    let remedy = match unidentified {
        Some(why) => format!("a rule asks for more than is known of it: {why}"),
        None => "an administrator can add a rule for it to `allow` (or `admins`) in the configuration".to_owned(),
    };
    format!("{what} is not allowed for this process ({caller}); {remedy}")
}

fn too_many(full: Full, caller: &Caller) -> String {
    let what = match full {
        Full::Calls => format!("calls and streams by uid {}", caller.uid),
        Full::Connections => "connections by all users together".to_owned(),
        Full::OwnConnections => format!("connections by uid {}", caller.uid),
    };
    format!("too many {what} at a time; close what is not used, share one connection, or raise [server] limits")
}

fn unknown(client: &str, nearest: Option<&str>) -> String {
    let shown: String = client.chars().take(MOST_SHOWN).collect();
    match nearest {
        Some(nearest) => format!("no client `{shown}` is configured; did you mean `{nearest}`?"),
        None => format!("no client `{shown}` is configured; `bearerd status` lists those you may use"),
    }
}

fn no_token(client: &str, refused: &Refused, now: Moment) -> Told {
    match refused {
        Refused::Failing { record, next_attempt_at } => {
            let kind = record.failure.kind;
            let wait = until(*next_attempt_at, now);
            let text = format!(
                "no usable token for `{client}`: {}; {}; next try in {}",
                record.failure.text,
                remedy(kind),
                humantime::format_duration(Duration::from_secs(wait.as_secs().max(1)))
            );
            let code = if kind.needs_a_person() { Code::FailedPrecondition } else { Code::Unavailable };
            Told::passing(code, kind.reason(), text, wait)
        }
        Refused::Gone => {
            Told::passing(Code::Unavailable, PENDING, format!("client `{client}` was just changed; ask again"), SOON)
        }
        Refused::Pending => Told::passing(
            Code::Unavailable,
            PENDING,
            format!("a token for `{client}` is on its way but did not come before the deadline; ask again"),
            SOON,
        ),
        Refused::Unattainable { wanted, lifetime, retry_in } => Told {
            code: Code::OutOfRange,
            reason: "VALIDITY_UNATTAINABLE",
            text: unattainable(client, *wanted, *lifetime, *retry_in),
            retry_in: *retry_in,
        },
    }
}

fn unattainable(client: &str, wanted: Duration, lifetime: Duration, retry_in: Option<Duration>) -> String {
    let seconds = |span: Duration| humantime::format_duration(Duration::from_secs(span.as_secs())).to_string();
    // A token that lives an hour arrives with a little less.
    let (wanted, lifetime) = (seconds(wanted), seconds(lifetime + Duration::from_millis(999)));
    match retry_in {
        Some(wait) => format!(
            "no token for `{client}` is valid for {wanted} now: its issuer returns the same token until that \
             expires in {}; ask for less, or again after that",
            seconds(wait)
        ),
        None => format!(
            "no token for `{client}` is ever valid for {wanted}: its issuer's tokens live {lifetime}; ask for less"
        ),
    }
}

fn remedy(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Busy => "the issuer cannot serve now",
        FailureKind::Malformed => "check token_url, or ask whoever runs the issuer",
        FailureKind::Misconfigured => "it is read again when it has changed",
        FailureKind::Refused => "a new secret or key is noticed by itself",
        FailureKind::Unreachable => "check network, name resolution and token_url",
    }
}

/// Time until the next attempt, never so short that callers hammer the socket.
fn until(next_attempt_at: Option<BootTime>, now: Moment) -> Duration {
    next_attempt_at.map_or(SOON, |at| at.since(now.boot)).max(SOON)
}

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "bearerd";
/// Reason while a token is on its way.
pub const PENDING: &str = "TOKEN_PENDING";
/// The least wait that a caller is told.
const SOON: Duration = Duration::from_millis(500);
/// What a restart takes, roughly.
const AFTER_RESTART: Duration = Duration::from_secs(1);
/// Calls end soon.
const AFTER_LIMIT: Duration = Duration::from_secs(1);
/// A name longer than any client's is cut when it is shown.
const MOST_SHOWN: usize = 64;
