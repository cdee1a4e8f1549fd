//! Access tokens of the embedded issuer: JWTs in the shape of RFC 9068, signed with ES256 (RFC 7518 section 3.4).
//!
//! The key lives and dies with the process. Nothing is kept, so a token from an earlier run is refused, as after
//! a key rotation.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    digest,
    error::Unspecified,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What an access token says (RFC 9068 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// URL of the issuer.
    pub(super) iss: String,
    /// The client itself: with client credentials there is no other subject.
    pub(super) sub: String,
    /// The client.
    pub(super) client_id: String,
    /// The APIs it is meant for.
    pub(super) aud: Vec<String>,
    /// When it was issued, in seconds since 1970.
    pub(super) iat: u64,
    /// When it expires, in seconds since 1970.
    pub(super) exp: u64,
    /// Unlike that of any other token.
    pub(super) jti: String,
    /// The granted scope; absent when none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
}

/// The key pair that signs the tokens.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// The encoded header, the same for all tokens.
    header: String,
    jwk: Value,
}

impl SigningKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)?;
        // An uncompressed point: a tag byte, then the two coordinates.
        let point = pair.public_key().as_ref().get(1..).and_then(|point| point.split_at_checked(COORDINATE));
        let (x, y) = point.map(|(x, y)| (BASE64URL.encode(x), BASE64URL.encode(y))).ok_or(Unspecified)?;
        let kid = thumbprint(&x, &y);
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": kid });
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": kid });
        Ok(Self { pair, random, header: BASE64URL.encode(header.to_string()), jwk })
    }

    /// The public key as a key set (RFC 7517 section 5).
    pub(super) fn key_set(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, Unspecified> {
        let payload = serde_json::to_vec(claims).map_err(|_| Unspecified)?;
        let signed = format!("{}.{}", self.header, BASE64URL.encode(payload));
        let signature = self.pair.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
    }

    /// What a token says, if this key made it. Whether it is still valid is the caller's to judge.
    pub(super) fn open(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64URL.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key());
        public.verify(signed.as_bytes(), &signature).ok()?;
        let (_, payload) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
    }
}

/// The key's name: its thumbprint (RFC 7638), so that two runs never use one name for two keys.
fn thumbprint(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    BASE64URL.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

/// Length of a coordinate on P-256.
const COORDINATE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            iss: "http://127.0.0.1:1".to_owned(),
            sub: "demo".to_owned(),
            client_id: "demo".to_owned(),
            aud: vec!["http://127.0.0.1:1/api".to_owned()],
            iat: 1_000,
            exp: 1_060,
            jti: "1-a".to_owned(),
            scope: None,
        }
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&BASE64URL.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn the_published_key_verifies_the_token() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&claims()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let set = key.key_set();
        let coordinate = |name| BASE64URL.decode(set["keys"][0][name].as_str().unwrap()).unwrap();
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert_eq!(public.verify(signed.as_bytes(), &BASE64URL.decode(signature).unwrap()), Ok(()));
    }

    #[test]
    fn the_token_has_the_shape_of_rfc_9068() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let header = decoded(parts[0]);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
        assert_eq!(header["kid"], key.key_set()["keys"][0]["kid"]);
        let payload = decoded(parts[1]);
        for claim in ["iss", "sub", "client_id", "aud", "iat", "exp", "jti"] {
            assert!(!payload[claim].is_null(), "{claim}");
        }
        assert!(payload.get("scope").is_none(), "not a null one");
    }

    #[test]
    fn it_opens_its_own_tokens_only() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&claims()).unwrap();
        assert_eq!(key.open(&token), Some(claims()));
        let other = SigningKey::generate().unwrap();
        assert_eq!(other.open(&token), None);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let forged = BASE64URL.encode(serde_json::to_vec(&Claims { exp: 9_999, ..claims() }).unwrap());
        for bad in [format!("{header}.{forged}.{signature}"), format!("{signed}."), "a.b".into(), String::new()] {
            assert_eq!(key.open(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_thumbprint_is_that_of_the_canonical_key() {
        // The coordinates of RFC 7517 appendix A.1; the expected value was computed independently.
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
        let y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
        assert_eq!(thumbprint(x, y), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }
}
