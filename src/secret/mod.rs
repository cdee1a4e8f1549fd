//! Where client secrets and keys live. Read at each attempt, never kept, so that rotation needs nothing but a new value.

mod command;
mod credential;
mod env;
mod file;

use std::fmt;

pub use self::{command::SecretCommand, credential::Credential, file::SecretFile};
use crate::sensitive::Sensitive;

/// Where one secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// What a program prints.
    Command(SecretCommand),
    /// A file that systemd hands to the service.
    Credential(Credential),
    /// Held in memory, for the issuer that `bearerd dev` embeds: its secret is drawn at start and is nowhere else.
    Drawn(Sensitive),
    /// An environment variable of the daemon.
    Env(Box<str>),
    /// A file; one line ending at its end is not part of the secret.
    File(SecretFile),
}

/// What a secret looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One line: a client secret, an assertion. One line ending at its end is not part of it.
    Line,
    /// Text of several lines: a key or a certificate.
    Document,
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`SecretError`] with what is wrong and what to do, if it cannot be read or does not have this shape.
    pub async fn read(&self, shape: Shape) -> Result<Read, SecretError> {
        match self {
            Self::Command(command) => Ok(Read { secret: command.read(shape).await?, revision: 0 }),
            Self::Credential(credential) => credential.read(shape).await,
            Self::Drawn(secret) => Ok(Read { secret: secret.clone(), revision: 0 }),
            Self::Env(name) => Ok(Read { secret: env::read(name, shape)?, revision: 0 }),
            Self::File(file) => file.read(shape).await,
        }
    }

    /// A number that changes when the secret may have changed; `None` if that cannot be told within two seconds. Does
    /// not read the secret: of a command or a variable it is always the same.
    pub async fn revision(&self) -> Option<u64> {
        match self {
            Self::Command(_) | Self::Drawn(_) | Self::Env(_) => Some(0),
            Self::Credential(credential) => credential.revision().await,
            Self::File(file) => file.revision().await,
        }
    }
}

impl fmt::Display for SecretSource {
    /// Where it is, as messages begin.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "secret command {}", command.program()),
            Self::Credential(credential) => write!(f, "credential {}", credential.name()),
            Self::Drawn(_) => f.write_str("the drawn secret"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(file) => write!(f, "secret file {}", file.path().display()),
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
    complaint: Option<Complaint>,
}

/// What a program said of its failure. It may repeat what is secret, so it is shown only by who can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What it said on standard error.
    pub said: Sensitive,
    /// What it printed on standard output, which must not be shown.
    pub printed: Sensitive,
}

impl SecretError {
    /// Wraps a message, which must not contain the secret.
    #[must_use]
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), revision: 0, complaint: None }
    }

    /// The same with what a program said.
    #[must_use]
    pub fn with_complaint(self, complaint: Complaint) -> Self {
        Self { complaint: Some(complaint), ..self }
    }

    /// What a program said, if one did.
    #[must_use]
    pub fn complaint(&self) -> Option<&Complaint> {
        self.complaint.as_ref()
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

impl Shape {
    /// The secret in what was read, without the line ending that an editor or `echo` leaves.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    fn of(self, text: &str) -> Result<Sensitive, &'static str> {
        let secret = match self {
            Self::Line => text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line)),
            Self::Document => text,
        };
        if secret.trim().is_empty() {
            return Err("is empty; set it to the secret");
        }
        if secret.starts_with('\u{feff}') {
            return Err("starts with a byte order mark, which would become part of the secret; save it without one");
        }
        if self == Self::Line && secret.chars().any(char::is_control) {
            // Nearly always a second line, which the issuer would answer with an unexplained `invalid_client`.
            return Err("holds a line break or another control character; it must be the secret and nothing else");
        }
        Ok(Sensitive::new(secret))
    }
}

/// More than any secret or key, and less than would hurt, in bytes.
const LIMIT: usize = 64 * 1024;
