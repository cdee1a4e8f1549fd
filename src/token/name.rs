//! The name of a configured client.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Name of a client: its table key in the configuration and its name in the API.
///
/// Matches `[a-z0-9][a-z0-9._-]{0,62}`. It is not the OAuth `client_id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(Arc<str>);

impl ClientName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`] if it does not have the required form.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let inside = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(byte);
        let mut bytes = text.bytes();
        let first = bytes.next().ok_or(BadName)?;
        let good_start = first.is_ascii_lowercase() || first.is_ascii_digit();
        if good_start && text.len() <= 63 && bytes.all(|byte| inside(&byte)) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadName)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ClientName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The text is not the name of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a client name starts with a lower-case letter or digit and has at most 63 of a-z, 0-9, '.', '_' and '-'",
        )
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses() {
        for good in ["a", "0", "paysway", "a.b_c-d", &"x".repeat(63)] {
            assert!(ClientName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "A", "a b", "ä", "a/b", &"x".repeat(64)] {
            assert_eq!(ClientName::parse(bad), Err(BadName), "{bad}");
        }
    }
}
