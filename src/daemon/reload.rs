//! Reads the configuration again and applies what changed, or keeps everything and says why.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::spawn_blocking};

use super::{
    assemble::AssembleError,
    diff::{self, Change, Clients},
    memory,
    supervisor::Supervisor,
};
use crate::{
    access::Policy,
    config::{Config, Problem, Problems, ServerSettings},
    moment::Moment,
    server::{Loaded, Reloaded, Wrong},
};

/// Reads and checks the configuration. Blocks.
pub type Load = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// A configuration, or all that is wrong with it.
pub(super) type Read = Result<Config, Vec<Wrong>>;

/// Owns what a reload can change.
pub struct Reloader {
    supervisor: Supervisor,
    clients: Clients,
    server: ServerSettings,
    /// The service manager made the socket.
    passed: bool,
    admins: watch::Sender<Policy>,
    loaded: watch::Sender<Loaded>,
    load: Option<Load>,
}

impl Reloader {
    /// Nothing runs yet.
    pub(super) fn new(
        supervisor: Supervisor,
        (server, passed): (ServerSettings, bool),
        admins: watch::Sender<Policy>,
        loaded: watch::Sender<Loaded>,
        load: Option<Load>,
    ) -> Self {
        Self { supervisor, clients: Clients::new(), server, passed, admins, loaded, load }
    }

    /// Starts the first clients.
    pub(super) fn start(&mut self, clients: Clients) -> Result<(), AssembleError> {
        let started = self.apply(clients).map(drop);
        memory::give_back();
        started
    }

    /// How long calls may take to end.
    pub(super) fn drain(&self) -> Duration {
        self.server.drain
    }

    /// Ends all clients.
    pub(super) async fn stop(&mut self) {
        self.supervisor.stop().await;
    }

    /// Reads the configuration, which can take long. Holds nothing of the reloader, so that other orders are heard
    /// meanwhile.
    pub(super) fn read(&self) -> impl Future<Output = Read> + Send + use<> {
        let load = self.load.clone();
        async move {
            let Some(load) = load else {
                return Err(vec![wrong("", "this daemon has no configuration to read", "start it with `bearerd run`")]);
            };
            match spawn_blocking(move || load()).await {
                Ok(Ok(config)) => Ok(config),
                Ok(Err(problems)) => Err(problems.as_slice().iter().map(Wrong::from).collect()),
                Err(error) => Err(vec![wrong("", &format!("reading it failed: {error}"), "report this as a bug")]),
            }
        }
    }

    /// Applies what was read. With any problem, nothing changes.
    pub(super) fn reload(&mut self, read: Read, now: Moment) -> Reloaded {
        let reloaded = match read {
            Ok(config) => self.adopt(config, now),
            Err(problems) => Reloaded { problems, ..Reloaded::default() },
        };
        memory::give_back();
        tell(&reloaded);
        reloaded
    }

    fn adopt(&mut self, config: Config, now: Moment) -> Reloaded {
        let Config { server, clients, files, warnings } = config;
        let changes = match self.apply(clients) {
            Ok(changes) => changes,
            Err(error) => {
                let path = format!("clients.{}.tls", error.client);
                let problem = wrong(&path, &error.to_string(), "see the message");
                return Reloaded { problems: vec![problem], ..Reloaded::default() };
            }
        };
        let mut notes = self.adopt_server(server);
        notes.extend(warnings.iter().map(ToString::to_string));
        self.loaded.send_modify(|loaded| {
            loaded.files = files;
            loaded.at = now.wall;
        });
        Reloaded { notes, ..changes }
    }

    fn adopt_server(&mut self, server: ServerSettings) -> Vec<String> {
        let fixed = [
            ("server.socket", self.server.socket != server.socket),
            ("server.mode", self.server.mode != server.mode),
            ("server.limits", self.server.limits != server.limits),
            ("server.drain", self.server.drain != server.drain),
            ("server.http", self.server.http != server.http),
        ];
        self.admins.send_if_modified(|admins| {
            let changed = *admins != server.admins;
            *admins = server.admins.clone();
            changed
        });
        self.server.admins = server.admins;
        let changed = fixed.into_iter().filter(|(_, changed)| *changed);
        let of_socket = ["server.socket", "server.mode"];
        let note = |key| match key {
            key if self.passed && of_socket.contains(&key) => {
                format!("{key} changed; it does not count, as the socket unit says where and for whom the socket is")
            }
            key => format!("{key} changed; it takes effect at the next restart"),
        };
        changed.map(|(key, _)| note(key)).collect()
    }

    fn apply(&mut self, clients: Clients) -> Result<Reloaded, AssembleError> {
        let changes = diff::diff(&self.clients, &clients);
        let prepared = self.supervisor.prepare(&changes, &clients)?;
        self.supervisor.apply(&changes, &clients, prepared);
        self.clients = clients;
        let named = |wanted: &[Change]| {
            let those = changes.iter().filter(|(_, change)| wanted.contains(change));
            those.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        Ok(Reloaded {
            added: named(&[Change::Start]),
            changed: named(&[Change::Amend, Change::Replace, Change::Retouch]),
            removed: named(&[Change::Stop]),
            unchanged: named(&[Change::Keep]).len(),
            ..Reloaded::default()
        })
    }
}

impl From<&Problem> for Wrong {
    fn from(problem: &Problem) -> Self {
        Self {
            file: problem.file.to_string(),
            path: problem.path.to_string(),
            message: problem.message.to_string(),
            remedy: problem.remedy.to_string(),
        }
    }
}

fn wrong(path: &str, message: &str, remedy: &str) -> Wrong {
    Wrong {
        file: "the configuration".to_owned(),
        path: path.to_owned(),
        message: message.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn tell(reloaded: &Reloaded) {
    for wrong in &reloaded.problems {
        tracing::error!(
            file = wrong.file,
            path = wrong.path,
            problem = wrong.message,
            remedy = wrong.remedy,
            "configuration problem"
        );
    }
    if !reloaded.problems.is_empty() {
        tracing::error!(
            name: "configuration-refused",
            problems = reloaded.problems.len(),
            "configuration not applied; the old one stays in force"
        );
        return;
    }
    for note in &reloaded.notes {
        tracing::warn!(note, "configuration note");
    }
    tracing::info!(
        name: "configuration-applied",
        added = reloaded.added.len(),
        changed = reloaded.changed.len(),
        removed = reloaded.removed.len(),
        unchanged = reloaded.unchanged,
        "configuration applied"
    );
}
