//! A daemon in the test's own process, on a socket in a directory of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a set-up that fails must fail its test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bearerd::{
    clock::{Clock, SystemClock},
    config::{self, Environment, Sources},
    daemon::{Daemon, Handed, Order, Parts, engine::Engine},
    lifecycle::{Lifecycle, Phase},
    refresh::Registry,
    token::Snapshot,
};
use bearerd_client::{Channel, pb::v1};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

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
        write_secret(&dir.path().join("secret"), "hunter2\n");
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
            descriptors: 65_536,
            handed: Handed::default(),
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
    pub(crate) async fn get(&self, client: &str) -> Result<v1::Token, Status> {
        let request = v1::GetTokenRequest { client: client.to_owned(), ..v1::GetTokenRequest::default() };
        let response = self.connect().await.broker().get_token(request).await?;
        Ok(response.into_inner().token.unwrap())
    }

    /// Follows a client on a connection of its own.
    pub(crate) async fn watch(&self, client: &str) -> Streaming<v1::WatchTokenResponse> {
        let request = v1::WatchTokenRequest { client: client.to_owned() };
        self.connect().await.broker().watch_token(request).await.unwrap().into_inner()
    }

    /// Replaces the configuration file and has it read ([`ADMINS`] may).
    pub(crate) async fn reload(&self, text: &str) -> v1::ReloadResponse {
        self.write_config(text);
        self.connect().await.admin().reload(v1::ReloadRequest {}).await.unwrap().into_inner()
    }

    /// The status of one client as ListClients tells it.
    pub(crate) async fn status(&self, client: &str) -> v1::ClientStatus {
        let listed = self.connect().await.broker().list_clients(v1::ListClientsRequest {}).await.unwrap();
        listed.into_inner().clients.into_iter().find(|status| status.name == client).unwrap()
    }

    /// Waits until a client, seen from inside, is like this.
    pub(crate) async fn until_client(&self, name: &str, like: impl Fn(&Snapshot) -> bool) {
        let mut changes = self.registry.entries()[name].changes();
        within(changes.wait_for(like)).await.unwrap();
    }

    /// Gives it an order, as a signal does.
    pub(crate) async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// Waits until it is in this phase or beyond.
    pub(crate) async fn until(&self, phase: Lifecycle) {
        let mut phases = self.phase.clone();
        // The sender is gone once it has stopped.
        let _ = within(phases.wait_for(|now| *now >= phase)).await;
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

/// Fails the test if this takes longer than anything healthy does.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("should have ended long ago")
}

/// Waits until so many connections, and calls and streams, are in use, the asking ones included.
pub(crate) async fn until_in_use(channel: &Channel, connections: u32, calls: u32) {
    let mut admin = channel.clone().admin();
    within(async {
        loop {
            let info = admin.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
            if (info.connections, info.calls) == (connections, calls) {
                return;
            }
        }
    })
    .await;
}

/// What a refusal says: everything that a caller may rely on.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    /// `RetryInfo`, where waiting helps.
    pub(crate) retry_in: Option<Duration>,
    pub(crate) text: String,
}

impl Refusal {
    /// Reads a status. Every refusal has an `ErrorInfo` of our domain.
    pub(crate) fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        assert_eq!(info.domain, "bearerd");
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            retry_in: details.retry_info().and_then(|info| info.retry_delay),
            text: status.message().to_owned(),
        }
    }

    /// Code, reason and text.
    pub(crate) fn told(&self) -> (Code, &str, &str) {
        (self.code, &self.reason, &self.text)
    }

    /// The same without the end of the text, which says when the issuer is asked next.
    pub(crate) fn told_without_time(&self) -> (Code, &str, &str) {
        let (text, time) = self.text.rsplit_once("; next try in ").expect("the text says when");
        assert!(!time.is_empty());
        (self.code, &self.reason, text)
    }
}

/// Writes a secret as it should be: readable by its owner alone.
pub(crate) fn write_secret(path: &Path, secret: &str) {
    // Written elsewhere first: a daemon that looks at it meanwhile sees the old one or the new one.
    let new = path.with_extension("new");
    fs::write(&new, secret).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
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

/// Lets everybody administer, so that the tests can whoever runs them.
pub(crate) const ADMINS: &str = "[server]\nadmins = [{ any = true }]\n";
/// For a client that everybody may use.
pub(crate) const ANYBODY: &str = "allow = [{ any = true }]";
/// A user id that nobody has.
pub(crate) const OWN_UID: u32 = 4_000_000_000;
