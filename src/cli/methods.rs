//! `check --online --try-methods`: which other way to prove the client's identity the issuer takes.

use std::sync::Arc;

use crate::{
    clock::SystemClock,
    oauth::{
        BasicEncoding, ClientAuth, Endpoint, Settings,
        assertion::{Audience, Terms},
        client_auth::SecretMethod,
        transport::HttpClient,
    },
    token::TokenSource as _,
};

/// Tries each of the other ways once, in turn, until one is taken. A sentence about the outcome; `None` when there is no
/// other way with what the client has.
pub(super) async fn taken(settings: &Settings, http: &HttpClient) -> Option<String> {
    let others = others(&settings.auth);
    if others.is_empty() {
        return None;
    }
    for (keys, auth) in others {
        let settings = Arc::new(Settings { auth, ..settings.clone() });
        if Endpoint::new(settings, http.clone(), Arc::new(SystemClock)).fetch().await.is_ok() {
            return Some(format!("it takes {keys}"));
        }
    }
    Some("it takes none of the other ways to use what the client has; check that itself".to_owned())
}

/// What else could be done with the secret or the key, each with what to write for it.
fn others(auth: &ClientAuth) -> Vec<(&'static str, ClientAuth)> {
    match auth {
        ClientAuth::Secret { method, sources } => {
            let ways = [
                ("auth_method = \"client_secret_post\"", SecretMethod::Post),
                ("auth_method = \"client_secret_basic\"", SecretMethod::Basic(BasicEncoding::Rfc6749)),
                (
                    "auth_method = \"client_secret_basic\" with basic_encoding = \"raw\"",
                    SecretMethod::Basic(BasicEncoding::Raw),
                ),
            ];
            let other = |way: &SecretMethod| way != method;
            let with = |method| ClientAuth::Secret { method, sources: sources.clone() };
            ways.into_iter().filter(|(_, way)| other(way)).map(|(keys, way)| (keys, with(way))).collect()
        }
        ClientAuth::PrivateKeyJwt { key, terms } => {
            let old = |typ: &str, audience| Terms { typ: typ.into(), audience, ..(**terms).clone() };
            let ways = [
                ("assertion_typ = \"JWT\"", old("JWT", terms.audience.clone())),
                ("assertion_audience = \"token_endpoint\"", old(&terms.typ, Audience::TokenEndpoint)),
                (
                    "assertion_audience = \"token_endpoint\" with assertion_typ = \"JWT\"",
                    old("JWT", Audience::TokenEndpoint),
                ),
            ];
            let with = |terms| ClientAuth::PrivateKeyJwt { key: key.clone(), terms: Box::new(terms) };
            ways.into_iter().filter(|(_, way)| *way != **terms).map(|(keys, way)| (keys, with(way))).collect()
        }
        ClientAuth::AssertionFile { .. } | ClientAuth::Id | ClientAuth::Nothing => Vec::new(),
    }
}
