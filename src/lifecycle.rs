//! The phases of the daemon's life, as a value that others follow.

use tokio::sync::watch;

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// Being put together; the socket may not be there yet.
    #[default]
    Starting,
    /// Serving.
    Ready,
    /// Finishing what was begun; new calls are refused.
    Draining,
    /// Over.
    Stopped,
}

/// Follows the daemon's life.
pub type Phase = watch::Receiver<Lifecycle>;
