//! The only types that may hold a secret or a token.

use std::{fmt, sync::Arc};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A secret text: shared, never printed, wiped when the last owner lets go.
///
/// Cloning shares the text, it does not copy it. `Debug` prints `[redacted]`; there is no `Display`. Comparison
/// takes the same time wherever two texts of one length differ.
#[derive(Clone)]
pub struct Sensitive(Arc<Zeroizing<Box<str>>>);

impl Sensitive {
    /// Takes over a secret. The text is kept in an allocation of exactly its size.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text: Zeroizing<String> = Zeroizing::new(text.into());
        // Copied, not shrunk in place: shrinking may move the text and leave the old copy behind unwiped.
        Self(Arc::new(Zeroizing::new(Box::from(text.as_str()))))
    }

    /// The secret itself. What is done with it is the caller's responsibility.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Sensitive {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Sensitive {}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Bytes that hold a token on its way out: never printed, wiped when dropped.
///
/// Wiped at the speed of `memset`, which matters here: each answer to a caller is one of these.
pub struct SensitiveBytes(Vec<u8>);

impl SensitiveBytes {
    /// Takes over a buffer, which should not have grown since it was first written to.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for SensitiveBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SensitiveBytes {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for SensitiveBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Overwrites bytes that held a secret.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Whoever compiles this must believe that somebody looks.
    std::hint::black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        let secret = Sensitive::new("hunter2");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "[redacted] Some(\n    [redacted],\n)");
    }

    #[test]
    fn wiped_bytes_are_gone() {
        let mut bytes = b"hunter2".to_vec();
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 7]);
        assert_eq!(format!("{:?}", SensitiveBytes::new(b"hunter2".to_vec())), "[redacted]");
    }

    #[test]
    fn equality_is_by_text() {
        assert_eq!(Sensitive::new("a"), Sensitive::new("a"));
        assert_ne!(Sensitive::new("a"), Sensitive::new("b"));
        assert_ne!(Sensitive::new("a"), Sensitive::new("ab"));
    }
}
