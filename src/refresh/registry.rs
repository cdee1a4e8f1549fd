//! Name to client, and the only way from a caller to a token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};

use super::{Changes, Handle, Survivor};
use crate::{
    access::{Caller, Decision, Needs, Policy},
    token::{ClientName, ClientState, Refused, RequestHeader, Snapshot},
};

/// Sixteen bytes that stand for what a client asks its issuer for.
pub type Fingerprint = [u8; 16];

/// One configured client as the server sees it.
pub struct Entry {
    /// Its name.
    pub name: ClientName,
    /// Who may have its token.
    pub policy: Policy,
    /// Whether it counts for readiness.
    pub required: bool,
    /// What API calls must carry beside the token.
    pub request_headers: Arc<[RequestHeader]>,
    /// The budget of requests per day, if there is one.
    pub budget_per_day: Option<u32>,
    /// Tells what its tokens are asked for with from anything else; `None`: they do not outlive the process.
    pub asks: Option<Fingerprint>,
    handle: Handle,
}

impl Entry {
    /// An entry for a running client.
    #[must_use]
    pub fn new(name: ClientName, policy: Policy, handle: Handle) -> Self {
        Self { name, policy, required: true, request_headers: Arc::default(), budget_per_day: None, asks: None, handle }
    }

    /// How the client is doing; holds no token.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        let (snapshot, spoiled) = self.handle.look();
        Status { entry: self, snapshot, spoiled }
    }

    /// How the client is doing, in a word.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.handle.state()
    }

    /// Wakes at every change of the client.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.handle.changes()
    }

    /// What is to outlive the process, if there is something.
    #[must_use]
    pub fn survivor(&self) -> Option<(Fingerprint, Survivor)> {
        let (snapshot, spoiled) = self.handle.look();
        Some((self.asks?, Survivor::of(&snapshot, spoiled)?))
    }

    /// The handle, for the daemon itself: to keep a client running over a change of its policy.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// The state of one client for those who may see it.
pub struct Status<'a> {
    /// The client.
    pub entry: &'a Entry,
    /// Its snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The newest generation that was reported as rejected.
    pub spoiled: u64,
}

/// A client that the policy lets this caller use.
///
/// There is no other way to a [`Handle`], so no code path reaches a token without a decision.
pub struct Authorized {
    entry: Arc<Entry>,
}

impl Authorized {
    /// The client's handle.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.entry.handle
    }

    /// The client.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// A client that an administrator can order to refresh. Gives no token.
pub struct Orders(Arc<Entry>);

impl Orders {
    /// See [`Handle::refresh`].
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn refresh(&self, deadline: Instant) -> Result<bool, Refused> {
        self.0.handle.refresh(deadline).await
    }
}

/// Why a caller gets no handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The policy does not let this caller in.
    NotAllowed {
        /// Why a rule that might have let it in did not, if that is because too little is known of it.
        unidentified: Option<Box<str>>,
    },
    /// There is no client of that name.
    Unknown {
        /// The configured name that is most like it.
        nearest: Option<ClientName>,
    },
}

/// All configured clients. Replaced as a whole when the configuration changes.
pub struct Registry {
    entries: ArcSwap<HashMap<ClientName, Arc<Entry>>>,
    needs: ArcSwap<Needs>,
    revision: watch::Sender<u64>,
    pulse: watch::Sender<u64>,
    remains: watch::Sender<u64>,
    /// What [`Registry::ready`] found, at which pulse and when.
    readiness: Mutex<Option<(u64, Instant, bool)>>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: ArcSwap::default(),
            needs: ArcSwap::default(),
            revision: watch::Sender::new(0),
            pulse: watch::Sender::new(0),
            remains: watch::Sender::new(0),
            readiness: Mutex::default(),
        }
    }

    /// The client of that name for this caller, if the policy allows it.
    ///
    /// # Errors
    /// [`Denied`]. Names are not secret: an unknown client and a forbidden one get different answers.
    pub fn grant(&self, name: &str, caller: &Caller) -> Result<Authorized, Denied> {
        let entries = self.entries.load();
        let Some(entry) = entries.get(name) else {
            return Err(Denied::Unknown { nearest: nearest(name, entries.keys()) });
        };
        match entry.policy.decide(caller) {
            Decision::Denied { unidentified } => Err(Denied::NotAllowed { unidentified }),
            Decision::AllowedAsOwner | Decision::AllowedBy(..) => Ok(Authorized { entry: Arc::clone(entry) }),
        }
    }

    /// Which facts about callers the policies ask for.
    #[must_use]
    pub fn needs(&self) -> Needs {
        *self.needs.load_full()
    }

    /// Whether what was granted is still what the configuration says.
    #[must_use]
    pub fn is_current(&self, granted: &Authorized) -> bool {
        let entries = self.entries.load();
        entries.get(granted.entry.name.as_str()).is_some_and(|entry| Arc::ptr_eq(entry, &granted.entry))
    }

    /// The order book of the client of that name, for administrators: it gives no token.
    ///
    /// # Errors
    /// [`Denied::Unknown`].
    pub fn orders(&self, name: &str) -> Result<Orders, Denied> {
        let entries = self.entries.load();
        match entries.get(name) {
            Some(entry) => Ok(Orders(Arc::clone(entry))),
            None => Err(Denied::Unknown { nearest: nearest(name, entries.keys()) }),
        }
    }

    /// All clients as they are now, in no order.
    #[must_use]
    pub fn entries(&self) -> Arc<HashMap<ClientName, Arc<Entry>>> {
        self.entries.load_full()
    }

    /// Whether every required client has a usable token, or is idle because nobody asks.
    ///
    /// Anybody may ask, as often as it likes: where looking at every client takes time, the answer is kept for a second
    /// or until a client changes its state.
    #[must_use]
    pub fn ready(&self) -> bool {
        let entries = self.entries.load();
        let look = || {
            entries.values().filter(|entry| entry.required).all(|entry| {
                let state = entry.state();
                state.usable() || state == ClientState::Idle
            })
        };
        if entries.len() <= SOON_SEEN {
            return look();
        }
        let (pulse, now) = (*self.pulse.borrow(), Instant::now());
        let mut known = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((at, since, ready)) if at == pulse && now.duration_since(since) < KEPT => ready,
            _ => known.insert((pulse, now, look())).2,
        }
    }

    /// Replaces all clients.
    pub fn replace(&self, entries: HashMap<ClientName, Arc<Entry>>) {
        let needs = entries.values().fold(Needs::default(), |needs, entry| needs.and(entry.policy.needs()));
        self.needs.store(Arc::new(needs));
        self.entries.store(Arc::new(entries));
        self.revision.send_modify(|count| *count += 1);
        self.pulse.send_modify(|count| *count = count.wrapping_add(1));
        self.remains.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes when the set of clients or a policy changes.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Wakes when any client changes its state, or the set of clients changes.
    #[must_use]
    pub fn pulses(&self) -> watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    /// Wakes when what is to outlive the process may have changed, of any client.
    #[must_use]
    pub fn remains(&self) -> watch::Receiver<u64> {
        self.remains.subscribe()
    }

    /// Has all refreshers look at the time again.
    pub fn ring(&self) {
        for entry in self.entries.load().values() {
            entry.handle.ring();
        }
    }

    /// What refreshers beat: changes of state, and of what is to outlive the process.
    #[must_use]
    pub fn beats(&self) -> (watch::Sender<u64>, watch::Sender<u64>) {
        (self.pulse.clone(), self.remains.clone())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a ClientName>) -> Option<ClientName> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    known
        .filter(|known| known.as_str().len().abs_diff(name.len()) <= MOST_LONGER)
        .take(MOST_COMPARED)
        .map(|known| (strsim::jaro_winkler(name, known.as_str()), known))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known.clone())
}

