//! The broker: one connection to the daemon, and the clients read through it.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use crate::{Client, daemon::Daemon, follower::Follower, link::Link, tasks::Tasks};

/// A connection to the daemon, made when the first token is read. One for a program is normal. Clones are the same broker.
///
/// Everything ends when it is [closed](Self::close), or when it and all its [clients](Client) are dropped.
#[derive(Clone)]
pub struct Broker(Arc<Shared>);

struct Shared {
    daemon: Arc<dyn Daemon>,
    patience: Duration,
    tasks: Arc<Tasks>,
    /// Held for a look-up only, never while waiting.
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    by_name: HashMap<String, Arc<Follower>>,
    closed: bool,
}

impl Broker {
    /// A broker on the daemon's socket: the one that `BEARERD_SOCKET` names, else the system service's if it is there, else
    /// the user's ([`socket::named_or_found`](crate::socket::named_or_found)). Does not connect yet.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A broker with other settings.
    #[must_use]
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder { socket: None, timeout: TIMEOUT }
    }

    pub(crate) fn with(daemon: Arc<dyn Daemon>, patience: Duration) -> Self {
        let tasks = Arc::new(Tasks::new());
        Self(Arc::new(Shared { daemon, patience, tasks, clients: Mutex::default() }))
    }

    /// The client of this name in the daemon's configuration. Cheap, and the same one for the same name; whether there is
    /// such a client shows when its token is read.
    #[must_use]
    pub fn client(&self, name: &str) -> Client {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = clients.by_name.get(name) {
            return Client(Arc::clone(follower));
        }
        let Shared { daemon, patience, tasks, .. } = &*self.0;
        let follower = Follower::new(name.to_owned(), Arc::clone(daemon), *patience, Arc::clone(tasks));
        if clients.closed {
            follower.memory.close();
        }
        let follower = Arc::new(follower);
        clients.by_name.insert(name.to_owned(), Arc::clone(&follower));
        Client(follower)
    }

    /// Ends the streams and the connection, and returns when their tasks have ended. Whoever waits for a token, and whoever
    /// reads one later, gets the error `CLOSED`. Closing again does nothing.
    pub async fn close(&self) {
        let followers: Vec<_> = {
            let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.closed = true;
            clients.by_name.values().cloned().collect()
        };
        for follower in followers {
            follower.memory.close();
        }
        let ending = async {
            self.0.daemon.close().await;
            self.0.tasks.ended().await;
        };
        // A task of a runtime that stands still cannot end.
        let _ = timeout(LAST_WAIT, ending).await;
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// Settings of a [`Broker`].
#[derive(Clone, Debug)]
pub struct BrokerBuilder {
    socket: Option<PathBuf>,
    timeout: Duration,
}

impl BrokerBuilder {
    /// The daemon's socket.
    #[must_use]
    pub fn socket(self, path: impl Into<PathBuf>) -> Self {
        Self { socket: Some(path.into()), ..self }
    }

    /// How long a call waits when it does not say: 10 s unless set.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The broker.
    #[must_use]
    pub fn build(self) -> Broker {
        Broker::with(Arc::new(Link::new(self.socket)), self.timeout)
    }
}

/// How long calls wait when nobody says.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long closing waits for the tasks.
const LAST_WAIT: Duration = Duration::from_secs(1);
