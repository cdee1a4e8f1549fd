//! Puts the parts together and runs them: the only place that knows all of them.

pub mod assemble;
pub mod diff;
pub mod engine;
pub mod handover;
#[cfg(debug_assertions)]
pub mod hang;
pub mod hardening;
pub mod logging;
pub mod memory;
pub mod reload;
mod report;
pub mod signals;
pub mod supervisor;

use std::{
    fmt,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    clock::Clock,
    config::{Config, ServerSettings},
    lifecycle::{Lifecycle, Phase},
    refresh::Registry,
    server::{self, Limits, ListenError, Listener, Loaded, Reloaded, Shared, Usage},
    systemd::Manager,
};
use assemble::AssembleError;
use handover::{Estate, Keeper};
use reload::Reloader;
use report::Report;
use supervisor::Supervisor;

/// What a daemon is made of beside its configuration.
pub struct Parts {
    /// Where the socket is to be.
    pub socket: PathBuf,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where refreshers and token requests run: not where callers are served, so that neither delays the other.
    pub engine: Handle,
    /// Reads the configuration again when asked to; `None`: there is nothing to read.
    pub load: Option<reload::Load>,
    /// How many files the process can have open.
    pub descriptors: u64,
    /// What comes from the service manager.
    pub handed: Handed,
}

/// What a service manager hands to a daemon, if it is started by one.
#[derive(Debug, Default)]
pub struct Handed {
    /// Whom to tell how it goes.
    pub manager: Manager,
    /// A socket that listens already; `None`: one is bound.
    pub listener: Option<OwnedFd>,
    /// What an earlier process of this service had kept ([`handover::PREFIX`]).
    pub tokens: Vec<(String, OwnedFd)>,
}

/// A daemon that listens but does not serve yet.
pub struct Daemon {
    listener: Listener,
    shared: Arc<Shared>,
    phase: watch::Sender<Lifecycle>,
    reloader: Reloader,
    reloads: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    manager: Manager,
    keeper: Keeper,
    engine: Handle,
}

/// Orders to a running daemon that come from its process, not from a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// Finish what was begun and end.
    Stop,
}

impl Daemon {
    /// Binds the socket and starts the clients.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    pub fn build(config: Config, parts: Parts) -> Result<Self, StartError> {
        for warning in &config.warnings {
            tracing::warn!(%warning, "configuration warning");
        }
        let registry = Arc::new(Registry::new());
        let Handed { manager, listener, tokens } = parts.handed;
        let mut supervisor = Supervisor::new(Arc::clone(&registry), Arc::clone(&parts.clock), parts.engine.clone());
        let listener = match listener {
            Some(passed) => {
                Listener::passed(passed).inspect(|listener| compare(listener, &parts.socket, &config.server))
            }
            None => Listener::bind(&parts.socket, config.server.mode),
        };
        let listener = listener.map_err(StartError::Listen)?;
        let Estate { survivors, stored } = handover::take(&manager, tokens);
        supervisor.leave(survivors, &config.clients);
        let keeper = Keeper::new(manager.clone(), Arc::clone(&registry), stored);
        let (phase, phases) = watch::channel(Lifecycle::Starting);
        let (admins, admins_now) = watch::channel(config.server.admins.clone());
        let now = parts.clock.now();
        let loaded = Loaded { started: now.boot, files: config.files.clone(), at: now.wall };
        let (loaded, loaded_now) = watch::channel(loaded);
        let (orders, reloads) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            registry,
            clock: parts.clock,
            phase: phases,
            admins: admins_now,
            loaded: loaded_now,
            reloads: orders,
            usage: Usage::new(fitting(&config.server.limits, parts.descriptors), config.server.admins.own_uid()),
            http: config.server.http,
        });
        let fixed = listener.outlives_us();
        let mut reloader = Reloader::new(supervisor, (config.server, fixed), admins, loaded, parts.load);
        if let Err(error) = reloader.start(config.clients) {
            // What was left is on its way back to the manager.
            manager.flush(LAST_STEPS);
            return Err(StartError::Assemble(error));
        }
        Ok(Self { listener, shared, phase, reloader, reloads, manager, keeper, engine: parts.engine })
    }

    /// Follows the daemon's life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.subscribe()
    }

    /// The clients, for whoever runs the daemon inside its own process.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.shared.registry)
    }

    /// Serves until ordered to stop, or until nobody can order anything any more; then drains.
    ///
    /// A second order to stop ends the draining.
    pub async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let Self { listener, shared, phase, mut reloader, mut reloads, manager, keeper, engine } = self;
        tracing::info!(
            socket = %listener.path().display(),
            clients = shared.registry.entries().len(),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        let drain = reloader.drain();
        // A task of its own: applying a large configuration must not keep new callers waiting.
        let mut serving = JoinSet::new();
        serving.spawn(server::serve(listener, Arc::clone(&shared), drain));
        phase.send_replace(Lifecycle::Ready);
        let mut quiet_again = pin!(memory::after_a_crowd(&shared.usage));
        let report = Report::new(manager);
        let mut reload = Reload::new(&report);
        let (mut reporting, mut keeping) = (pin!(report.report(&shared)), pin!(keeper.keep()));
        let mut alive = pin!(report.feed_watchdog(&engine));
        loop {
            tokio::select! {
                _ = serving.join_next() => break,
                Some(read) = reload.done() => {
                    let reloaded = reloader.reload(read, shared.clock.now());
                    reload.answer(&reloaded, &reloader);
                }
                never = &mut reporting => match never {},
                never = &mut keeping => match never {},
                never = &mut alive => match never {},
                () = &mut quiet_again => {
                    memory::give_back();
                    quiet_again.set(memory::after_a_crowd(&shared.usage));
                }
                Some(asker) = reloads.recv() => reload.ask(Some(asker), &reloader),
                order = orders.recv() => match order {
                    Some(Order::Reload) => reload.ask(None, &reloader),
                    Some(Order::Stop) | None => {
                        report.stopping(drain + supervisor::REVOKING + LAST_STEPS);
                        tracing::info!(deadline_s = drain.as_secs(), calls = shared.usage.calls(), "draining");
                        phase.send_replace(Lifecycle::Draining);
                        // Who waits for a reload is told that there will be none.
                        drop((reload, reloads));
                        tokio::select! {
                            () = drained(&mut serving, &mut orders) => break,
                            never = &mut alive => match never {},
                        }
                    }
                }
            }
        }
        tokio::select! {
            () = reloader.stop() => {}
            never = &mut alive => match never {},
        }
        keeper.keep_last();
        phase.send_replace(Lifecycle::Stopped);
    }
}

