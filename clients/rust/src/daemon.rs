//! The daemon as this library sees it: what can be asked of it, whatever carries the question.

use std::time::Duration;

use crate::{Error, pb::v1};

/// Where tokens come from.
#[tonic::async_trait]
pub(crate) trait Daemon: Send + Sync + 'static {
    /// Follows a client.
    async fn watch(&self, client: &str) -> Result<Box<dyn States>, Error>;

    /// Asks for a token, and says how long the answer is waited for.
    async fn get_token(&self, request: v1::GetTokenRequest, patience: Duration) -> Result<v1::GetTokenResponse, Error>;

    /// Asks for a proof, and says how long the answer is waited for.
    async fn sign_proof(
        &self,
        request: v1::SignProofRequest,
        patience: Duration,
    ) -> Result<v1::SignProofResponse, Error>;

    /// What to say when it does not answer.
    fn silent(&self) -> Error;

    /// Nothing more will be asked.
    async fn close(&self);
}

/// The states of a client, one after another.
#[tonic::async_trait]
pub(crate) trait States: Send {
    /// The next one; the error that the stream ended with if there is none.
    async fn next(&mut self) -> Result<v1::watch_token_response::State, Error>;
}
