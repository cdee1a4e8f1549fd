//! Where an issuer's endpoints are, as it says itself (RFC 8414, OpenID Connect Discovery 1.0).

use serde::Deserialize;
use url::Url;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The issuer with this identifier tells it.
    Discovered(Issuer),
    /// The token endpoint is known.
    TokenUrl(Url),
}

/// An issuer's identifier: what it calls itself, compared as text, and the same as a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// As it was written.
    pub text: Box<str>,
    /// As a URL.
    pub url: Url,
}

impl Place {
    /// A URL with the host that is asked.
    #[must_use]
    pub fn url(&self) -> &Url {
        match self {
            Self::Discovered(issuer) => &issuer.url,
            Self::TokenUrl(url) => url,
        }
    }
}

impl Issuer {
    /// Where the issuer's metadata is, the more specific place first: RFC 8414 section 3 puts the well-known part before
    /// the path, OpenID Connect after it, and some servers do for the one what is right for the other.
    #[must_use]
    pub(super) fn metadata_urls(&self) -> Vec<Url> {
        let path = self.url.path().trim_end_matches('/');
        let places = [
            format!("/.well-known/oauth-authorization-server{path}"),
            format!("{path}/.well-known/openid-configuration"),
        ];
        let at = |place: String| {
            let mut url = self.url.clone();
            url.set_path(&place);
            url
        };
        places.into_iter().map(at).collect()
    }

    /// Reads the issuer's metadata.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about it.
    pub(super) fn understand(&self, body: &[u8]) -> Result<Found, String> {
        let metadata: Metadata =
            serde_json::from_slice(body).map_err(|_| "is not the JSON object that RFC 8414 describes".to_owned())?;
        // RFC 8414 section 3.3: otherwise somebody else could answer for it.
        if metadata.issuer != *self.text {
            return Err(
                "names another issuer; write issuer exactly as the server calls itself, slash included".to_owned()
            );
        }
        let url = |text: &str| {
            // What is not encrypted goes no further than the issuer that the configuration allows it to.
            let same = |url: &Url| url.scheme() == self.url.scheme() && url.host() == self.url.host();
            Url::parse(text).ok().filter(|url| url.has_host() && (url.scheme() == "https" || same(url)))
        };
        let token_url = metadata.token_endpoint.as_deref().and_then(url);
        let token_url = token_url.ok_or("names no usable token_endpoint; set token_url")?;
        let alias = metadata.mtls_endpoint_aliases.and_then(|aliases| aliases.token_endpoint).as_deref().and_then(url);
        let revocation = metadata.revocation_endpoint.as_deref().and_then(url);
        Ok(Found { token_url, alias, revocation, methods: metadata.token_endpoint_auth_methods_supported })
    }
}

/// What an issuer told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) token_url: Url,
    /// Where to go with a certificate (RFC 8705 section 5).
    pub(super) alias: Option<Url>,
    /// Where tokens are revoked (RFC 7009).
    pub(super) revocation: Option<Url>,
    /// How clients may authenticate.
    pub(super) methods: Option<Vec<String>>,
}

impl Found {
    /// A token endpoint of which nothing else is known.
    pub(super) fn at(token_url: Url) -> Self {
        Self { token_url, alias: None, revocation: None, methods: None }
    }

    /// The ways to authenticate that the issuer says it takes, of those that have a standard.
    pub(super) fn methods_in_words(&self) -> Option<String> {
        let told = self.methods.as_ref()?;
        let known: Vec<_> = METHODS.into_iter().filter(|known| told.iter().any(|told| told == known)).collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

/// What the registry of OAuth has (RFC 7591, RFC 8705).
const METHODS: [&str; 7] = [
    "client_secret_basic",
    "client_secret_jwt",
    "client_secret_post",
    "none",
    "private_key_jwt",
    "self_signed_tls_client_auth",
    "tls_client_auth",
];

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    mtls_endpoint_aliases: Option<Aliases>,
    revocation_endpoint: Option<String>,
}

#[derive(Deserialize)]
struct Aliases {
    token_endpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issuer(text: &str) -> Issuer {
        Issuer { text: text.into(), url: Url::parse(text).unwrap() }
    }

    #[test]
    fn metadata_is_looked_for_where_both_standards_put_it() {
        let places = |text: &str| issuer(text).metadata_urls().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            places("https://issuer.example/"),
            [
                "https://issuer.example/.well-known/oauth-authorization-server",
                "https://issuer.example/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            places("https://issuer.example/realms/a"),
            [
                "https://issuer.example/.well-known/oauth-authorization-server/realms/a",
                "https://issuer.example/realms/a/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn only_the_issuer_itself_is_believed() {
        let issuer = issuer("https://issuer.example");
        let understand = |body: &str| issuer.understand(body.as_bytes());
        let found = understand(
            r#"{"issuer":"https://issuer.example","token_endpoint":"https://b.example/token",
            "token_endpoint_auth_methods_supported":["private_key_jwt"],
            "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example/token"}}"#,
        )
        .unwrap();
        assert_eq!(found.token_url.as_str(), "https://b.example/token");
        assert_eq!(found.alias.unwrap().as_str(), "https://mtls.example/token");
        for (body, problem) in [
            (r#"{"issuer":"https://issuer.example/","token_endpoint":"https://b.example/"}"#, "another issuer"),
            (r#"{"issuer":"https://issuer.example"}"#, "token_endpoint"),
            (r#"{"issuer":"https://issuer.example","token_endpoint":"http://issuer.example/"}"#, "token_endpoint"),
            ("[]", "RFC 8414"),
            ("<html>", "RFC 8414"),
        ] {
            let said = understand(body).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
    #[test]
    fn an_issuer_that_is_not_encrypted_leads_nowhere_else_unencrypted() {
        let local = issuer("http://127.0.0.1:8080");
        let leads_to = |token_url: &str| {
            let body = format!(r#"{{"issuer":"http://127.0.0.1:8080","token_endpoint":"{token_url}"}}"#);
            local.understand(body.as_bytes()).is_ok()
        };
        assert!(leads_to("http://127.0.0.1:9090/token") && leads_to("https://b.example/token"));
        assert!(!leads_to("http://b.example/token") && !leads_to("ftp://127.0.0.1/token"));
    }

    proptest! {
        #[test]
        fn nothing_that_an_issuer_says_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(issuer("https://issuer.example").understand(&body).is_err());
        }
    }
}
