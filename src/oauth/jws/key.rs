//! Private keys in the forms that issuers and tools hand them out.

use std::fmt;

use ring::{
    error::KeyRejected,
    hmac,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
        RsaEncoding,
    },
};

use super::{Algorithm, jwk, pem};
use crate::sensitive::Sensitive;

/// A key that signs. `Debug` shows nothing of it.
pub struct SigningKey {
    pub(super) kind: Kind,
    /// The `kid` that the key itself names.
    id: Option<Box<str>>,
}

pub(super) enum Kind {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Secret(Sensitive),
}

impl SigningKey {
    /// Reads a private key: PEM with PKCS #8, PKCS #1 or SEC 1 in it, or a JSON Web Key (RFC 7517).
    ///
    /// # Errors
    /// What is wrong with it, and what to do; never a part of it.
    pub fn read(text: &Sensitive) -> Result<Self, KeyError> {
        let text = text.expose().trim();
        if text.starts_with('{') {
            let (kind, id) = jwk::read(text)?;
            return Ok(Self { kind, id });
        }
        Ok(Self { kind: pem::read(text)?, id: None })
    }

    /// A secret as the key of an HMAC (OpenID Connect Core section 9, `client_secret_jwt`).
    #[must_use]
    pub fn of_secret(secret: &Sensitive) -> Self {
        Self { kind: Kind::Secret(secret.clone()), id: None }
    }

    /// Draws a new key on P-256.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn draw() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let drawn = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| NO_RANDOM)?;
        Ok(Self { kind: Kind::P256(p256(drawn.as_ref()).map_err(rejected)?), id: None })
    }

    /// The name that the key itself has (`kid`).
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The algorithm to sign with: the one that is wanted, else what servers expect first of such a key.
    ///
    /// # Errors
    /// The key is not one for what is wanted.
    pub fn algorithm(&self, wanted: Option<Algorithm>) -> Result<Algorithm, KeyError> {
        let (what, fit): (&str, &[Algorithm]) = match self.kind {
            Kind::Ed25519(_) => ("an Ed25519 key", &[Algorithm::EdDsa]),
            Kind::P256(_) => ("a key on P-256", &[Algorithm::Es256]),
            Kind::P384(_) => ("a key on P-384", &[Algorithm::Es384]),
            Kind::Rsa(_) => ("an RSA key", &RSA),
            Kind::Secret(_) => ("a secret", &[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]),
        };
        match wanted {
            Some(wanted) if fit.contains(&wanted) => Ok(wanted),
            Some(wanted) => {
                Err(KeyError(format!("is {what}, which cannot sign with {wanted}; check signing_algorithm")))
            }
            None => fit.first().copied().ok_or(KeyError("cannot sign".to_owned())),
        }
    }

    /// The public point of a key on P-256, uncompressed; `None` for any other key.
    #[must_use]
    pub fn p256_point(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::P256(pair) => Some(pair.public_key().as_ref()),
            _ => None,
        }
    }

    /// Signs as RFC 7518 has it: ECDSA as two numbers of fixed length, not as DER.
    pub(super) fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.algorithm(Some(algorithm))?;
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Kind::P256(pair) | Kind::P384(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| NO_RANDOM.into())
            }
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding(algorithm), &random, message, &mut signature)
                    .map_err(|_| KeyError::from(NO_RANDOM))?;
                Ok(signature)
            }
            Kind::Secret(secret) => {
                let key = hmac::Key::new(digest(algorithm), secret.expose().as_bytes());
                Ok(hmac::sign(&key, message).as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

pub(super) fn p256(pkcs8: &[u8]) -> Result<EcdsaKeyPair, KeyRejected> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
}

pub(super) fn p384(pkcs8: &[u8]) -> Result<EcdsaKeyPair, KeyRejected> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8, &SystemRandom::new())
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        _ => &RSA_PKCS1_SHA256,
    }
}

fn digest(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

/// A key cannot be used: what is wrong and what to do, as the end of a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

impl From<&str> for KeyError {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What the library finds wrong with a key. Its words are single ones, like `TooSmall`.
pub(super) fn rejected(error: KeyRejected) -> KeyError {
    KeyError(format!("is no usable private key ({error}); RSA with 2048 to 4096 bits, P-256, P-384 and Ed25519 are"))
}

/// What an RSA key can sign with, the usual one first.
const RSA: [Algorithm; 6] =
    [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512];
const NO_RANDOM: &str = "cannot be used: the system gives no random numbers";
