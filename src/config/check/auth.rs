//! How a client proves who it is, and what its token is asked for with: `auth_method`, `grant` and the keys of each.

use super::secret;
use crate::{
    config::reader::{Node, Table},
    oauth::{
        BasicEncoding, ClientAuth, Grant, Identity,
        assertion::{Audience, JWT_BEARER, TYP, Terms},
        client_auth::SecretMethod,
        grant::{BearerAssertion, SubjectToken},
        jws::Algorithm,
    },
};

/// What `auth_method` can be: RFC 6749 section 2.3, OpenID Connect Core section 9, RFC 8705, RFC 7521.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    AssertionFile,
    Basic,
    Certificate,
    None,
    Post,
    PrivateKeyJwt,
    SecretJwt,
}

/// What an assertion is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// To prove who the client is, with a key.
    Client,
    /// To say for whom a token is asked for.
    Grant,
    /// To prove who the client is, with a secret.
    Secret,
}

/// Which `grant`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClientCredentials,
    JwtBearer,
    TokenExchange,
}

/// Reads how the client authenticates. `None` only if something was reported.
pub(super) fn check(client: &Table<'_>) -> Option<ClientAuth> {
    let method = method(client);
    report_needless(client, method);
    match method {
        Method::Basic => {
            let encoding = client.key("basic_encoding").quiet_choice(&ENCODINGS).unwrap_or(BasicEncoding::Rfc6749);
            with_secret(client, SecretMethod::Basic(encoding))
        }
        Method::Post => with_secret(client, SecretMethod::Post),
        Method::SecretJwt => {
            let terms = terms(client, Use::Secret);
            with_secret(client, SecretMethod::Jwt(Box::new(terms?)))
        }
        Method::PrivateKeyJwt => {
            let (key, terms) = (private_key(client), terms(client, Use::Client));
            Some(ClientAuth::PrivateKeyJwt { key: key?, terms: Box::new(terms?) })
        }
        Method::AssertionFile => {
            let node =
                client.key("client_assertion_file").required(r#"add client_assertion_file = "/path/to/assertion""#);
            let kind = client.key("client_assertion_type").text().unwrap_or(JWT_BEARER).into();
            Some(ClientAuth::AssertionFile { file: secret::kept_by_others(&node)?, kind })
        }
        // The assertion says who asks, unless it is said that the id is to be sent all the same.
        Method::None if !client.key("auth_method").is_set() => Some(ClientAuth::Nothing),
        Method::Certificate | Method::None => Some(ClientAuth::Id),
    }
}

/// Reads the certificate of the connection: for RFC 8705, or because what stands before the issuer wants one.
pub(super) fn identity(client: &Table<'_>, tls: &Table<'_>) -> Option<Box<Identity>> {
    let (certificate, key) = (tls.key("certificate_file"), tls.key("key_file"));
    let token_url = client.key("token_url");
    let place = if token_url.is_set() { token_url } else { client.key("issuer") };
    if method(client) == Method::Certificate && place.peek().is_some_and(|url| url.starts_with("http://")) {
        place.problem(
            "is not encrypted, and auth_method proves the client with the certificate of TLS",
            "write https://",
        );
    }
    if method(client) == Method::Certificate && !certificate.is_set() {
        certificate.problem("is missing, and auth_method proves the client with it", "add it and tls.key_file");
    }
    for (there, missing) in [(&certificate, &key), (&key, &certificate)] {
        if there.is_set() && !missing.is_set() {
            missing.problem("is missing beside the other", "write tls.certificate_file and tls.key_file together");
        }
    }
    let (certificate, key) = (secret::kept_by_others(&certificate), secret::file(&key));
    Some(Box::new(Identity { certificate: certificate?, key: key? }))
}

/// Reads the grant. `None` only if something was reported.
pub(super) fn grant(client: &Table<'_>) -> Option<Grant> {
    let kind = kind(client);
    for (key, of) in GRANT_KEYS {
        let node = client.key(key);
        if node.is_set() && of != kind {
            node.problem("says something of another grant", "remove it, or set grant");
            read_anyway(&node, key);
        }
    }
    match kind {
        Kind::ClientCredentials => Some(Grant::ClientCredentials),
        Kind::JwtBearer => {
            let file = client.key("assertion_file");
            if file.is_set() {
                return Some(Grant::JwtBearer(Box::new(BearerAssertion::File(secret::kept_by_others(&file)?))));
            }
            let (key, terms) = (private_key(client), terms(client, Use::Grant));
            let subject = client.key("subject").text().map(Box::from);
            let claims = claims(&client.key("assertion_claims"));
            Some(Grant::JwtBearer(Box::new(BearerAssertion::Signed { key: key?, terms: terms?, subject, claims })))
        }
        Kind::TokenExchange => {
            let node = client.key("subject_token_file").required(r#"add subject_token_file = "/path/to/token""#);
            let kind = client.key("subject_token_type").text().unwrap_or(JWT).into();
            Some(Grant::TokenExchange(Box::new(SubjectToken { file: secret::kept_by_others(&node)?, kind })))
        }
    }
}

fn method(client: &Table<'_>) -> Method {
    // A grant that has a proof of its own needs no other.
    let default = if kind(client) == Kind::JwtBearer { Method::None } else { Method::Post };
    client.key("auth_method").quiet_choice(&METHODS).unwrap_or(default)
}

fn kind(client: &Table<'_>) -> Kind {
    client.key("grant").quiet_choice(&GRANTS).unwrap_or(Kind::ClientCredentials)
}

/// Reports words that are none of the choices, once.
pub(super) fn words(client: &Table<'_>) {
    client.key("auth_method").choice(&METHODS);
    client.key("grant").choice(&GRANTS);
    client.key("basic_encoding").choice(&ENCODINGS);
}

fn with_secret(client: &Table<'_>, method: SecretMethod) -> Option<ClientAuth> {
    let node = client.key("client_secret").required(&format!("add client_secret = {}", secret::FORMS));
    Some(ClientAuth::Secret { method, sources: secret::several(&node)? })
}

/// What another method would use is more likely a mistake than meant: the secret would not be sent.
fn report_needless(client: &Table<'_>, method: Method) {
    let signs = kind(client) == Kind::JwtBearer && !client.key("assertion_file").is_set();
    let uses = |key: &str| match key {
        "client_assertion_file" | "client_assertion_type" => method == Method::AssertionFile,
        "client_secret" => matches!(method, Method::Basic | Method::Post | Method::SecretJwt),
        "private_key" | "key_id" => method == Method::PrivateKeyJwt || signs,
        _ => matches!(method, Method::PrivateKeyJwt | Method::SecretJwt) || signs,
    };
    for key in PROOF_KEYS {
        let node = client.key(key);
        if node.is_set() && !uses(key) {
            node.problem("is not used by this auth_method", "remove it, or set auth_method to the one that uses it");
            read_anyway(&node, key);
        }
    }
}

/// Finds what else is wrong with a key that is in the wrong place: it may be the place that gets corrected.
fn read_anyway(node: &Node<'_>, key: &str) {
    match key {
        "assertion_claims" => drop(claims(node)),
        "assertion_file" | "client_assertion_file" | "subject_token_file" => drop(secret::kept_by_others(node)),
        "client_secret" => drop(secret::several(node)),
        "private_key" => drop(secret::one(node)),
        "signing_algorithm" => drop(node.choice(&Algorithm::NAMED)),
        _ => drop(node.text()),
    }
}

fn private_key(client: &Table<'_>) -> Option<crate::secret::SecretSource> {
    let node = client.key("private_key").required(r#"add private_key = { file = "/path/to/key.pem" }"#);
    if node.is_list() {
        node.problem("is a list", "name one key; a new one takes its place in the same file");
        return None;
    }
    secret::one(&node)
}

/// How assertions are made.
fn terms(client: &Table<'_>, purpose: Use) -> Option<Terms> {
    let issuer = client.key("issuer");
    let node = client.key("assertion_audience");
    let audience = match node.text() {
        Some("token_endpoint") => Audience::TokenEndpoint,
        Some("issuer") | None => {
            let Some(issuer) = issuer.peek() else {
                issuer.problem(
                    "is missing, and assertions are made for it (RFC 10070)",
                    r#"add what the issuer calls itself, like issuer = "https://issuer.example", or write assertion_audience"#,
                );
                return None;
            };
            Audience::Issuer(issuer.into())
        }
        Some(other) => Audience::Other(other.into()),
    };
    let method = method(client);
    // With both, what is written is about the client's own assertion; the grant's then has what is usual.
    let own = purpose != Use::Grant || !matches!(method, Method::PrivateKeyJwt | Method::SecretJwt);
    let node = client.key("signing_algorithm");
    // Two assertions by the same key are signed alike.
    let written = if own || method == Method::PrivateKeyJwt { node.choice(&Algorithm::NAMED) } else { None };
    let symmetric = purpose == Use::Secret;
    if written.is_some_and(|algorithm| algorithm.is_symmetric() != symmetric) {
        let instead =
            if symmetric { "write HS256, HS384 or HS512" } else { "write one like RS256, PS256, ES256 or EdDSA" };
        node.problem("is not an algorithm for this auth_method", instead);
    }
    let default = if purpose == Use::Grant { "JWT" } else { TYP };
    let typ = if own { client.key("assertion_typ").text() } else { None }.unwrap_or(default).into();
    let key_id = client.key("key_id").text().map(Box::from);
    Some(Terms { key_id, algorithm: written, audience, typ })
}

fn claims(node: &Node<'_>) -> Box<[(Box<str>, Box<str>)]> {
    let claims = node.named().into_iter().filter_map(|(name, claim)| {
        if OWN_CLAIMS.contains(&name) {
            claim.problem("is a claim that bearerd sets itself", "remove it; see subject and assertion_audience");
        }
        Some((Box::from(name), Box::from(claim.string()?)))
    });
    claims.collect()
}

const METHODS: [(&str, Method); 8] = [
    ("client_assertion_file", Method::AssertionFile),
    ("client_secret_basic", Method::Basic),
    ("client_secret_jwt", Method::SecretJwt),
    ("client_secret_post", Method::Post),
    ("none", Method::None),
    ("private_key_jwt", Method::PrivateKeyJwt),
    ("self_signed_tls_client_auth", Method::Certificate),
    ("tls_client_auth", Method::Certificate),
];
const GRANTS: [(&str, Kind); 3] = [
    ("client_credentials", Kind::ClientCredentials),
    ("jwt_bearer", Kind::JwtBearer),
    ("token_exchange", Kind::TokenExchange),
];
const GRANT_KEYS: [(&str, Kind); 5] = [
    ("assertion_claims", Kind::JwtBearer),
    ("assertion_file", Kind::JwtBearer),
    ("subject", Kind::JwtBearer),
    ("subject_token_file", Kind::TokenExchange),
    ("subject_token_type", Kind::TokenExchange),
];
/// Keys that only some methods use.
const PROOF_KEYS: [&str; 8] = [
    "assertion_audience",
    "assertion_typ",
    "client_assertion_file",
    "client_assertion_type",
    "client_secret",
    "key_id",
    "private_key",
    "signing_algorithm",
];
const OWN_CLAIMS: [&str; 6] = ["aud", "exp", "iat", "iss", "jti", "sub"];
const ENCODINGS: [(&str, BasicEncoding); 2] = [("raw", BasicEncoding::Raw), ("rfc6749", BasicEncoding::Rfc6749)];
/// What most tokens are (RFC 8693 section 3).
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
