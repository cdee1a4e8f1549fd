//! `TokenBroker`: GetToken, WatchToken, ListClients.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{
    convert,
    reply::Refusal,
    session::{Session, deadline},
    watch::TokenStream,
};
use crate::{
    pb::v1::{self, token_broker_server::TokenBroker},
    token::{Ask, Refused},
};

#[tonic::async_trait]
impl TokenBroker for Session {
    async fn get_token(&self, request: Request<v1::GetTokenRequest>) -> Result<Response<v1::GetTokenResponse>, Status> {
        let deadline = deadline(&request, PATIENCE);
        let request = request.into_inner();
        let ask = ask(&request)?;
        let mut phase = self.shared.phase.clone();
        let mut anew = 0;
        loop {
            let client = self.grant(&request.client)?;
            let asked = client.handle().token(ask, deadline);
            let outcome = tokio::select! {
                biased;
                outcome = asked => outcome,
                () = super::drained(&mut phase) => return Err(Refusal::Draining.into()),
            };
            match outcome {
                // While it waited, a reload may have taken the client from this caller: it is asked again.
                Ok(given) if given.waited && anew < SUCCESSORS && !self.shared.registry.is_current(&client) => {
                    anew += 1;
                }
                Ok(given) => {
                    let entry = client.entry();
                    let now = self.shared.clock.now();
                    let token = convert::token(&entry.name, &given.token, &entry.request_headers, now);
                    let rejection = convert::rejection(given.rejection).into();
                    return Ok(Response::new(v1::GetTokenResponse { token: Some(token), rejection }));
                }
                // The client was replaced by a reload while the caller waited: its successor answers.
                Err(Refused::Gone) if anew < SUCCESSORS => anew += 1,
                Err(refused) => {
                    let now = self.shared.clock.now();
                    return Err(Refusal::NoToken { client: request.client.into(), refused, now }.into());
                }
            }
        }
    }

    type WatchTokenStream = TokenStream;

    async fn watch_token(
        &self,
        request: Request<v1::WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        let client = request.into_inner().client;
        let turn = self.turn()?;
        let stream = super::watch::follow(self, &client, turn)?;
        Ok(Response::new(stream))
    }

    async fn list_clients(
        &self,
        _: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        let all = self.is_administrator();
        let now = self.shared.clock.now();
        let entries = self.shared.registry.entries();
        let mut clients: Vec<_> = entries
            .values()
            .filter(|entry| all || entry.policy.allows(&self.caller))
            .map(|entry| convert::status(&entry.status(), now))
            .collect();
        clients.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(Response::new(v1::ListClientsResponse { clients }))
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

/// How long a caller without a deadline waits for a first token.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many replacements of a client a waiting call follows.
const SUCCESSORS: u32 = 8;
