//! `TokenBroker`: GetToken, WatchToken, ListClients.

use std::{pin::pin, time::Duration};

use http::Method;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use url::Url;

use super::{
    convert,
    reply::Refusal,
    session::{Session, deadline},
    watch::TokenStream,
};
use crate::{
    pb::v1::{self, token_broker_server::TokenBroker},
    refresh::{Authorized, Given},
    token::{Ask, ProvenCall, Refused},
};

#[tonic::async_trait]
impl TokenBroker for Session {
    async fn get_token(&self, request: Request<v1::GetTokenRequest>) -> Result<Response<v1::GetTokenResponse>, Status> {
        let deadline = || deadline(request.metadata().as_ref(), PATIENCE);
        let (client, given) = self.token(request.get_ref(), deadline).await?;
        let entry = client.entry();
        let token = convert::token(&entry.name, &given.token, &entry.request_headers, self.shared.clock.now());
        let rejection = convert::rejection(given.rejection).into();
        Ok(Response::new(v1::GetTokenResponse { token: Some(token), rejection }))
    }

    async fn sign_proof(
        &self,
        request: Request<v1::SignProofRequest>,
    ) -> Result<Response<v1::SignProofResponse>, Status> {
        let deadline = || deadline(request.metadata().as_ref(), PATIENCE);
        let (client, given, proof) = self.proven(request.get_ref(), deadline).await?;
        let proof = proof.ok_or_else(|| Status::internal(NO_RANDOM_NUMBERS))?;
        let entry = client.entry();
        let token = convert::token(&entry.name, &given.token, &entry.request_headers, self.shared.clock.now());
        Ok(Response::new(v1::SignProofResponse { token: Some(token), proof }))
    }

    type WatchTokenStream = TokenStream;

    async fn watch_token(
        &self,
        request: Request<v1::WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        let client = request.into_inner().client;
        let stream = super::watch::follow(self, &client)?;
        Ok(Response::new(stream))
    }

    async fn list_clients(
        &self,
        _: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        Ok(Response::new(v1::ListClientsResponse { clients: self.statuses().await }))
    }
}

impl Session {
    /// How the clients are doing that the caller may use; all of them for an administrator. Sorted by name.
    pub(super) async fn statuses(&self) -> Vec<v1::ClientStatus> {
        let all = self.is_administrator();
        let now = self.shared.clock.now();
        let entries = self.shared.registry.entries();
        let mut clients = Vec::new();
        for (number, entry) in entries.values().enumerate() {
            if number > 0 && number % AT_A_TIME == 0 {
                // Others are served meanwhile.
                tokio::task::yield_now().await;
            }
            if all || entry.policy.allows(&self.caller) {
                clients.push(convert::status(&entry.status(), now));
            }
        }
        clients.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        clients
    }

    /// What SignProof answers: whose token, the token, and the proof, for which the system may have no random numbers.
    ///
    /// # Errors
    /// Why there is no proof for this caller.
    pub(super) async fn proven(
        &self,
        request: &v1::SignProofRequest,
        deadline: impl FnOnce() -> Instant + Send,
    ) -> Result<(Authorized, Given, Option<String>), Refusal> {
        let v1::SignProofRequest { client, method, url, nonce } = request;
        let url = provable(method, url)?;
        let call = ProvenCall { method, url: &url, nonce: Some(nonce.as_str()).filter(|nonce| !nonce.is_empty()) };
        let wanted = v1::GetTokenRequest { client: client.clone(), ..v1::GetTokenRequest::default() };
        let (client, given) = self.token(&wanted, deadline).await?;
        let Some(binding) = &given.token.binding else {
            return Err(Refusal::NotBound { client: client.entry().name.as_str().into() });
        };
        let proof = binding.prove(&call, &given.token.value);
        Ok((client, given, proof))
    }

    /// What GetToken answers. How long the caller waits is asked for only if it has to.
    ///
    /// # Errors
    /// Why there is no token for this caller.
    pub(super) async fn token(
        &self,
        request: &v1::GetTokenRequest,
        deadline: impl FnOnce() -> Instant + Send,
    ) -> Result<(Authorized, Given), Refusal> {
        let ask = ask(request)?;
        let client = self.grant(&request.client)?;
        if let Some(given) = client.handle().at_once(ask) {
            return Ok((client, given));
        }
        drop(client);
        self.token_later(request, ask, deadline()).await
    }

    /// What comes of waiting, unless the daemon goes or a reload takes the client from this caller.
    async fn outcome(
        &self,
        client: &Authorized,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Result<Given, Refused>, Refusal> {
        let (mut phase, mut revisions) = (self.shared.phase.clone(), self.shared.registry.revisions());
        revisions.mark_unchanged();
        let mut waiting = pin!(client.handle().token(ask, deadline));
        loop {
            tokio::select! {
                biased;
                outcome = &mut waiting => return Ok(outcome),
                () = super::drained(&mut phase) => return Err(Refusal::Draining),
                Ok(()) = revisions.changed() => drop(self.grant(client.entry().name.as_str())?),
            }
        }
    }

    async fn token_later(
        &self,
        request: &v1::GetTokenRequest,
        ask: Ask,
        deadline: Instant,
    ) -> Result<(Authorized, Given), Refusal> {
        let mut anew = 0;
        loop {
            let client = self.grant(&request.client)?;
            let outcome = self.outcome(&client, ask, deadline).await?;
            match outcome {
                // While it waited, a reload may have taken the client from this caller: it is asked again.
                Ok(_) if anew < SUCCESSORS && !self.shared.registry.is_current(&client) => anew += 1,
                Ok(given) => return Ok((client, given)),
                // The client was replaced by a reload while the caller waited: its successor answers.
                Err(Refused::Gone) if anew < SUCCESSORS => anew += 1,
                Err(refused) => {
                    let now = self.shared.clock.now();
                    return Err(Refusal::NoToken { client: request.client.as_str().into(), refused, now });
                }
            }
        }
    }
}

fn ask(request: &v1::GetTokenRequest) -> Result<Ask, Refusal> {
    let min_validity = request
        .min_validity
        .map(|span| {
            Duration::try_from(span).map_err(|_| {
                Refusal::Invalid(
                    "`min_validity` is negative or no duration; leave it out or set it to 0s or more".into(),
                )
            })
        })
        .transpose()?;
    let rejected = Some(&request.rejected_token_id)
        .filter(|id| !id.is_empty())
        .map(|id| id.parse().map_err(|error| Refusal::Invalid(format!("`rejected_token_id`: {error}").into())))
        .transpose()?;
    Ok(Ask { min_validity, rejected })
}

/// The URL of a call as a proof has it (RFC 9449 section 4.2): without query and fragment.
fn provable(method: &str, url: &str) -> Result<String, Refusal> {
    if Method::from_bytes(method.as_bytes()).is_err() {
        return Err(Refusal::Invalid("`method` is not an HTTP method; write one like GET".into()));
    }
    let mut url = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Refusal::Invalid("`url` is not an http or https URL; write the whole of it".into()))?;
    url.set_query(None);
    url.set_fragment(None);
    Ok(url.into())
}

/// Why there is no proof though there should be one.
pub(super) const NO_RANDOM_NUMBERS: &str = "the system gives no random numbers for a proof";
/// How long a caller without a deadline waits for a first token.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Clients whose status is told without a pause.
const AT_A_TIME: usize = 256;
/// How many replacements of a client a waiting call follows.
const SUCCESSORS: u32 = 8;
