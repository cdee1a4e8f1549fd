//! How the client proves who it is (RFC 6749 section 2.3, RFC 7523 section 2.2, RFC 8705 section 2).
//!
//! A further method is a further arm here. What it rests on is read for each attempt ([`Proof`]); what it adds to the
//! request goes out through [`TokenRequest`].

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::{
    assertion::{Facts, JWT_BEARER, Terms},
    form,
    jws::{KeyError, SigningKey},
    request::TokenRequest,
};
use crate::{secret::SecretSource, sensitive::Sensitive};

/// How the client authenticates to the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// An assertion that somebody else makes and keeps fresh in a file: Kubernetes, SPIFFE.
    AssertionFile {
        /// The file.
        file: SecretSource,
        /// The `client_assertion_type`.
        kind: Box<str>,
    },
    /// `none`, and RFC 8705 with a certificate of the connection: the request names the client, no more.
    Id,
    /// Not even that: the grant's assertion says who asks.
    Nothing,
    /// `private_key_jwt`.
    PrivateKeyJwt {
        /// The private key.
        key: SecretSource,
        /// How assertions are made.
        terms: Box<Terms>,
    },
    /// A client secret, or two of them while one takes the place of the other.
    Secret {
        /// How it is sent.
        method: SecretMethod,
        /// Where it is; tried in this order.
        sources: Box<[SecretSource]>,
    },
}

/// How a client secret is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretMethod {
    /// `client_secret_basic`: id and secret in an `Authorization: Basic` header.
    Basic(BasicEncoding),
    /// `client_secret_jwt`: an assertion with a code made of the secret.
    Jwt(Box<Terms>),
    /// `client_secret_post`: id and secret as form fields.
    Post,
}

/// What is done to id and secret before they are joined with a colon and base64-encoded.
///
/// It matters only if one of them has a character other than `A-Z a-z 0-9 * - . _`. RFC 6749 wants the encoding,
/// many issuers do not undo it; with such a secret [`SecretMethod::Post`] is the safer choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicEncoding {
    /// Nothing, as RFC 7617 has it. The id must not contain a colon.
    Raw,
    /// Each is `application/x-www-form-urlencoded` (RFC 6749 section 2.3.1 and appendix B).
    Rfc6749,
}

/// What the proof of one attempt rests on, as it was read for that.
#[derive(Debug)]
pub enum Proof {
    /// An assertion that somebody else made.
    Assertion(Sensitive),
    /// A private key.
    Key(Box<SigningKey>),
    /// Nothing that is read.
    Nothing,
    /// A client secret.
    Secret(Sensitive),
}

impl ClientAuth {
    /// What is read for the proof.
    #[must_use]
    pub fn sources(&self) -> &[SecretSource] {
        match self {
            Self::AssertionFile { file, .. } => std::slice::from_ref(file),
            Self::PrivateKeyJwt { key, .. } => std::slice::from_ref(key),
            Self::Secret { sources, .. } => sources,
            Self::Id | Self::Nothing => &[],
        }
    }

    /// How long the commands that give secrets may take, one after the other.
    #[must_use]
    pub fn time_of_commands(&self) -> Duration {
        let commands = self.sources().iter().map(|source| match source {
            SecretSource::Command(command) => command.limit(),
            _ => Duration::ZERO,
        });
        commands.sum()
    }

    /// Adds the proof to a request: form fields, or an `Authorization` header marked as sensitive.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn apply(
        &self,
        client_id: &str,
        proof: &Proof,
        facts: &Facts<'_>,
        request: &mut TokenRequest,
    ) -> Result<(), KeyError> {
        let signed = |terms: &Terms, key: &SigningKey| terms.sign(key, (client_id, client_id), &[], facts);
        match (self, proof) {
            (Self::Secret { method, .. }, Proof::Secret(secret)) => match method {
                SecretMethod::Basic(encoding) => {
                    request.authorization = basic_header(&basic_credentials(*encoding, client_id, secret));
                }
                SecretMethod::Jwt(terms) => {
                    let assertion = signed(terms, &SigningKey::of_secret(secret))?;
                    request.assert(Some(client_id), JWT_BEARER, &assertion);
                }
                SecretMethod::Post => {
                    request.form.append("client_id", client_id);
                    request.form.append("client_secret", secret.expose());
                }
            },
            (Self::PrivateKeyJwt { terms, .. }, Proof::Key(key)) => {
                request.assert(Some(client_id), JWT_BEARER, &signed(terms, key)?);
            }
            // Who the client is may be another name than the assertion's subject, so it is said.
            (Self::AssertionFile { kind, .. }, Proof::Assertion(assertion)) => {
                request.assert(Some(client_id), kind, assertion);
            }
            (Self::Nothing, _) => {}
            _ => request.form.append("client_id", client_id),
        }
        Ok(())
    }
}

