//! Private keys in PEM (RFC 7468).

use ring::{rsa::KeyPair as RsaKeyPair, signature::Ed25519KeyPair};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroize as _;

use super::{
    der,
    key::{KeyError, Kind, p256, p384, rejected},
};

/// Reads the first private key of a PEM text.
pub(super) fn read(text: &str) -> Result<Kind, KeyError> {
    if text.contains("ENCRYPTED") {
        return Err("is encrypted with a passphrase; write it unencrypted, readable by bearerd alone".into());
    }
    let Ok(mut key) = PrivateKeyDer::from_pem_slice(text.as_bytes()) else {
        return Err("holds no private key in PEM or as a JSON Web Key; write one there".into());
    };
    let read = match &key {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).map(Kind::Rsa).map_err(rejected),
        PrivateKeyDer::Sec1(key) => {
            let on = |curve| der::pkcs8_of_sec1(curve, key.secret_sec1_der());
            let found = p256(&on(der::P256)).map(Kind::P256).or_else(|_| p384(&on(der::P384)).map(Kind::P384));
            found.map_err(|_| CURVE.into())
        }
        PrivateKeyDer::Pkcs8(key) => of_pkcs8(key.secret_pkcs8_der()),
        _ => Err("is a private key in a form that is not known; write it as PKCS #8".into()),
    };
    key.zeroize();
    read
}

/// Each kind is tried; what is said of a key that is none of them is what an RSA key lacks, the only kind that comes in
/// sizes.
fn of_pkcs8(key: &[u8]) -> Result<Kind, KeyError> {
    let ed25519 = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map(Kind::Ed25519);
    let found = ed25519.or_else(|_| p256(key).map(Kind::P256)).or_else(|_| p384(key).map(Kind::P384));
    found.or_else(|_| RsaKeyPair::from_pkcs8(key).map(Kind::Rsa)).map_err(|error| {
        let on_a_curve = key.windows(der::EC_PUBLIC_KEY.len()).any(|part| part == der::EC_PUBLIC_KEY);
        if on_a_curve { CURVE.into() } else { rejected(error) }
    })
}

/// What is wrong with most of them: OpenSSL can leave the public half out.
const CURVE: &str =
    "is a key on an elliptic curve that cannot be used; P-256 and P-384 can, exported with the public half";
