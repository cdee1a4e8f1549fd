//! Finds an issuer's token endpoint, and remembers it.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, header};
use reqwest::{Client, Request};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Endpoint, Place,
    discovery::{Found, Issuer},
    endpoint::misconfigured,
    redact::Redactor,
    unreachable,
};
use crate::token::{Failure, FailureKind};

impl Endpoint {
    /// Where to ask: as configured, as known from before, or as the issuer tells.
    pub(super) async fn find(&self, client: &Client) -> Result<Arc<Found>, Failure> {
        let issuer = match &self.settings.place {
            Place::TokenUrl(url) => return Ok(Arc::new(Found::at(url.clone()))),
            Place::Discovered(issuer) => issuer,
        };
        let now = self.clock.now().boot;
        let Some((known, until)) = self.http.found(&issuer.text) else {
            let found = Arc::new(self.discover(client, issuer).await?);
            self.http.remember(&issuer.text, Arc::clone(&found), now.plus(BELIEVED));
            return Ok(found);
        };
        if until.is_some_and(|until| now < until) {
            return Ok(known);
        }
        // What was true before is better than no token, so there must be time left to ask for one.
        let patience = self.settings.attempt_timeout / 3;
        let looked = tokio::time::timeout(patience, self.discover(client, issuer)).await;
        let (found, until) = match looked.ok().and_then(Result::ok) {
            Some(found) => (Arc::new(found), now.plus(BELIEVED)),
            None => (known, now.plus(NOT_AGAIN)),
        };
        self.http.remember(&issuer.text, Arc::clone(&found), until);
        Ok(found)
    }

    /// Asks the issuer where its endpoints are.
    async fn discover(&self, client: &Client, issuer: &Issuer) -> Result<Found, Failure> {
        let mut failed: Option<Failure> = None;
        for url in issuer.metadata_urls() {
            let place = format!("the issuer's description at {}{}", unreachable::host(&url), url.path());
            let failure = match self.description(client, &url).await {
                Ok(body) => match issuer.understand(&body) {
                    Ok(found) => return Ok(found),
                    Err(problem) => Failure::new(FailureKind::Malformed, format!("{place} {problem}")),
                },
                Err(failure) if failure.kind == FailureKind::Refused => Failure::new(
                    FailureKind::Malformed,
                    format!("{place} is not there ({}); check issuer, or set token_url", failure.text),
                ),
                Err(failure) => Failure { text: format!("{place}: {}", failure.text).into(), ..failure },
            };
            // One that may come back says more than one that is wrong, and that more than one that is not there.
            let rank = |failure: &Failure| match failure.kind {
                FailureKind::Busy => 3,
                FailureKind::Unreachable => 2,
                _ => u8::from(!failure.text.contains("is not there")),
            };
            if failed.as_ref().is_none_or(|failed| rank(&failure) > rank(failed)) {
                failed = Some(failure);
            }
        }
        Err(failed.unwrap_or_else(|| misconfigured(&"the issuer has no place for its description")))
    }

    /// What the issuer has at one of the places for its description.
    async fn description(&self, client: &Client, url: &Url) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut request = Request::new(Method::GET, url.clone());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let sent = self.clock.now().wall;
        let response = client.execute(request).await.map_err(|error| self.unreachable(error, url))?;
        let reply = self.receive(response, url).await?;
        if reply.status == 200 {
            return Ok(reply.body);
        }
        // An error is understood, and its Retry-After respected, as one of the token endpoint.
        match self.judge(&reply, url, sent, &Redactor::default()) {
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::new(FailureKind::Malformed, format!("HTTP {}", reply.status))),
        }
    }
}

/// How long what an issuer says of its endpoints is believed.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// How long after a failed look the next is made.
const NOT_AGAIN: Duration = Duration::from_secs(60);
