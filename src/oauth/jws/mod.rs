//! Signs JSON Web Tokens (RFC 7515, RFC 7519): client assertions and proofs of possession.

mod der;
mod jwk;
mod key;
mod pem;

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use self::key::{KeyError, SigningKey};

/// Signature algorithms (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
}

impl Algorithm {
    /// All of them with the names that the `alg` header gives them.
    pub const NAMED: [(&'static str, Self); 12] = [
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
    ];

    /// The name in the `alg` header.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| *name)
    }

    /// Whether both sides hold the same secret.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The compact form (RFC 7515 section 7.1) of these claims, signed. `alg` is added to the header.
///
/// # Errors
/// The key is not one for this algorithm, or the system gives no random numbers.
pub fn sign(
    key: &SigningKey,
    algorithm: Algorithm,
    mut header: Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<Zeroizing<String>, KeyError> {
    header.insert("alg".to_owned(), algorithm.name().into());
    let parts = [&header, claims].map(|part| encoded(serde_json::to_string(part).unwrap_or_default().as_bytes()));
    let signed = Zeroizing::new(parts.join("."));
    let signature = Zeroizing::new(encoded(&key.signature(algorithm, signed.as_bytes())?));
    Ok(Zeroizing::new([signed.as_str(), signature.as_str()].join(".")))
}

/// Base64url without padding (RFC 7515 section 2).
pub(super) fn encoded(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, bytes)
}

#[cfg(test)]
mod tests;
