//! What the benchmark is made of.

pub(crate) mod bearerd;
pub(crate) mod caller;
pub(crate) mod figures;
pub(crate) mod flood;
pub(crate) mod identity;
pub(crate) mod issuer;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod reference;
pub(crate) mod sequential;
pub(crate) mod start;
pub(crate) mod tools;
pub(crate) mod watch;
pub(crate) mod wire;

use std::{error::Error, path::PathBuf, sync::Arc};

use issuer::Issuer;
use wire::Script;

/// Errors are for the person in front of the terminal: a figure that could not be measured, and why.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What all measurements share.
pub(crate) struct Bench {
    /// The daemon's binary.
    pub(crate) bearerd: PathBuf,
    /// The reference's binary.
    pub(crate) reference: PathBuf,
    pub(crate) issuer: Issuer,
    pub(crate) script: Arc<Script>,
    pub(crate) extent: Extent,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Rounds in which contestants take turns.
    pub(crate) rounds: usize,
    /// Sequential calls of a contestant in a round.
    pub(crate) calls: usize,
    /// Length of a contestant's turn under load, in milliseconds.
    pub(crate) load_ms: u64,
    /// Calls that are counted in instructions and system calls.
    pub(crate) counted: usize,
    /// Starts of a process.
    pub(crate) starts: usize,
    /// Seconds in which idle processes are watched.
    pub(crate) idle_s: u64,
}

impl Extent {
    pub(crate) const FULL: Self =
        Self { rounds: 11, calls: 10_000, load_ms: 1_000, counted: 4_000, starts: 8, idle_s: 60 };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, calls: 2_000, load_ms: 300, counted: 1_000, starts: 3, idle_s: 20 };
}

/// The name of the client with this number; all are equally long.
pub(crate) fn client_name(client: u32) -> String {
    format!("c{client:05}")
}