/// `base64(id:secret)`, the part of the header value after `Basic `.
pub(super) fn basic_credentials(encoding: BasicEncoding, id: &str, secret: &Sensitive) -> Zeroizing<String> {
    let plain = match encoding {
        BasicEncoding::Raw => joined(id, secret.expose()),
        BasicEncoding::Rfc6749 => joined(&form::encode(id), &form::encode(secret.expose())),
    };
    Zeroizing::new(STANDARD.encode(plain.as_bytes()))
}

fn joined(id: &str, secret: &str) -> Zeroizing<String> {
    // Of the final size from the start: growing would leave a copy of the secret behind.
    let mut plain = Zeroizing::new(String::with_capacity(id.len() + 1 + secret.len()));
    for part in [id, ":", secret] {
        plain.push_str(part);
    }
    plain
}

/// `None` cannot happen: base64 has no character that a header refuses.
fn basic_header(credentials: &str) -> Option<HeaderValue> {
    let mut text = Zeroizing::new(String::with_capacity("Basic ".len() + credentials.len()));
    text.push_str("Basic ");
    text.push_str(credentials);
    // The value shares this buffer, which is wiped when the request has been sent and dropped.
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn applied(method: SecretMethod, id: &str, secret: &str) -> TokenRequest {
        let mut request = TokenRequest::default();
        let auth = ClientAuth::Secret { method, sources: Box::default() };
        let facts = Facts { token_url: "https://issuer.example/token", now: SystemTime::UNIX_EPOCH };
        auth.apply(id, &Proof::Secret(Sensitive::new(secret)), &facts, &mut request).unwrap();
        request
    }

    fn basic(encoding: BasicEncoding, id: &str, secret: &str) -> String {
        let request = applied(SecretMethod::Basic(encoding), id, secret);
        assert_eq!(request.form.as_str(), "", "one method per request (RFC 6749 section 2.3)");
        let header = request.authorization.unwrap();
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn post_sends_both_as_form_fields() {
        let request = applied(SecretMethod::Post, "me&you", "s=c+r e%t");
        assert_eq!(request.form.as_str(), "client_id=me%26you&client_secret=s%3Dc%2Br+e%25t");
        assert_eq!(request.authorization, None);
    }

    #[test]
    fn row_basic_auth_as_rfc_6749_has_it_encodes_both_parts_first() {
        assert_eq!(basic(BasicEncoding::Rfc6749, "me:you", "s c+r%e~t"), "me%3Ayou:s+c%2Br%25e%7Et");
        assert_eq!(basic(BasicEncoding::Rfc6749, "id", "p\u{e4}ss"), "id:p%C3%A4ss");
    }

    #[test]
    fn row_basic_auth_raw_leaves_both_parts_as_they_are() {
        assert_eq!(basic(BasicEncoding::Raw, "me", "s c+r%e~t:x"), "me:s c+r%e~t:x");
        assert_eq!(basic(BasicEncoding::Raw, "id", "p\u{e4}ss"), "id:p\u{e4}ss");
    }

    #[test]
    fn without_reserved_characters_the_encodings_agree() {
        let both = [BasicEncoding::Raw, BasicEncoding::Rfc6749].map(|encoding| basic(encoding, "a-1", "B_2.c*3"));
        assert_eq!(both, ["a-1:B_2.c*3", "a-1:B_2.c*3"]);
    }
}
