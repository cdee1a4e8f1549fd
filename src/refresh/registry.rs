//! Name to client, and the only way from a caller to a token.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};

use super::{Changes, Handle};
use crate::{
    access::{Caller, Policy},
    token::{ClientName, ClientState, Refused, RequestHeader, Snapshot},
};

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
    handle: Handle,
}

impl Entry {
    /// An entry for a running client.
    #[must_use]
    pub fn new(name: ClientName, policy: Policy, handle: Handle) -> Self {
        Self { name, policy, required: true, request_headers: Arc::default(), budget_per_day: None, handle }
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
    NotAllowed,
    /// There is no client of that name.
    Unknown {
        /// The configured name that is most like it.
        nearest: Option<ClientName>,
    },
}

/// All configured clients. Replaced as a whole when the configuration changes.
pub struct Registry {
    entries: ArcSwap<HashMap<ClientName, Arc<Entry>>>,
    revision: watch::Sender<u64>,
    pulse: watch::Sender<u64>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: ArcSwap::default(), revision: watch::Sender::new(0), pulse: watch::Sender::new(0) }
    }

    /// The client of that name for this caller, if the policy allows it.
    ///
    /// # Errors
    /// [`Denied`]. Names are not secret: an unknown client and a forbidden one get different answers.
    pub fn grant(&self, name: &str, caller: &Caller) -> Result<Authorized, Denied> {
        let entries = self.entries.load();
        match entries.get(name) {
            None => Err(Denied::Unknown { nearest: nearest(name, entries.keys()) }),
            Some(entry) if entry.policy.allows(caller) => Ok(Authorized { entry: Arc::clone(entry) }),
            Some(_) => Err(Denied::NotAllowed),
        }
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

    /// Replaces all clients.
    pub fn replace(&self, entries: HashMap<ClientName, Arc<Entry>>) {
        self.entries.store(Arc::new(entries));
        self.revision.send_modify(|count| *count += 1);
        self.pulse.send_modify(|count| *count = count.wrapping_add(1));
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

    /// Has all refreshers look at the time again.
    pub fn ring(&self) {
        for entry in self.entries.load().values() {
            entry.handle.ring();
        }
    }

    /// What refreshers beat.
    #[must_use]
    pub fn pulse(&self) -> watch::Sender<u64> {
        self.pulse.clone()
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
        .map(|known| (strsim::jaro_winkler(name, known.as_str()), known))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known.clone())
}

/// Names are at most this long; a longer text is not a misspelt name, and comparing it would cost its length.
const LONGEST_NAME: usize = 63;
/// From here on two names look like each other (0 to 1).
const ALIKE: f64 = 0.8;
