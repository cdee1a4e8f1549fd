//! Finds an issuer's token endpoint, and remembers it.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, header};
use reqwest::{Client, Request};

use super::{
    Endpoint, Place,
    discovery::{Found, Issuer},
    endpoint::misconfigured,
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
        let known = self.http.found(&issuer.text);
        if let Some((found, at)) = &known
            && at.is_some_and(|at| now.since(at) < BELIEVED)
        {
            return Ok(Arc::clone(found));
        }
        match (self.discover(client, issuer).await, known) {
            (Ok(found), _) => {
                let found = Arc::new(found);
                self.http.remember(&issuer.text, Arc::clone(&found), now);
                Ok(found)
            }
            // What was true before is better than no token.
            (Err(_), Some((found, _))) => Ok(found),
            (Err(failure), None) => Err(failure),
        }
    }

    /// Asks the issuer where its endpoints are.
    async fn discover(&self, client: &Client, issuer: &Issuer) -> Result<Found, Failure> {
        let mut failed = None;
        for url in issuer.metadata_urls() {
            let mut request = Request::new(Method::GET, url.clone());
            request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            let response = client.execute(request).await.map_err(|error| self.unreachable(error, &url))?;
            let reply = self.receive(response, &url).await?;
            let problem = match reply.status {
                200 => match issuer.understand(&reply.body) {
                    Ok(found) => return Ok(found),
                    Err(problem) => problem,
                },
                status @ (429 | 500..) => {
                    let text = format!("discovery at {}{}: HTTP {status}", unreachable::host(&url), url.path());
                    return Err(Failure::new(FailureKind::Busy, text).throttled(status == 429));
                }
                status => format!("is not there (HTTP {status}); check issuer, or set token_url"),
            };
            let text = format!("the issuer's description at {}{} {problem}", unreachable::host(&url), url.path());
            // An answer that is wrong says more than the absence of another.
            if reply.status == 200 || failed.is_none() {
                failed = Some(Failure::new(FailureKind::Malformed, text));
            }
        }
        Err(failed.unwrap_or_else(|| misconfigured(&"the issuer has no place for its description")))
    }
}

/// How long what an issuer says of its endpoints is believed.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
