//! How the client proves who it is (RFC 6749 section 2.3).
//!
//! A further method is a further arm here; what it needs to know comes in with [`Credentials`], what it adds to
//! the request goes out through [`TokenRequest`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::{form, request::TokenRequest};
use crate::sensitive::Sensitive;

/// How the client authenticates to the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`: id and secret in an `Authorization: Basic` header.
    SecretBasic {
        /// What is done to id and secret before they are joined.
        encoding: BasicEncoding,
    },
    /// `client_secret_post`: id and secret as form fields.
    SecretPost,
}

/// What is done to id and secret before they are joined with a colon and base64-encoded.
///
/// It matters only if one of them has a character other than `A-Z a-z 0-9 * - . _`. RFC 6749 wants the encoding,
/// many issuers do not undo it; with such a secret [`ClientAuth::SecretPost`] is the safer choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicEncoding {
    /// Nothing, as RFC 7617 has it. The id must not contain a colon.
    Raw,
    /// Each is `application/x-www-form-urlencoded` (RFC 6749 section 2.3.1 and appendix B).
    Rfc6749,
}

/// Who the client is.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The OAuth `client_id`.
    pub id: &'a str,
    /// The client secret, read for this attempt.
    pub secret: &'a Sensitive,
}

impl ClientAuth {
    /// Adds the proof to a request: form fields, or an `Authorization` header marked as sensitive.
    pub fn apply(self, credentials: &Credentials<'_>, request: &mut TokenRequest) {
        match self {
            Self::SecretBasic { encoding } => {
                request.authorization = basic_header(&basic_credentials(encoding, credentials));
            }
            Self::SecretPost => {
                request.form.append("client_id", credentials.id);
                request.form.append("client_secret", credentials.secret.expose());
            }
        }
    }
}

/// `base64(id:secret)`, the part of the header value after `Basic `.
pub(super) fn basic_credentials(encoding: BasicEncoding, credentials: &Credentials<'_>) -> Zeroizing<String> {
    let Credentials { id, secret } = *credentials;
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
    use super::*;

    fn applied(auth: ClientAuth, id: &str, secret: &str) -> TokenRequest {
        let mut request = TokenRequest::default();
        auth.apply(&Credentials { id, secret: &Sensitive::new(secret) }, &mut request);
        request
    }

    fn basic(encoding: BasicEncoding, id: &str, secret: &str) -> String {
        let request = applied(ClientAuth::SecretBasic { encoding }, id, secret);
        assert_eq!(request.form.as_str(), "", "one method per request (RFC 6749 section 2.3)");
        let header = request.authorization.unwrap();
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn post_sends_both_as_form_fields() {
        let request = applied(ClientAuth::SecretPost, "me&you", "s=c+r e%t");
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
