//! Owns the tasks of all clients: starts, replaces and stops them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::stream::{self, StreamExt as _};
use tokio::{runtime::Handle as Runtime, task::JoinHandle, time::timeout};

use super::{
    assemble::{self, AssembleError, Assembler},
    diff::{Change, Clients},
};
use crate::{
    clock::Clock,
    config::ClientSettings,
    refresh::{Amendment, ClockWatch, Entry, Fingerprint, Registry, Survivor},
    token::{ClientName, TokenSource},
};

/// See the module.
pub struct Supervisor {
    registry: Arc<Registry>,
    assembler: Assembler,
    engine: Runtime,
    clock_watch: JoinHandle<()>,
    running: HashMap<ClientName, JoinHandle<()>>,
    /// Of clients whose last token is revoked when the daemon stops.
    revoking: HashMap<ClientName, Arc<dyn TokenSource>>,
    survivors: Survivors,
}

/// What survived of clients of an earlier process, and what it had been asked for with.
pub type Survivors = HashMap<ClientName, (Fingerprint, Survivor)>;

/// The sources of clients that are about to start or to change theirs. Made first, so that a failure changes nothing.
pub struct Prepared(HashMap<ClientName, Arc<dyn TokenSource>>);

impl Supervisor {
    /// Makes a supervisor of no clients, and starts the watch of the clocks.
    #[must_use]
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>, engine: Runtime) -> Self {
        let all = Arc::clone(&registry);
        let clock_watch = engine.spawn(ClockWatch::new(Arc::clone(&clock)).run(move || all.ring()));
        let assembler = Assembler::new(clock, &registry);
        Self {
            registry,
            assembler,
            engine,
            clock_watch,
            running: HashMap::new(),
            revoking: HashMap::new(),
            survivors: HashMap::new(),
        }
    }

    /// Leaves to the clients what survived of them, as far as they still ask for the same thing.
    pub fn leave(&mut self, mut survivors: Survivors, clients: &Clients) {
        let found = survivors.len();
        survivors.retain(|name, (asked, _)| {
            clients.get(name).is_some_and(|settings| assemble::asks(settings).as_ref() == Some(&*asked))
        });
        if found > 0 {
            let dropped = found - survivors.len();
            let tokens = survivors.values().filter(|(_, survivor)| survivor.kept.is_some()).count();
            tracing::info!(tokens, dropped, "tokens taken over");
        }
        self.survivors = survivors;
    }

    /// Makes what the changes need, without starting anything.
    ///
    /// # Errors
    /// A client cannot be put together.
    pub fn prepare(&self, changes: &BTreeMap<ClientName, Change>, new: &Clients) -> Result<Prepared, AssembleError> {
        // A reload is how an administrator says that something on this machine is new, certificate authorities too.
        self.assembler.renew();
        let wanting = |change: &Change| matches!(change, Change::Amend | Change::Replace | Change::Start);
        changes
            .iter()
            .filter(|(_, change)| wanting(change))
            .filter_map(|(name, _)| Some((name, new.get(name)?)))
            .map(|(name, settings)| Ok((name.clone(), self.assembler.source(name, settings)?)))
            .collect::<Result<_, _>>()
            .map(Prepared)
    }

    /// Carries out the changes: replaces the registry as a whole, then ends what is no longer in it.
    pub fn apply(&mut self, changes: &BTreeMap<ClientName, Change>, new: &Clients, mut prepared: Prepared) {
        let old = self.registry.entries();
        let mut entries = HashMap::with_capacity(new.len());
        let mut ended = Vec::new();
        for (name, change) in changes {
            let revoked = new.get(name).is_some_and(|settings| settings.endpoint.revocation.is_some());
            match prepared.0.get(name) {
                Some(source) if revoked => drop(self.revoking.insert(name.clone(), Arc::clone(source))),
                None if revoked => {}
                _ => drop(self.revoking.remove(name)),
            }
            if matches!(change, Change::Stop | Change::Replace) {
                ended.extend(self.running.remove(name));
            }
            let Some(settings) = new.get(name) else { continue };
            let entry = match (change, old.get(name), prepared.0.remove(name)) {
                (Change::Keep, Some(entry), _) => Arc::clone(entry),
                (Change::Retouch, Some(entry), _) => Arc::new(assemble::entry(name, settings, entry.handle().clone())),
                (Change::Amend, Some(entry), source) => {
                    entry.handle().amend(Amendment { policy: Arc::clone(&settings.refresh), source });
                    Arc::new(assemble::entry(name, settings, entry.handle().clone()))
                }
                (_, _, Some(source)) => Arc::new(self.start(name, settings, source)),
                // Not reached: whatever starts was prepared, whatever stays is in the registry.
                (_, _, None) => continue,
            };
            entries.insert(name.clone(), entry);
        }
        self.registry.replace(entries);
        // Only now: a caller who waits on one of these finds its successor, or that it is gone.
        for task in ended {
            task.abort();
        }
        self.assembler.tidy();
    }

    fn start(&mut self, name: &ClientName, settings: &ClientSettings, source: Arc<dyn TokenSource>) -> Entry {
        let survivor = self.survivors.remove(name).map(|(_, survivor)| survivor);
        let (refresher, handle) = self.assembler.refresher(name, settings, source, survivor);
        let task = self.engine.spawn(refresher.run());
        self.running.insert(name.clone(), task);
        assemble::entry(name, settings, handle)
    }

    /// Ends all tasks and waits until they have ended; then revokes the tokens of those clients that want it.
    pub async fn stop(&mut self) {
        self.abort();
        let ended = async {
            for (_, task) in self.running.drain() {
                // Ended by the abort just made, which is the error expected here.
                let _ = task.await;
            }
        };
        if timeout(ENDING, ended).await.is_err() {
            tracing::error!("the engine hangs; it is left to itself");
            return;
        }
        let entries = self.registry.entries();
        let revoking = self.revoking.drain().filter_map(|(name, source)| {
            let token = entries.get(&name)?.handle().look().0.token.clone()?;
            Some(async move {
                match source.revoke(&token.value).await {
                    Ok(()) => tracing::info!(client = %name, token = %token.id, "token revoked"),
                    Err(failure) => tracing::warn!(client = %name, token = %token.id, %failure, "token not revoked"),
                }
            })
        });
        let all = stream::iter(revoking).for_each_concurrent(REVOKED_AT_ONCE, |one| one);
        if timeout(REVOKING, all).await.is_err() {
            tracing::warn!("not all tokens were revoked in time");
        }
    }

    fn abort(&self) {
        self.clock_watch.abort();
        for task in self.running.values() {
            task.abort();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.abort();
    }
}

/// How long the clients' tasks may take to notice that they have been ended.
const ENDING: Duration = Duration::from_secs(2);
/// Revocations under way at a time.
const REVOKED_AT_ONCE: usize = 16;
/// How long all revocations together may take: the service manager waits for the daemon.
pub(super) const REVOKING: Duration = Duration::from_secs(5);
