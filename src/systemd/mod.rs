//! What the service manager and its daemon say to each other: descriptors that are passed, notifications, the store for
//! descriptors, and the journal.
//!
//! Everything here does nothing, and costs nothing, where there is no such manager.

pub mod journal;
pub mod notify;
mod outbox;
pub mod passed;
pub mod sealed;

pub use journal::{Journal, Record};
pub use notify::Manager;
pub use passed::Passed;

/// The variables by which a service manager speaks to one process: not for those that it starts.
pub const VARIABLES: [&str; 8] = [
    "FDSTORE",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];
