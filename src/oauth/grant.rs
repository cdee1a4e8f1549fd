//! What a token is asked for with: the grant (RFC 6749 section 4.4, RFC 7523 section 2.1, RFC 8693).

use super::assertion::Terms;
use crate::secret::SecretSource;

/// Which grant is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The client asks for itself.
    ClientCredentials,
    /// An assertion says for whom (RFC 7523 section 2.1).
    JwtBearer(Box<BearerAssertion>),
    /// A token that somebody else gave out is exchanged (RFC 8693).
    TokenExchange(Box<SubjectToken>),
}

/// Where the assertion of the JWT bearer grant comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerAssertion {
    /// Somebody else makes it and keeps it fresh in a file.
    File(SecretSource),
    /// It is made for each attempt, by the client about a subject.
    Signed {
        /// The private key.
        key: SecretSource,
        /// How it is made.
        terms: Terms,
        /// For whom the token is; `None`: for the client itself.
        subject: Option<Box<str>>,
        /// Further claims.
        claims: Box<[(Box<str>, Box<str>)]>,
    },
}

/// The token that is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectToken {
    /// The file that it is in.
    pub file: SecretSource,
    /// What it is, as a URI (RFC 8693 section 3).
    pub kind: Box<str>,
}

impl Grant {
    /// The `grant_type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
    /// Whether the client's id is part of what is sent for the grant.
    #[must_use]
    pub fn names_the_client(&self) -> bool {
        !matches!(self, Self::JwtBearer(assertion) if matches!(**assertion, BearerAssertion::File(_)))
    }
}
