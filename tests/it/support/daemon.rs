//! A daemon in the test's own process, on a socket in a directory of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a set-up that fails must fail its test")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bearerd::{
    client::Channel,
    clock::{Clock, SystemClock},
    config::{self, Environment, Sources},
    daemon::{Daemon, Order, Parts, engine::Engine},
    lifecycle::{Lifecycle, Phase},
    pb::v1,
    refresh::Registry,
};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};

use super::idp::Idp;

/// A running daemon. Dropping it ends it without draining; [`Running::stop`] drains.
pub(crate) struct Running {
    dir: TempDir,
    orders: mpsc::Sender<Order>,
    phase: Phase,
    registry: Arc<Registry>,
    task: JoinHandle<()>,
    _engine: Engine,
}

impl Running {
    /// Starts a daemon with this configuration. `@DIR@` in it stands for the test's directory, in which there is
    /// a secret file `secret` with the text `hunter2`.
    pub(crate) fn start(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "hunter2\n").unwrap();
        write_config(dir.path(), text);
        // The daemon's own user is somebody else, unless the tests run as root: so rules are what decides.
        let sources = Sources { file: config_file(dir.path()), environment: Environment::default(), own_uid: OWN_UID };
        let config = config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let engine = Engine::start().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let parts = Parts {
            socket: socket(dir.path()),
            clock,
            engine: engine.handle().clone(),
            load: Some(Arc::new(move || config::load(&sources))),
        };
        let daemon = Daemon::build(config, parts).unwrap();
        let (orders, received) = mpsc::channel(8);
        let (phase, registry) = (daemon.phase(), daemon.registry());
        let task = tokio::spawn(daemon.run(received));
        Self { dir, orders, phase, registry, task, _engine: engine }
    }

    /// Starts a daemon with one client `demo` of this issuer, which everybody may use.
    pub(crate) fn with_demo(idp: &Idp) -> Self {
        Self::start(&client("demo", idp, "allow = [{ any = true }]"))
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// The test's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the configuration file. It takes effect with a reload.
    pub(crate) fn write_config(&self, text: &str) {
        write_config(self.dir.path(), text);
    }

    /// The clients, seen from inside.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Channel {
        Channel::connect(&self.socket()).await.unwrap()
    }

    /// One GetToken on a connection of its own.
    pub(crate) async fn get(&self, client: &str) -> Result<v1::Token, tonic::Status> {
        let request = v1::GetTokenRequest { client: client.to_owned(), ..v1::GetTokenRequest::default() };
        let response = self.connect().await.broker().get_token(request).await?;
        Ok(response.into_inner().token.unwrap())
    }

    /// Gives it an order, as a signal does.
    pub(crate) async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// Waits until it is in this phase or beyond.
    pub(crate) async fn until(&self, phase: Lifecycle) {
        let mut phases = self.phase.clone();
        // The sender is gone once it has stopped.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// Stops it and waits until it has drained.
    pub(crate) async fn stop(mut self) {
        self.orders.send(Order::Stop).await.unwrap();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The configuration of one client of this issuer, with the secret in `@DIR@/secret`; `more` are further keys.
pub(crate) fn client(name: &str, idp: &Idp, more: &str) -> String {
    format!(
        "[clients.{name}]\ntoken_url = \"{}\"\nclient_id = \"id-of-{name}\"\n\
         client_secret = {{ file = \"@DIR@/secret\" }}\n{more}\n",
        idp.token_url()
    )
}

fn write_config(dir: &Path, text: &str) {
    let text = text.replace("@DIR@", dir.to_str().expect("a temporary directory has a plain name"));
    fs::write(config_file(dir), text).unwrap();
}

fn config_file(dir: &Path) -> PathBuf {
    dir.join("bearerd.toml")
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("b.sock")
}

/// A user id that nobody has.
pub(crate) const OWN_UID: u32 = 4_000_000_000;
