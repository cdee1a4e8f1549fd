//! What goes wrong with an API call.

use std::fmt;

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no token, or the request is not as it must be; nothing was sent.
    Broker(crate::Error),
    /// The request failed.
    Http(::reqwest::Error),
    /// The API sent the request from one place to the next more often than is allowed.
    TooManyRedirects,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::TooManyRedirects => f.write_str("too many redirects"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broker(error) => error.source(),
            Self::Http(error) => error.source(),
            Self::TooManyRedirects => None,
        }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Broker(error)
    }
}

impl From<::reqwest::Error> for Error {
    fn from(error: ::reqwest::Error) -> Self {
        Self::Http(error)
    }
}
