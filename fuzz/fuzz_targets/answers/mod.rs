//! One answer of a token endpoint, for both targets that read them.

use std::time::{Duration, SystemTime};

use bearerd::{
    oauth::{
        ClientAuth, Grant, LifetimeUnit, Place, Settings, Transport,
        client_auth::SecretMethod,
        redact::Redactor,
        response::{Answer, Expectations, parse as read},
    },
    secret::SecretSource,
    sensitive::Sensitive,
    token::{Failure, Issued},
};
use url::Url;

pub const SECRET: &str = "correct-horse-battery-staple";

pub fn parse(status: u16, body: &[u8]) -> Result<Issued, Failure> {
    let settings = Settings {
        place: Place::TokenUrl(Url::parse("https://issuer.example/token").unwrap()),
        grant: Grant::ClientCredentials,
        client_id: "acme".into(),
        auth: ClientAuth::Secret { method: SecretMethod::Post, sources: [SecretSource::Env("UNUSED".into())].into() },
        dpop: false,
        revocation: None,
        identity: None,
        scope: Some("payments".into()),
        audience: None,
        resource: Box::default(),
        parameters: Box::default(),
        token_type: None,
        expires_in_unit: LifetimeUnit::Seconds,
        expires_at_field: Some("expires_on".into()),
        transport: Transport::default(),
        attempt_timeout: Duration::from_secs(10),
    };
    let redactor = Redactor::new("acme", &[&Sensitive::new(SECRET)]);
    let answer = Answer {
        status,
        content_type: None,
        content_encoding: None,
        date: None,
        retry_after: None,
        location: None,
        body,
        sent: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        received: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_001),
    };
    read(&answer, &Expectations::new(&settings, settings.place.url(), &redactor))
}
