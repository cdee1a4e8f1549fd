//! What became of a report that an API answered 401 to a token.

use std::fmt;

use crate::{Token, pb::v1};

/// The outcome of a report: the token to use from now on, and whether it is another one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The token to use.
    pub token: Token,
    /// What the daemon did.
    pub rejection: Rejection,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// A newer token was there already; no request was made.
    AlreadyReplaced,
    /// Too many renewals were forced (one per 30 s, three in 10 min without a cure). Same token.
    RateLimited,
    /// The token was retired, and this is its replacement.
    Replaced,
    /// The issuer was asked and returned the very same token.
    SameToken,
    /// The token is less than 5 s old: clocks may differ, try it again. Same token.
    TooYoung,
    /// Something that a newer daemon says.
    Unspecified,
}

impl Rejection {
    pub(crate) fn of(message: v1::Rejection) -> Self {
        match message {
            v1::Rejection::AlreadyReplaced => Self::AlreadyReplaced,
            v1::Rejection::RateLimited => Self::RateLimited,
            v1::Rejection::Replaced => Self::Replaced,
            v1::Rejection::SameToken => Self::SameToken,
            v1::Rejection::TooYoung => Self::TooYoung,
            v1::Rejection::Unspecified => Self::Unspecified,
        }
    }

    /// Its name in the protocol, without the prefix: `REPLACED`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyReplaced => "ALREADY_REPLACED",
            Self::RateLimited => "RATE_LIMITED",
            Self::Replaced => "REPLACED",
            Self::SameToken => "SAME_TOKEN",
            Self::TooYoung => "TOO_YOUNG",
            Self::Unspecified => "UNSPECIFIED",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
