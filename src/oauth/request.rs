//! The request of each grant (RFC 6749 section 4.4.2, RFC 7523 section 2.1, RFC 8693 section 2.1).

use http::HeaderValue;

use super::{
    Settings,
    assertion::Facts,
    client_auth::Proof,
    form::Form,
    grant::{BearerAssertion, Grant},
    jws::KeyError,
};
use crate::sensitive::Sensitive;

/// What a token request consists of beside its URL and its fixed headers.
#[derive(Debug, Default)]
pub struct TokenRequest {
    /// The body.
    pub form: Form,
    /// The value of the `Authorization` header, if the client authenticates with one; marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// The proof that goes into the `DPoP` header, if tokens are bound to a key.
    pub proof: Option<HeaderValue>,
    /// What was signed for it: nothing of that may be shown either.
    pub signed: Vec<Sensitive>,
}

impl TokenRequest {
    /// The request for these settings, with what was read for it.
    ///
    /// The order of the fields never changes: grant type, client authentication, the grant's own fields, `scope`,
    /// `audience`, `resource` (RFC 8707, one field each), further parameters as configured. What is not configured is
    /// not sent.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn build(settings: &Settings, proof: &Proof, grant: &Proof, facts: &Facts<'_>) -> Result<Self, KeyError> {
        let mut request = Self::default();
        request.form.append("grant_type", settings.grant.name());
        settings.auth.apply(&settings.client_id, proof, facts, &mut request)?;
        request.ask(settings, grant, facts)?;
        let optional = [("scope", &settings.scope), ("audience", &settings.audience)];
        for (name, value) in optional {
            if let Some(value) = value {
                request.form.append(name, value);
            }
        }
        for resource in &settings.resource {
            request.form.append("resource", resource);
        }
        for (name, value) in &settings.parameters {
            request.form.append(name, value);
        }
        Ok(request)
    }

    /// Adds a client assertion (RFC 7521 section 4.2).
    pub(super) fn assert(&mut self, client_id: Option<&str>, kind: &str, assertion: &Sensitive) {
        if let Some(id) = client_id {
            self.form.append("client_id", id);
        }
        self.form.append("client_assertion_type", kind);
        self.form.append("client_assertion", assertion.expose());
        self.signed.push(assertion.clone());
    }

    /// Adds what the grant is about.
    fn ask(&mut self, settings: &Settings, grant: &Proof, facts: &Facts<'_>) -> Result<(), KeyError> {
        match (&settings.grant, grant) {
            (Grant::JwtBearer(_), Proof::Assertion(assertion)) => self.form.append("assertion", assertion.expose()),
            (Grant::JwtBearer(bearer), Proof::Key(key)) => {
                if let BearerAssertion::Signed { terms, subject, claims, .. } = &**bearer {
                    let subject = subject.as_deref().unwrap_or(&settings.client_id);
                    let assertion = terms.sign(key, (&settings.client_id, subject), claims, facts)?;
                    self.form.append("assertion", assertion.expose());
                    self.signed.push(assertion);
                }
            }
            (Grant::TokenExchange(subject), Proof::Assertion(token)) => {
                self.form.append("subject_token", token.expose());
                self.form.append("subject_token_type", &subject.kind);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::oauth::{
        BasicEncoding,
        client_auth::SecretMethod,
        settings::tests::{settings, with_secret},
    };

    fn built(settings: &Settings) -> TokenRequest {
        let facts = Facts { token_url: "https://issuer.example/oauth2/token", now: SystemTime::UNIX_EPOCH };
        TokenRequest::build(settings, &Proof::Secret(Sensitive::new("hunter2")), &Proof::Nothing, &facts).unwrap()
    }

    #[test]
    fn the_least_request_has_three_fields() {
        let request = built(&settings());
        assert_eq!(request.form.as_str(), "grant_type=client_credentials&client_id=acme&client_secret=hunter2");
        assert_eq!(request.authorization, None);
    }

    #[test]
    fn all_fields_come_in_a_stable_order() {
        let full = Settings {
            scope: Some("payments reports".into()),
            audience: Some("https://api.example/".into()),
            resource: ["urn:a".into(), "urn:b".into()].into(),
            parameters: [("z".into(), "1".into()), ("a".into(), "2 3".into())].into(),
            ..settings()
        };
        let post = built(&full);
        assert_eq!(
            post.form.as_str(),
            "grant_type=client_credentials&client_id=acme&client_secret=hunter2&scope=payments+reports\
             &audience=https%3A%2F%2Fapi.example%2F&resource=urn%3Aa&resource=urn%3Ab&z=1&a=2+3"
        );
        let basic = Settings { auth: with_secret(SecretMethod::Basic(BasicEncoding::Raw)), ..full };
        let basic = built(&basic);
        assert_eq!(
            basic.form.as_str(),
            "grant_type=client_credentials&scope=payments+reports&audience=https%3A%2F%2Fapi.example%2F\
             &resource=urn%3Aa&resource=urn%3Ab&z=1&a=2+3"
        );
        assert_eq!(basic.authorization.as_ref().and_then(|value| value.to_str().ok()), Some("Basic YWNtZTpodW50ZXIy"));
    }

    #[test]
    fn row_ad_fs_resource_and_extra_parameters() {
        let settings = Settings {
            resource: ["https://api.example".into()].into(),
            parameters: [("token_format".into(), "jwt".into())].into(),
            ..settings()
        };
        let request = built(&settings);
        assert!(request.form.as_str().ends_with("&resource=https%3A%2F%2Fapi.example&token_format=jwt"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let auth = with_secret(SecretMethod::Basic(BasicEncoding::Raw));
        for settings in [settings(), Settings { auth, ..settings() }] {
            let shown = format!("{:?}", built(&settings));
            assert!(!shown.contains("hunter2") && !shown.contains("YWNt"), "{shown}");
        }
    }
}
