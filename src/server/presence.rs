//! Notices when the socket's file is removed or replaced under the daemon, which would go on listening where nobody can
//! reach it.

use std::{
    os::fd::{AsFd as _, AsRawFd, RawFd},
    path::Path,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::{Interest, unix::AsyncFd};

/// A watch on the directory of the socket. Costs nothing while nothing happens there.
pub(super) struct Presence(Option<AsyncFd<Events>>);

struct Events(Inotify);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Presence {
    /// Begins to watch. Where the system gives no watch the daemon does without.
    pub(super) fn of(socket: &Path) -> Self {
        let watched = watch(socket).inspect_err(|error| tracing::debug!(%error, "socket file is not watched"));
        Self(watched.ok())
    }

    /// Ends when something has happened in the directory.
    pub(super) async fn changed(&self) {
        let Some(events) = &self.0 else { return std::future::pending().await };
        // An error is a reason to look, too.
        let _ = events.async_io(Interest::READABLE, |events| Ok(events.0.read_events()?)).await;
    }
}

fn watch(socket: &Path) -> std::io::Result<AsyncFd<Events>> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let entries = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF;
    let directory = socket.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    inotify.add_watch(directory, entries)?;
    register(Events(inotify))
}

#[expect(unsafe_code, reason = "the runtime's safe form is deprecated: it cannot check that a descriptor stays open")]
fn register(events: Events) -> std::io::Result<AsyncFd<Events>> {
    // SAFETY: the descriptor is owned by `Events`, which never changes or closes it, and the result owns that.
    Ok(unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }?)
}
