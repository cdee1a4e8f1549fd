//! Where the socket is: for those who connect, and for those who listen.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bearerd_client::{
    Channel,
    socket::{find, of_user},
};
use tokio::time::timeout;
use tonic::{Response, Status};

use super::{Exit, Trouble};
pub(super) use bearerd_client::socket::SYSTEM;

/// Connects to the daemon on the socket that was named, or where one is found.
pub(super) async fn connect(named: Option<PathBuf>) -> Result<Channel, Trouble> {
    let socket = named.unwrap_or_else(find);
    Ok(Channel::connect(&socket).await?.renewed(&socket))
}

/// The answer to a call. A daemon that is there but does not answer (stopped, in a debugger, overloaded) is not waited
/// for much longer than the caller wanted to wait for what it asked.
pub(super) async fn answer<T>(
    patience: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Trouble> {
    let limit = patience.saturating_add(GRACE);
    if let Ok(response) = timeout(limit, call).await {
        return Ok(response?.into_inner());
    }
    let limit = humantime::format_duration(limit);
    Err(Trouble::new(Exit::TryAgain, format!("the daemon does not answer within {limit}; is it stopped?")))
}

/// Where to listen when nobody says: the system service's place for whom that is prepared, else the user's.
pub(super) fn place() -> Result<PathBuf, Trouble> {
    let system = PathBuf::from(SYSTEM);
    let own_uid = nix::unistd::geteuid();
    let prepared = system.parent().and_then(|parent| fs::metadata(parent).ok());
    if own_uid.is_root() || prepared.is_some_and(|meta| meta.uid() == own_uid.as_raw()) {
        return Ok(system);
    }
    let own = of_user().ok_or_else(|| {
        Trouble::new(
            Exit::Configuration,
            "no place for the socket: neither XDG_RUNTIME_DIR nor HOME is set; name one with --socket",
        )
    })?;
    if let Some(parent) = own.parent() {
        private_directory(parent).map_err(|error| {
            Trouble::new(Exit::Unavailable, format!("cannot make the directory {}: {error}", parent.display()))
        })?;
    }
    Ok(own)
}

fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// How long the daemon may take for what it knows by heart.
pub(super) const PROMPT: Duration = Duration::from_secs(8);
/// How much longer than the caller wanted to wait the daemon is waited for: it is the one to say that time is up.
const GRACE: Duration = Duration::from_secs(2);
