//! `Admin`: RefreshClient, Reload, GetInfo.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::{
    convert,
    reply::Refusal,
    session::{Session, deadline},
};
use crate::{
    moment::BootTime,
    pb::v1::{self, admin_server::Admin},
    refresh::registry::Orders,
};

/// What was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// When the daemon started.
    pub started: BootTime,
    /// The configuration files in the order they were read.
    pub files: Vec<PathBuf>,
    /// When they were read last.
    pub at: SystemTime,
}

/// What came of an order to reload.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// All that is wrong with the configuration; empty when it was applied.
    pub problems: Vec<Wrong>,
    /// Clients that were added, sorted.
    pub added: Vec<String>,
    /// Clients whose settings changed, sorted.
    pub changed: Vec<String>,
    /// Clients that were removed, sorted.
    pub removed: Vec<String>,
    /// How many clients stayed as they were.
    pub unchanged: usize,
    /// Changes that need a restart.
    pub notes: Vec<String>,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file, or "environment".
    pub file: String,
    /// Dotted path of the key.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

#[tonic::async_trait]
impl Admin for Session {
    async fn refresh_client(
        &self,
        request: Request<v1::RefreshClientRequest>,
    ) -> Result<Response<v1::RefreshClientResponse>, Status> {
        self.administer("`Admin.RefreshClient`")?;
        let deadline = deadline(request.metadata().as_ref(), REFRESH_PATIENCE);
        let name = request.into_inner().client;
        let mut phase = self.shared.phase.clone();
        let client = self.grant_any(&name)?;
        let outcome = tokio::select! {
            biased;
            outcome = client.refresh(deadline) => outcome,
            () = super::drained(&mut phase) => return Err(Refusal::Draining.into()),
        };
        let now = self.shared.clock.now();
        let renewed = outcome.map_err(|refused| Refusal::NoToken { client: name.as_str().into(), refused, now })?;
        let entries = self.shared.registry.entries();
        let status = entries.get(name.as_str()).map(|entry| convert::status(&entry.status(), now));
        Ok(Response::new(v1::RefreshClientResponse { renewed, status }))
    }

    async fn reload(&self, _: Request<v1::ReloadRequest>) -> Result<Response<v1::ReloadResponse>, Status> {
        self.administer("`Admin.Reload`")?;
        let (answer, outcome) = oneshot::channel();
        self.shared.reloads.send(answer).await.map_err(|_| Refusal::Draining)?;
        // The answer is dropped unsent when the daemon drains.
        let reloaded = outcome.await.map_err(|_| Refusal::Draining)?;
        Ok(Response::new(v1::ReloadResponse {
            applied: reloaded.problems.is_empty(),
            problems: reloaded.problems.into_iter().map(problem).collect(),
            added: reloaded.added,
            changed: reloaded.changed,
            removed: reloaded.removed,
            unchanged: u32::try_from(reloaded.unchanged).unwrap_or(u32::MAX),
            notes: reloaded.notes,
        }))
    }

    async fn get_info(&self, _: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        self.administer("`Admin.GetInfo`")?;
        let loaded = self.shared.loaded.borrow().clone();
        let entries = self.shared.registry.entries();
        let usable = entries.values().filter(|entry| entry.state().usable()).count();
        Ok(Response::new(v1::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: Some(convert::duration(self.shared.clock.now().boot.since(loaded.started))),
            config_files: loaded.files.iter().map(|file| file.display().to_string()).collect(),
            config_loaded_at: Some(convert::timestamp(loaded.at)),
            clients: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            clients_usable: u32::try_from(usable).unwrap_or(u32::MAX),
            connections: self.shared.usage.connections(),
            calls: self.shared.usage.calls(),
        }))
    }
}

impl Session {
    /// Any client's order book: administrators may renew what they may not read.
    fn grant_any(&self, name: &str) -> Result<Orders, Refusal> {
        self.shared.registry.orders(name).map_err(|denied| Refusal::of_denied(denied, name, &self.caller))
    }
}

fn problem(wrong: Wrong) -> v1::ConfigProblem {
    v1::ConfigProblem { file: wrong.file, path: wrong.path, message: wrong.message, remedy: wrong.remedy }
}

/// How long an order to refresh is waited for without a deadline.
const REFRESH_PATIENCE: Duration = Duration::from_secs(30);
