//! What a token request asks for, and whether the client may ask (RFC 6749 sections 2.3.1, 3.2 and 4.4).
//!
//! Pure: headers and body in, wish or refusal out.

use std::collections::HashSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use url::form_urlencoded;

use crate::sensitive::Sensitive;

/// The one client that the issuer knows.
pub(super) struct Registration {
    /// Its `client_id`.
    pub(super) id: String,
    /// Its `client_secret`.
    pub(super) secret: Sensitive,
}

/// A request that may be granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenRequest {
    /// The scope asked for.
    pub(super) scope: Option<String>,
    /// The APIs the token shall be for; empty when the request does not say.
    pub(super) audience: Vec<String>,
}

/// A request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What sort of refusal.
    pub(super) error: ErrorCode,
    /// For a person: what was wrong.
    pub(super) description: &'static str,
    /// The client tried the `Authorization` header, so the answer must name the scheme (RFC 6749 section 5.2).
    pub(super) challenge: bool,
}

/// The error codes of RFC 6749 section 5.2 that apply here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    InvalidClient,
    InvalidRequest,
    InvalidScope,
    /// Not in the RFC for this endpoint, but what everybody answers when it breaks.
    ServerError,
    UnsupportedGrantType,
}

impl TokenRequest {
    /// Reads and checks a request.
    ///
    /// # Errors
    /// Why it is refused. The client is authenticated before anything is said about what it asks for.
    pub(super) fn read(client: &Registration, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        if !is_form(headers) {
            return Err(invalid_request("the body must be application/x-www-form-urlencoded"));
        }
        let form = Form::read(body)?;
        authenticate(client, headers, &form)?;
        match form.field("grant_type") {
            None => return Err(invalid_request("grant_type is missing")),
            Some("client_credentials") => {}
            Some(_) => return Err(UNSUPPORTED_GRANT),
        }
        let scope = form.field("scope");
        if scope.is_some_and(|scope| !is_scope(scope)) {
            return Err(INVALID_SCOPE);
        }
        Ok(Self { scope: scope.map(str::to_owned), audience: form.audience() })
    }
}

impl Refusal {
    /// The credentials are wrong.
    pub(super) fn invalid_client(headers: &HeaderMap) -> Self {
        let challenge = headers.contains_key(AUTHORIZATION);
        Self { error: ErrorCode::InvalidClient, description: "client_id or client_secret is wrong", challenge }
    }

    /// The issuer itself failed.
    pub(super) const SERVER_ERROR: Self =
        Self { error: ErrorCode::ServerError, description: "cannot sign a token", challenge: false };
}

impl ErrorCode {
    /// The value of `error`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::InvalidClient => "invalid_client",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::UnsupportedGrantType => "unsupported_grant_type",
        }
    }

    /// The HTTP status that goes with it.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest | Self::InvalidScope | Self::UnsupportedGrantType => StatusCode::BAD_REQUEST,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The fields of a request, none twice.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let mut seen = HashSet::new();
        // RFC 6749 section 3.2 forbids repetition; RFC 8707 section 2 makes the one exception.
        let repeated = fields.iter().any(|(name, _)| name != "resource" && !seen.insert(name));
        if repeated { Err(invalid_request("a parameter is given twice")) } else { Ok(Self(fields)) }
    }

    /// A field. An empty one counts as omitted (RFC 6749 section 3.2).
    fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).next()
    }

    fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// RFC 8707's `resource`, else the `audience` that some issuers have instead.
    fn audience(&self) -> Vec<String> {
        let name = if self.field("resource").is_some() { "resource" } else { "audience" };
        self.fields(name).map(str::to_owned).collect()
    }
}

fn authenticate(client: &Registration, headers: &HeaderMap, form: &Form) -> Result<(), Refusal> {
    let (id, secret) = (form.field("client_id"), form.field("client_secret"));
    let given = if headers.contains_key(AUTHORIZATION) {
        if secret.is_some() {
            return Err(invalid_request("the client authenticates in two ways at once"));
        }
        let basic = basic(headers);
        if basic.as_ref().zip(id).is_some_and(|((basic, _), id)| basic != id) {
            return Err(invalid_request("the Authorization header and client_id name different clients"));
        }
        basic
    } else {
        id.zip(secret).map(|(id, secret)| (id.to_owned(), Sensitive::new(secret)))
    };
    let known = given.is_some_and(|(id, secret)| id == client.id && secret == client.secret);
    if known { Ok(()) } else { Err(Refusal::invalid_client(headers)) }
}

/// The credentials of the `Authorization` header.
fn basic(headers: &HeaderMap) -> Option<(String, Sensitive)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decoded(id), Sensitive::new(form_decoded(secret))))
}

