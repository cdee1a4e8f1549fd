//! The request of the client credentials grant (RFC 6749 section 4.4.2).

use http::HeaderValue;

use super::{Settings, client_auth::Credentials, form::Form};
use crate::sensitive::Sensitive;

/// What a token request consists of beside its URL and its fixed headers.
#[derive(Debug, Default)]
pub struct TokenRequest {
    /// The body.
    pub form: Form,
    /// The value of the `Authorization` header, if the client authenticates with one; marked as sensitive.
    pub authorization: Option<HeaderValue>,
}

impl TokenRequest {
    /// The request for these settings with the secret that is valid now.
    ///
    /// The order of the fields never changes: grant type, client authentication, `scope`, `audience`, `resource`
    /// (RFC 8707, one field each), further parameters as configured. What is not configured is not sent.
    #[must_use]
    pub fn build(settings: &Settings, secret: &Sensitive) -> Self {
        let mut request = Self::default();
        request.form.append("grant_type", "client_credentials");
        settings.auth.apply(&Credentials { id: &settings.client_id, secret }, &mut request);
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
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{BasicEncoding, ClientAuth, settings::tests::settings};

    #[test]
    fn the_least_request_has_three_fields() {
        let request = TokenRequest::build(&settings(), &Sensitive::new("hunter2"));
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
        let post = TokenRequest::build(&full, &Sensitive::new("hunter2"));
        assert_eq!(
            post.form.as_str(),
            "grant_type=client_credentials&client_id=acme&client_secret=hunter2&scope=payments+reports\
             &audience=https%3A%2F%2Fapi.example%2F&resource=urn%3Aa&resource=urn%3Ab&z=1&a=2+3"
        );
        let basic = Settings { auth: ClientAuth::SecretBasic { encoding: BasicEncoding::Raw }, ..full };
        let basic = TokenRequest::build(&basic, &Sensitive::new("hunter2"));
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
        let request = TokenRequest::build(&settings, &Sensitive::new("hunter2"));
        assert!(request.form.as_str().ends_with("&resource=https%3A%2F%2Fapi.example&token_format=jwt"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let auth = ClientAuth::SecretBasic { encoding: BasicEncoding::Raw };
        for settings in [settings(), Settings { auth, ..settings() }] {
            let shown = format!("{:?}", TokenRequest::build(&settings, &Sensitive::new("hunter2")));
            assert!(!shown.contains("hunter2") && !shown.contains("YWNt"), "{shown}");
        }
    }
}
