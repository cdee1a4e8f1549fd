//! What one client needs to know about its token endpoint.

use std::{fmt, time::Duration};

use ring::digest::{Context, SHA256};
use url::Url;

use super::{ClientAuth, Grant, Place, Transport, grant::BearerAssertion};
use crate::secret::SecretSource;

/// Settings of one token endpoint client. Two that are equal make the same requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The token endpoint, or who tells where it is.
    pub place: Place,
    /// What a token is asked for with.
    pub grant: Grant,
    /// The OAuth `client_id`.
    pub client_id: Box<str>,
    /// How the client authenticates, and where what it takes is read from at each attempt.
    pub auth: ClientAuth,
    /// Tokens are to be bound to a key of the daemon's (RFC 9449).
    pub dpop: bool,
    /// Where the last token is revoked when the daemon stops (RFC 7009); `None`: it is not.
    pub revocation: Option<Revocation>,
    /// The certificate that the connection is made with (RFC 8705).
    pub identity: Option<Box<Identity>>,
    /// `scope`, space separated; `None`: the parameter is not sent.
    pub scope: Option<Box<str>>,
    /// `audience`, as Auth0 and others want it.
    pub audience: Option<Box<str>>,
    /// `resource` (RFC 8707), one parameter for each.
    pub resource: Box<[Box<str>]>,
    /// Further form fields, in the order they are sent.
    pub parameters: Box<[(Box<str>, Box<str>)]>,
    /// The authentication scheme to use, whatever `token_type` the issuer answers.
    pub token_type: Option<Box<str>>,
    /// The unit of `expires_in`.
    pub expires_in_unit: LifetimeUnit,
    /// A field that tells the end of life as a point in time, for issuers without `expires_in`.
    pub expires_at_field: Option<Box<str>>,
    /// How the connection is made.
    pub transport: Transport,
    /// Limit of one whole attempt: reading the secret, connecting, sending, reading the answer.
    pub attempt_timeout: Duration,
}

impl Settings {
    /// Whether tokens requested with the other settings are as good as those requested with these: the same endpoint
    /// is asked for the same thing, though perhaps with another secret, another proof of it or over another way.
    #[must_use]
    pub fn same_tokens(&self, other: &Self) -> bool {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let Self {
            place,
            grant,
            client_id,
            dpop,
            scope,
            audience,
            resource,
            parameters,
            token_type,
            expires_in_unit,
            expires_at_field,
            auth: _,
            identity: _,
            revocation: _,
            transport: _,
            attempt_timeout: _,
        } = self;
        (place, grant, client_id) == (&other.place, &other.grant, &other.client_id)
            && (dpop, scope, audience) == (&other.dpop, &other.scope, &other.audience)
            && (resource, parameters, token_type) == (&other.resource, &other.parameters, &other.token_type)
            && (expires_in_unit, expires_at_field) == (&other.expires_in_unit, &other.expires_at_field)
    }

    /// Stands for what [`Settings::same_tokens`] compares, in other processes and in later versions of this program too.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        let Self { place, grant, client_id, dpop, scope, audience, resource, parameters, token_type, .. } = self;
        let Self { expires_in_unit, expires_at_field, .. } = self;
        let mut hash = Context::new(&SHA256);
        let mut put = |text: &str| {
            hash.update(&u64::try_from(text.len()).unwrap_or_default().to_le_bytes());
            hash.update(text.as_bytes());
        };
        match place {
            Place::Discovered(issuer) => ["issuer", &issuer.text].map(&mut put),
            Place::TokenUrl(url) => ["token_url", url.as_str()].map(&mut put),
        };
        match grant {
            Grant::ClientCredentials => put(grant.name()),
            // How that is written may change with a version; then such a token is asked for again, which is all.
            Grant::JwtBearer(_) | Grant::TokenExchange(_) => put(&format!("{grant:?}")),
        }
        put(client_id);
        put(if *dpop { "bound" } else { "bearer" });
        put(match expires_in_unit {
            LifetimeUnit::Seconds => "s",
            LifetimeUnit::Milliseconds => "ms",
        });
        for optional in [scope, audience, token_type, expires_at_field] {
            put(if optional.is_some() { "some" } else { "none" });
            put(optional.as_deref().unwrap_or_default());
        }
        put(&resource.len().to_string());
        resource.iter().for_each(|resource| put(resource));
        parameters.iter().for_each(|(name, value)| [name, value].into_iter().for_each(|text| put(text)));
        let mut short = [0; 16];
        short.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        short
    }
}