/// So many clients are looked at in less than a tenth of a millisecond.
const SOON_SEEN: usize = 1_000;
/// How long an answer about more of them is kept.
const KEPT: Duration = Duration::from_secs(1);
/// Names that are much longer or shorter are not what was meant.
const MOST_LONGER: usize = 3;
/// Anybody may ask for a name that does not exist: the search for a better one takes half a millisecond at most.
const MOST_COMPARED: usize = 1_024;
/// Names are at most this long; a longer text is not a misspelt name, and comparing it would cost its length.
const LONGEST_NAME: usize = 63;
/// From here on two names look like each other (0 to 1).
const ALIKE: f64 = 0.8;

#[cfg(test)]
pub(crate) mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        clock::{Clock, SystemClock},
        refresh::{Refresher, Terms},
        token::{
            RefreshPolicy, TokenSource,
            source::{Fetching, Looking},
        },
    };

    struct Nobody;

    impl TokenSource for Nobody {
        fn fetch(&self) -> Fetching<'_> {
            Box::pin(std::future::pending())
        }

        fn credentials_changed(&self) -> Looking<'_> {
            Box::pin(std::future::ready(false))
        }
    }

    /// A client that nobody runs.
    pub(crate) fn entry(name: &str, policy: Policy) -> Entry {
        let name = ClientName::parse(name).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (_, handle) = Refresher::new(Terms {
            name: name.clone(),
            policy: Arc::new(RefreshPolicy { prefetch: false, ..RefreshPolicy::default() }),
            source: Arc::new(Nobody),
            gate: Arc::new(Semaphore::new(1)),
            clock,
            pulse: watch::Sender::new(0),
            remains: watch::Sender::new(0),
            seed: 1,
        });
        Entry::new(name, policy, handle)
    }

    fn registry(entries: impl IntoIterator<Item = Entry>) -> Registry {
        let registry = Registry::new();
        registry.replace(entries.into_iter().map(|entry| (entry.name.clone(), Arc::new(entry))).collect());
        registry
    }

    #[test]
    fn the_nearest_name_is_found_and_others_are_not() {
        let registry = registry(["paysway", "wawex"].map(|name| entry(name, Policy::new(0, []))));
        let nearest = |name: &str| match registry.orders(name) {
            Err(Denied::Unknown { nearest }) => nearest.map(|name| name.to_string()),
            _ => panic!("there is no {name}"),
        };
        assert_eq!(nearest("payway").as_deref(), Some("paysway"));
        assert_eq!(nearest("wawex2").as_deref(), Some("wawex"));
        assert_eq!((nearest("zzz"), nearest("paysway-production")), (None, None));
    }

    #[test]
    fn readiness_of_many_is_kept_until_a_pulse() {
        let many = (0..=SOON_SEEN).map(|number| entry(&format!("c{number}"), Policy::new(0, [])));
        let registry = registry(many);
        assert!(registry.ready(), "all are idle");
        let before = registry.readiness.lock().unwrap().unwrap();
        assert!(registry.ready());
        assert_eq!(registry.readiness.lock().unwrap().unwrap(), before, "not looked at again");
        registry.pulse.send_modify(|count| *count += 1);
        assert!(registry.ready());
        assert_ne!(registry.readiness.lock().unwrap().unwrap(), before);
    }
}