/// Undoes the form encoding that RFC 6749 section 2.3.1 asks for inside Basic credentials.
fn form_decoded(text: &str) -> String {
    // The parser would split at these two, which many clients leave as they are.
    let one_name = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(one_name.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether it is a scope by the grammar of RFC 6749 section 3.3.
fn is_scope(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    text.split(' ').all(|token| !token.is_empty() && token.bytes().all(inside))
}

fn invalid_request(description: &'static str) -> Refusal {
    Refusal { error: ErrorCode::InvalidRequest, description, challenge: false }
}

const UNSUPPORTED_GRANT: Refusal = Refusal {
    error: ErrorCode::UnsupportedGrantType,
    description: "only client_credentials is supported",
    challenge: false,
};
const INVALID_SCOPE: Refusal =
    Refusal { error: ErrorCode::InvalidScope, description: "scope is malformed", challenge: false };

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(authorization: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=UTF-8"));
        if let Some(credentials) = authorization {
            let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
        }
        headers
    }

    fn read(authorization: Option<&str>, body: &str) -> Result<TokenRequest, Refusal> {
        let client = Registration { id: "de mo".to_owned(), secret: Sensitive::new("s&=+%:ä") };
        TokenRequest::read(&client, &headers(authorization), body.as_bytes())
    }

    fn code(authorization: Option<&str>, body: &str) -> Option<&'static str> {
        read(authorization, body).err().map(|refusal| refusal.error.code())
    }

    const POST: &str = "grant_type=client_credentials&client_id=de+mo&client_secret=s%26%3D%2B%25%3A%C3%A4";
    const BASIC: &str = "de+mo:s%26%3D%2B%25%3A%C3%A4";

    #[test]
    fn both_ways_to_authenticate_work() {
        assert_eq!(read(None, POST), Ok(TokenRequest { scope: None, audience: Vec::new() }));
        assert!(read(Some(BASIC), "grant_type=client_credentials").is_ok());
        assert!(read(Some(BASIC), "grant_type=client_credentials&client_id=de%20mo").is_ok());
        assert!(read(Some("de+mo:s&=%2B%25:ä"), "grant_type=client_credentials").is_ok(), "as little as needed");
    }

    #[test]
    fn wrong_credentials_are_refused_and_challenged_if_the_header_was_used() {
        let post = "grant_type=client_credentials&client_id=de+mo";
        let grant = "grant_type=client_credentials";
        let tries = [
            (None, grant),
            (None, post),
            (None, "grant_type=client_credentials&client_secret=s"),
            (None, "grant_type=client_credentials&client_id=de+mo&client_secret=s"),
            (None, "grant_type=password&client_id=de+mo&client_secret=s"),
            (Some("de+mo"), grant),
            (Some("de+mo:"), grant),
            (Some("demo:s%26%3D%2B%25%3A%C3%A4"), grant),
        ];
        for (authorization, body) in tries {
            let refusal = read(authorization, body).unwrap_err();
            assert_eq!(refusal.error, ErrorCode::InvalidClient, "{authorization:?} {body}");
            assert_eq!(refusal.challenge, authorization.is_some(), "{authorization:?} {body}");
        }
    }

    #[test]
    fn malformed_requests_are_told_from_wrong_credentials() {
        assert_eq!(code(None, &POST.replace("grant_type=client_credentials", "")), Some("invalid_request"));
        assert_eq!(code(None, &POST.replace("grant_type=client_credentials", "grant_type=")), Some("invalid_request"));
        assert_eq!(code(None, &format!("{POST}&grant_type=client_credentials")), Some("invalid_request"));
        assert_eq!(code(None, &format!("{POST}&x=1&x=2")), Some("invalid_request"));
        assert_eq!(code(Some(BASIC), POST), Some("invalid_request"), "two ways at once");
        let other = "grant_type=client_credentials&client_id=other";
        assert_eq!(code(Some(BASIC), other), Some("invalid_request"));
        assert_eq!(code(None, &POST.replace("client_credentials", "password")), Some("unsupported_grant_type"));
        let client = Registration { id: String::new(), secret: Sensitive::new("") };
        let without_type = TokenRequest::read(&client, &HeaderMap::new(), POST.as_bytes());
        assert_eq!(without_type.unwrap_err().error, ErrorCode::InvalidRequest);
    }

    #[test]
    fn scope_and_audience_are_read() {
        let asked = |more: &str| read(None, &format!("{POST}&{more}"));
        assert_eq!(asked("scope=a+b:c").unwrap().scope.as_deref(), Some("a b:c"));
        assert_eq!(asked("scope=").unwrap().scope, None);
        for bad in ["scope=a++b", "scope=+", "scope=%22", "scope=a%0Ab", "scope=%C3%A4"] {
            assert_eq!(asked(bad).unwrap_err().error, ErrorCode::InvalidScope, "{bad}");
        }
        assert_eq!(asked("audience=x").unwrap().audience, ["x"]);
        assert_eq!(
            asked("resource=https://a&resource=https://b&audience=x").unwrap().audience,
            ["https://a", "https://b"]
        );
    }
}
