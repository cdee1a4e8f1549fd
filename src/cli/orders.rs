//! The orders that a daemon gets by signal, from its first moment on.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};

use super::{Exit, Trouble};
use crate::{
    config::{Config, Problems},
    daemon::{Daemon, Order, reload::Load, signals},
};

/// Takes signals for orders for as long as it lives.
pub(super) struct Orders {
    given: mpsc::Receiver<Order>,
    more: mpsc::Sender<Order>,
    forwarding: JoinSet<()>,
}

impl Orders {
    /// Before this, SIGHUP, SIGINT and SIGTERM end the process.
    ///
    /// # Errors
    /// The system refuses the registration.
    pub(super) fn of_signals() -> Result<Self, Trouble> {
        let (more, given) = mpsc::channel(8);
        let signals = signals::forward(more.clone())
            .map_err(|error| Trouble::new(Exit::Unavailable, format!("cannot receive signals: {error}")))?;
        let mut forwarding = JoinSet::new();
        forwarding.spawn(signals);
        Ok(Self { given, more, forwarding })
    }

    /// Reads the first configuration; `None` if it is ordered to stop meanwhile. Reading can take long, or for ever.
    ///
    /// # Errors
    /// Reading it has failed, rather than found problems.
    pub(super) async fn read_configuration(
        &mut self,
        load: &Load,
    ) -> Result<Option<Result<Config, Problems>>, Trouble> {
        tracing::debug!("reading the configuration");
        let load = Arc::clone(load);
        let mut reading = JoinSet::new();
        reading.spawn_blocking(move || load());
        let mut reload = false;
        let read = loop {
            tokio::select! {
                Some(read) = reading.join_next() => break read,
                order = self.given.recv() => match order {
                    Some(Order::Reload) => reload = true,
                    Some(Order::Stop) | None => return Ok(None),
                }
            }
        };
        if reload {
            // What has been read may be older than what is meant. If there is no room, there are orders enough.
            let _ = self.more.try_send(Order::Reload);
        }
        read.map(Some)
            .map_err(|error| Trouble::new(Exit::Unavailable, format!("reading the configuration has failed: {error}")))
    }

    /// Runs the daemon with these orders and with those to come.
    pub(super) async fn carry_out(self, daemon: Daemon) {
        let Self { given, more: _, forwarding: _forwarding } = self;
        daemon.run(given).await;
    }
}
