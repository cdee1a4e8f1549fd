//! Private keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair,
    },
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::key::{KeyError, Kind, rejected};

/// Reads one key, and the name that it has.
pub(super) fn read(text: &str) -> Result<(Kind, Option<Box<str>>), KeyError> {
    let key: Jwk = serde_json::from_str(text).map_err(|_| "is no JSON Web Key (RFC 7517); write one there")?;
    let kind = match (&*key.kty, key.crv.as_deref()) {
        ("RSA", _) => Kind::Rsa(key.rsa()?),
        ("EC", Some("P-256")) => Kind::P256(key.ec(&ECDSA_P256_SHA256_FIXED_SIGNING, 32)?),
        ("EC", Some("P-384")) => Kind::P384(key.ec(&ECDSA_P384_SHA384_FIXED_SIGNING, 48)?),
        ("OKP", Some("Ed25519")) => {
            let (seed, public) = (number(key.d.as_ref(), "d")?, number(key.x.as_ref(), "x")?);
            Kind::Ed25519(Ed25519KeyPair::from_seed_and_public_key(&seed, &public).map_err(rejected)?)
        }
        _ => {
            return Err("is a key of another kind than RSA, EC on P-256 or P-384, and Ed25519; use one of those".into());
        }
    };
    Ok((kind, key.kid))
}

/// The members of all kinds. Numbers are base64url, most significant byte first.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<Box<str>>,
    d: Option<Zeroizing<String>>,
    x: Option<Zeroizing<String>>,
    y: Option<Zeroizing<String>>,
    n: Option<Zeroizing<String>>,
    e: Option<Zeroizing<String>>,
    p: Option<Zeroizing<String>>,
    q: Option<Zeroizing<String>>,
    dp: Option<Zeroizing<String>>,
    dq: Option<Zeroizing<String>>,
    qi: Option<Zeroizing<String>>,
}

impl Jwk {
    fn rsa(&self) -> Result<RsaKeyPair, KeyError> {
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: number(self.n.as_ref(), "n")?, e: number(self.e.as_ref(), "e")? },
            d: number(self.d.as_ref(), "d")?,
            p: number(self.p.as_ref(), "p")?,
            q: number(self.q.as_ref(), "q")?,
            dP: number(self.dp.as_ref(), "dp")?,
            dQ: number(self.dq.as_ref(), "dq")?,
            qInv: number(self.qi.as_ref(), "qi")?,
        };
        RsaKeyPair::from_components(&components).map_err(rejected)
    }

    fn ec(&self, curve: &'static EcdsaSigningAlgorithm, length: usize) -> Result<EcdsaKeyPair, KeyError> {
        let [d, x, y] = [("d", &self.d), ("x", &self.x), ("y", &self.y)]
            .map(|(name, value)| number(value.as_ref(), name).map(|number| padded(&number, length)));
        // An uncompressed point (SEC 1 section 2.3.3).
        let point = [&[4], x?.as_slice(), y?.as_slice()].concat();
        EcdsaKeyPair::from_private_key_and_public_key(curve, &d?, &point, &SystemRandom::new()).map_err(rejected)
    }
}

fn number(text: Option<&Zeroizing<String>>, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = text.ok_or_else(|| KeyError::from(missing(name)))?;
    BASE64URL.decode(text.as_bytes()).map(Zeroizing::new).map_err(|_| "has a member that is not base64url".into())
}

fn missing(name: &str) -> &'static str {
    match name {
        "d" => "is a public key; the private one (with the member d) is needed",
        "p" | "q" | "dp" | "dq" | "qi" => "lacks the members p, q, dp, dq and qi; export it with them",
        _ => "lacks a member of its public key; export it whole",
    }
}

/// Some tools leave leading zeros out (RFC 7518 section 6.2.1.2 wants them).
fn padded(number: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(vec![0; length.saturating_sub(number.len())]);
    padded.extend_from_slice(number);
    padded
}
