//! Notifications to the service manager (`sd_notify(3)`).

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use sd_notify::NotifyState;

use super::outbox::Outbox;

/// The service manager, if there is one that wants to be told. It is told in the background: one that does not read what
/// it is told must not stop those who serve callers.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    outbox: Option<Outbox<Notification>>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Notification {
    text: String,
    descriptor: Option<OwnedFd>,
}

impl Manager {
    /// That of this process, as its environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    ///
    /// # Errors
    /// The system gives no thread.
    #[expect(
        clippy::disallowed_methods,
        reason = "the service manager's own variable, which is no configuration of ours"
    )]
    pub fn of_process() -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none_or(|name| name.is_empty()) {
            return Ok(Self::default());
        }
        let mut failing = false;
        let outbox = Outbox::start("bearerd-notify", ROOM, move |notification| {
            let told = send(&notification);
            if let Err(error) = &told
                && !failing
            {
                tracing::warn!(%error, "the service manager was not told");
            }
            failing = told.is_err();
        })?;
        Ok(Self { outbox: Some(outbox), watchdog: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) })
    }

    /// Whether there is one.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.outbox.is_some()
    }

    /// After how long without [`Manager::alive`] it takes this process for hung; `None`: never.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The start, or a reload, is over. Returns whether it will be told.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.put(&[NotifyState::Ready], None)
    }

    /// A reload begins.
    pub fn reloading(&self) {
        // The manager tells by it whether this is the reload that it has asked for.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the service manager was not told of the reload"),
        }
    }

    /// How the service is doing, in a line for people. Returns whether it will be told.
    #[must_use]
    pub fn status(&self, text: &str) -> bool {
        self.put(&[NotifyState::Status(text)], None)
    }

    /// The end begins, and may take this long.
    pub fn stopping(&self, limit: Duration) {
        let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit)]);
    }

    /// This process does not hang.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Has a descriptor kept for the next process of this service, if the manager does that at all
    /// (`FileDescriptorStoreMax=`): it does not say. Returns whether it will be sent.
    #[must_use]
    pub fn store(&self, name: &str, descriptor: OwnedFd) -> bool {
        self.put(&[NotifyState::FdStore, NotifyState::FdName(name)], Some(descriptor))
    }

    /// Has what was stored under a name forgotten. Returns whether it will be told.
    #[must_use]
    pub fn forget(&self, name: &str) -> bool {
        self.put(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)], None)
    }

    /// Waits until everything has been told, for so long at most.
    pub fn flush(&self, at_most: Duration) {
        if let Some(outbox) = &self.outbox
            && !outbox.flush(at_most)
        {
            tracing::warn!("the service manager does not take what it is told");
        }
    }

    fn tell(&self, what: &[NotifyState<'_>]) {
        // Where there is no room it has not read for a long time, and what it is told now is not what matters.
        self.put(what, None);
    }

    fn put(&self, what: &[NotifyState<'_>], descriptor: Option<OwnedFd>) -> bool {
        let text = what.iter().map(|one| format!("{one}\n")).collect();
        self.outbox.as_ref().is_none_or(|outbox| outbox.put(Notification { text, descriptor }))
    }
}

fn send(notification: &Notification) -> io::Result<()> {
    let text = [NotifyState::Custom(notification.text.trim_end())];
    match &notification.descriptor {
        Some(descriptor) => sd_notify::notify_with_fds(&text, &[descriptor.as_fd()]),
        None => sd_notify::notify(&text),
    }
}

/// Notifications that wait for a manager that does not read.
const ROOM: usize = 64;
