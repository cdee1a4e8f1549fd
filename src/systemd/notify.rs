//! Notifications to the service manager (`sd_notify(3)`).

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use sd_notify::NotifyState;

/// The service manager, if there is one that wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manager {
    listens: bool,
    watchdog: Option<Duration>,
}

impl Manager {
    /// That of this process, as its environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the service manager's own variable, which is no configuration of ours"
    )]
    pub fn of_process() -> Self {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| !name.is_empty());
        Self { listens, watchdog: sd_notify::watchdog_enabled().filter(|limit| listens && !limit.is_zero()) }
    }

    /// Whether there is one.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// After how long without [`Manager::alive`] it takes this process for hung; `None`: never.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The start, or a reload, is over.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload begins.
    pub fn reloading(&self) {
        // The manager tells by it whether this is the reload that it has asked for.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the service manager was not told of the reload"),
        }
    }

    /// How the service is doing, in a line for people.
    pub fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    /// The end begins, and may take this long.
    pub fn stopping(&self, limit: Duration, status: &str) {
        let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit), NotifyState::Status(status)]);
    }

    /// This process does not hang.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Has a descriptor kept for the next process of this service, if the manager does that at all
    /// (`FileDescriptorStoreMax=`): it does not say.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn store(&self, name: &str, descriptor: &OwnedFd) -> io::Result<()> {
        if !self.listens {
            return Ok(());
        }
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[descriptor.as_fd()])
    }

    /// Has what was stored under a name forgotten.
    pub fn forget(&self, name: &str) {
        self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }

    fn tell(&self, what: &[NotifyState<'_>]) {
        if self.listens
            && let Err(error) = sd_notify::notify(what)
        {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}
