//! Who is at the other end of a connection, asked of the kernel.

mod groups;
pub mod pin;
pub mod proc;
mod process;

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{net::UnixStream, task::spawn_blocking, time::timeout};

use crate::access::{Caller, Fact, Needs};
use pin::{Pin, PinError};

/// A fresh connection's caller, and a hold on its process if more is to be learnt about that.
#[derive(Debug)]
pub struct Peer {
    caller: Caller,
    pin: Option<Result<Pin, Box<str>>>,
}

/// The connection must be refused.
#[derive(Debug)]
pub enum IdentifyError {
    /// The process that connected is gone already; whoever holds its end of the connection now is somebody else.
    Gone,
    /// The kernel does not say who it is.
    Unknown(io::Error),
}

impl fmt::Display for IdentifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the process that connected is gone"),
            Self::Unknown(error) => write!(f, "the kernel does not say who connected: {error}"),
        }
    }
}

impl std::error::Error for IdentifyError {}

/// Who connected (`SO_PEERCRED`, `SO_PEERGROUPS` and `SO_PEERPIDFD`, `unix(7)`). Reads no file, and asks only for what is
/// needed.
///
/// # Errors
/// [`IdentifyError`].
pub fn identify(stream: &UnixStream, needs: Needs) -> Result<Peer, IdentifyError> {
    let cred = stream.peer_cred().map_err(IdentifyError::Unknown)?;
    let mut caller = Caller::of(cred.uid(), cred.gid(), cred.pid());
    if needs.groups {
        caller.groups = match groups::of_peer(stream) {
            Ok(groups) => Fact::Known(groups),
            Err(error) => Fact::Unknown(format!("its groups cannot be told: {error}").into()),
        };
    }
    let pin = match needs.process.then(|| Pin::of_peer(stream, cred.pid())) {
        None => None,
        Some(Ok(pin)) => Some(Ok(pin)),
        Some(Err(PinError::Gone)) => return Err(IdentifyError::Gone),
        Some(Err(PinError::Unknown(why))) => Some(Err(why)),
    };
    Ok(Peer { caller, pin })
}

impl Peer {
    /// The user of the caller.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.caller.uid
    }

    /// The caller with all facts that are needed. Reads files below `/proc`, on a thread that may block.
    pub async fn learn(self) -> Caller {
        let Self { mut caller, pin } = self;
        let unknown = |why: &str| Fact::Unknown(why.into());
        caller.process = match pin {
            None => Fact::Unasked,
            Some(Err(why)) => Fact::Unknown(why),
            Some(Ok(pin)) => match timeout(PATIENCE, spawn_blocking(move || process::read(&pin))).await {
                Ok(Ok(Ok(process))) => Fact::Known(Arc::new(process)),
                Ok(Ok(Err(why))) => Fact::Unknown(why),
                Ok(Err(_)) => unknown("looking at its process failed"),
                Err(_) => unknown("looking at its process took too long"),
            },
        };
        caller
    }
}

/// Reading two small files of the kernel's takes microseconds.
const PATIENCE: Duration = Duration::from_secs(2);
