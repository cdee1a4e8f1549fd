//! Tells the issuer that a token is not needed any more (RFC 7009).

use super::{
    Endpoint,
    assertion::Facts,
    credentials::Credentials,
    endpoint::{http_request, misconfigured},
    request::TokenRequest,
    settings::Revocation,
    unreachable,
};
use crate::{
    sensitive::Sensitive,
    token::{Failure, FailureKind},
};

impl Endpoint {
    /// Revokes a token, where that is wanted, within the time limit of an attempt.
    pub(super) async fn give_up(&self, token: &Sensitive) -> Result<(), Failure> {
        let Some(revocation) = &self.settings.revocation else { return Ok(()) };
        let limit = self.settings.attempt_timeout;
        let outcome = tokio::time::timeout(limit, self.ask_to_revoke(revocation, token)).await;
        outcome.unwrap_or_else(|_| {
            let text = format!("the issuer did not answer within {}", unreachable::seconds(limit));
            Err(Failure::new(FailureKind::Unreachable, text))
        })
    }

    async fn ask_to_revoke(&self, revocation: &Revocation, token: &Sensitive) -> Result<(), Failure> {
        let now = self.clock.now().wall;
        let credentials = Credentials::read(&self.settings, now).await.1.map_err(|problem| misconfigured(&problem))?;
        let client = self.client(&credentials)?;
        let found = self.find(&client).await?;
        let url = match revocation {
            Revocation::At(url) => url,
            Revocation::Discovered => found.revocation.as_ref().ok_or_else(|| {
                misconfigured(&"the issuer names no revocation_endpoint; set revocation_url, or remove revoke_on_stop")
            })?,
        };
        let facts = Facts { token_url: found.token_url.as_str(), now: self.issuers_time(now) };
        let mut refused = None;
        for (_, proof) in &credentials.proofs {
            let mut request = TokenRequest::default();
            request.form.append("token", token.expose());
            request.form.append("token_type_hint", "access_token");
            self.settings
                .auth
                .apply(&self.settings.client_id, proof, &facts, &mut request)
                .map_err(|problem| misconfigured(&format!("the key {problem}")))?;
            let answer = client.execute(http_request(url, request)).await;
            let status = answer.map_err(|error| self.unreachable(error, url))?.status();
            if status.is_success() {
                return Ok(());
            }
            // Another secret may be the right one.
            refused = Some(status.as_u16());
        }
        let status = refused.unwrap_or_default();
        Err(Failure::new(FailureKind::Refused, format!("the issuer refused to revoke it: HTTP {status}")))
    }
}
