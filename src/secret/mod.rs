//! Where client secrets live. Read at each attempt, never kept, so that rotation needs nothing but a new value.

mod env;
mod file;

use std::fmt;

pub use self::file::SecretFile;
use crate::sensitive::Sensitive;

/// Where one secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the daemon.
    Env(Box<str>),
    /// Held in memory, for the issuer that `bearerd dev` embeds: its secret is drawn at start and is nowhere else.
    Drawn(Sensitive),
    /// A file; one line ending at its end is not part of the secret.
    File(SecretFile),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`SecretError`] with what is wrong and what to do, if it cannot be read or is not a usable secret.
    pub async fn read(&self) -> Result<Read, SecretError> {
        match self {
            Self::Drawn(secret) => Ok(Read { secret: secret.clone(), revision: 0 }),
            Self::Env(name) => Ok(Read { secret: env::read(name)?, revision: 0 }),
            Self::File(file) => file.read().await,
        }
    }

    /// A number that changes when the secret may have changed; `None` if that cannot be told within two seconds. Does
    /// not read the secret.
    pub async fn revision(&self) -> Option<u64> {
        match self {
            Self::Drawn(_) | Self::Env(_) => Some(0),
            Self::File(file) => file.revision().await,
        }
    }
}

/// A secret that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The secret.
    pub secret: Sensitive,
    /// What [`SecretSource::revision`] says for as long as this is what would be read.
    pub revision: u64,
}

/// A secret cannot be read: where, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    message: Box<str>,
    revision: u64,
}

impl SecretError {
    /// Wraps a message, which must not contain the secret.
    #[must_use]
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), revision: 0 }
    }

    /// The same of a source with this revision.
    #[must_use]
    pub fn at_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// What [`SecretSource::revision`] says for as long as nothing else would be read.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SecretError {}

/// Whether a text can be a client secret at all; if not, what is wrong and what to do.
fn usable(secret: &str) -> Result<(), &'static str> {
    if secret.is_empty() {
        return Err("is empty; set it to the client secret");
    }
    if secret.starts_with('\u{feff}') {
        return Err("starts with a byte order mark, which would become part of the secret; save it without one");
    }
    if secret.chars().any(char::is_control) {
        // Nearly always a second line, which the issuer would answer with an unexplained `invalid_client`.
        return Err("holds a line break or another control character; it must be the client secret and nothing else");
    }
    Ok(())
}