/// A reload under way, and who waits for it.
struct Reload<'a> {
    report: &'a Report,
    reading: JoinSet<reload::Read>,
    askers: Vec<oneshot::Sender<Reloaded>>,
    /// Ordered after reading had begun: what was read may be older than what is meant.
    again: bool,
    later: Vec<oneshot::Sender<Reloaded>>,
}

impl<'a> Reload<'a> {
    /// None is under way.
    fn new(report: &'a Report) -> Self {
        Self { report, reading: JoinSet::new(), askers: Vec::new(), again: false, later: Vec::new() }
    }

    /// Takes an order. Those that come while the files are being read are carried out together, after that.
    fn ask(&mut self, asker: Option<oneshot::Sender<Reloaded>>, reloader: &Reloader) {
        if self.reading.is_empty() {
            self.askers.extend(asker);
            self.begin(reloader);
        } else {
            self.later.extend(asker);
            self.again = true;
        }
    }

    fn begin(&mut self, reloader: &Reloader) {
        self.report.reloading();
        self.reading.spawn(reloader.read());
    }

    /// What was read; `None` when nothing is being read.
    async fn done(&mut self) -> Option<reload::Read> {
        // Ends with an error only when it is aborted, which nobody does.
        self.reading.join_next().await?.ok()
    }

    /// Tells those who asked, and begins again if it was ordered meanwhile.
    fn answer(&mut self, outcome: &Reloaded, reloader: &Reloader) {
        self.report.reloaded(outcome);
        for asker in std::mem::replace(&mut self.askers, std::mem::take(&mut self.later)) {
            // Whoever asked may have left; the reload happened all the same, and is in the log.
            let _ = asker.send(outcome.clone());
        }
        if std::mem::take(&mut self.again) {
            self.begin(reloader);
        }
    }
}

/// Tells of what is configured of the socket and does not count, because it was made by the service manager.
fn compare(listener: &Listener, wanted: &Path, configured: &ServerSettings) {
    let path = listener.path().display();
    if ![Path::new(""), listener.path()].contains(&wanted) {
        let wanted = wanted.display();
        tracing::warn!(socket = %path, %wanted, "where to listen does not count: the socket unit says it (ListenStream=)");
    }
    let usual = configured.mode == ServerSettings::MODE;
    if !usual && listener.mode().is_ok_and(|mode| mode != configured.mode) {
        tracing::warn!(socket = %path, "server.mode does not count: the socket unit says who may connect (SocketMode=)");
    }
}

/// The limits, with no more connections than there are descriptors for: callers must not be able to use up those that
/// token requests need.
fn fitting(limits: &Limits, descriptors: u64) -> Limits {
    let affordable = Limits::affordable(descriptors);
    if limits.connections > affordable {
        tracing::warn!(
            configured = limits.connections,
            in_force = affordable,
            descriptors,
            "server.limits.connections is more than the limit of open files allows; raise LimitNOFILE"
        );
    }
    Limits { connections: limits.connections.min(affordable), ..limits.clone() }
}

/// Ends when what was begun has ended, or at a second order to stop.
async fn drained(serving: &mut JoinSet<usize>, orders: &mut mpsc::Receiver<Order>) {
    tokio::select! {
        Some(cut_off) = serving.join_next() => {
            tracing::info!(cut_off = cut_off.unwrap_or_default(), "drained");
        }
        Some(Order::Stop) = second_stop(orders) => {
            serving.shutdown().await;
            tracing::warn!("stopped without draining");
        }
    }
}

/// The next order to stop; `None` when there will be none.
async fn second_stop(orders: &mut mpsc::Receiver<Order>) -> Option<Order> {
    while let Some(order) = orders.recv().await {
        if order == Order::Stop {
            return Some(order);
        }
    }
    None
}

/// What the end takes beside draining and revoking, at most.
const LAST_STEPS: Duration = Duration::from_secs(8);

/// The daemon cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A client cannot be put together.
    Assemble(AssembleError),
    /// The socket cannot be made.
    Listen(ListenError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assemble(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
