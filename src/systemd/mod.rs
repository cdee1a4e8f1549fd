//! What the service manager and its daemon say to each other: descriptors that are passed, notifications, the store for
//! descriptors, and the journal.
//!
//! Everything here does nothing, and costs nothing, where there is no such manager.

pub mod journal;
pub mod notify;
pub mod passed;
pub mod sealed;

pub use journal::{Journal, Record};
pub use notify::Manager;
pub use passed::Passed;
