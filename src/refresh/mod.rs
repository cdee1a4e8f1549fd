//! The engine: one task per client is the only writer of its snapshot; everybody else reads.
//!
//! It has never heard of OAuth, of callers' connections or of configuration. A thousand callers cost one request
//! because there is one writer, not because there is a lock.

mod attempt;
mod board;
pub mod handle;
mod outcome;
pub mod refresher;
pub mod registry;
pub mod survivor;
pub mod suspend;
#[cfg(test)]
mod tests;
mod transition;
pub mod wishes;

pub use board::Changes;
pub use handle::{Given, Handle};
pub use refresher::{Amendment, Refresher, Terms};
pub use registry::{Authorized, Denied, Entry, Fingerprint, Registry, Status};
pub use survivor::{Failing, Kept, Survivor};
pub use suspend::ClockWatch;
pub use wishes::Wishes;