impl Settings {
    /// What proves who the client is, as the configuration calls it, for messages.
    #[must_use]
    pub fn proof(&self) -> &'static str {
        match &self.auth {
            ClientAuth::AssertionFile { .. } => "client_assertion_file",
            ClientAuth::PrivateKeyJwt { .. } => "private_key",
            ClientAuth::Secret { .. } => "client_secret",
            ClientAuth::Id if self.identity.is_some() => "tls.certificate_file",
            ClientAuth::Id => "how it is registered",
            ClientAuth::Nothing => match &self.grant {
                Grant::ClientCredentials => "how it is registered",
                Grant::JwtBearer(_) | Grant::TokenExchange(_) => self.grant_proof(),
            },
        }
    }

    /// What the grant rests on, the same way.
    #[must_use]
    pub fn grant_proof(&self) -> &'static str {
        match &self.grant {
            Grant::TokenExchange(_) => "subject_token_file",
            Grant::JwtBearer(assertion) => match **assertion {
                BearerAssertion::File(_) => "assertion_file",
                BearerAssertion::Signed { .. } => "private_key",
            },
            Grant::ClientCredentials => self.proof(),
        }
    }
}

impl fmt::Debug for Settings {
    /// Says which endpoint it is. Parameters and proxies may hold what nobody should read in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.place.url().host_str())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Where tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Where the issuer says.
    Discovered,
    /// Here.
    At(Box<Url>),
}

/// A client certificate with its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that it takes to get to an authority.
    pub certificate: SecretSource,
    /// Its private key.
    pub key: SecretSource,
}

/// The unit of `expires_in`. RFC 6749 says seconds; some issuers send milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LifetimeUnit {
    /// As RFC 6749 section 5.1 says.
    #[default]
    Seconds,
    /// As some issuers do.
    Milliseconds,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::oauth::{client_auth::SecretMethod, discovery::Issuer, grant::SubjectToken};

    /// Authentication with one secret.
    pub(in crate::oauth) fn with_secret(method: SecretMethod) -> ClientAuth {
        ClientAuth::Secret { method, sources: [SecretSource::Env("UNUSED".into())].into() }
    }

    /// The least settings: client `acme`, secret in the form.
    pub(in crate::oauth) fn settings() -> Settings {
        Settings {
            place: Place::TokenUrl(Url::parse("https://issuer.example/oauth2/token").unwrap()),
            grant: Grant::ClientCredentials,
            client_id: "acme".into(),
            auth: with_secret(SecretMethod::Post),
            dpop: false,
            revocation: None,
            identity: None,
            scope: None,
            audience: None,
            resource: Box::default(),
            parameters: Box::default(),
            token_type: None,
            expires_in_unit: LifetimeUnit::Seconds,
            expires_at_field: None,
            transport: Transport::default(),
            attempt_timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn fingerprints_are_the_same_in_every_version() {
        let hex = |settings: &Settings| settings.fingerprint().map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(&settings()), "2692cac6ab0aa4111a692bc62bdb5120", "or every upgrade asks for all tokens again");
    }

    #[test]
    fn a_fingerprint_tells_what_is_asked_for_and_nothing_else() {
        let base = settings();
        let same = Settings { auth: ClientAuth::Id, attempt_timeout: Duration::from_secs(1), ..base.clone() };
        assert!(base.same_tokens(&same));
        assert_eq!(base.fingerprint(), same.fingerprint());
        let text = |text: &str| Some(Box::from(text));
        let issuer =
            Issuer { text: "https://issuer.example/".into(), url: Url::parse("https://issuer.example/").unwrap() };
        let subject = SubjectToken { file: SecretSource::Env("UNUSED".into()), kind: "urn:x".into() };
        let others = [
            Settings { place: Place::Discovered(issuer), ..base.clone() },
            Settings { grant: Grant::TokenExchange(Box::new(subject)), ..base.clone() },
            Settings { client_id: "acme2".into(), ..base.clone() },
            Settings { dpop: true, ..base.clone() },
            Settings { scope: text("a"), ..base.clone() },
            Settings { scope: text(""), ..base.clone() },
            Settings { audience: text("a"), ..base.clone() },
            Settings { token_type: text("a"), ..base.clone() },
            Settings { expires_at_field: text("a"), ..base.clone() },
            Settings { expires_in_unit: LifetimeUnit::Milliseconds, ..base.clone() },
            Settings { resource: ["a".into(), "b".into()].into(), ..base.clone() },
            Settings { resource: ["a".into()].into(), ..base.clone() },
            Settings { parameters: [("a".into(), "b".into())].into(), ..base.clone() },
        ];
        let mut seen = std::collections::HashSet::from([base.fingerprint()]);
        for other in others {
            assert!(!base.same_tokens(&other));
            assert!(seen.insert(other.fingerprint()), "{other:?}");
        }
    }
}
