//! Where the daemon's socket is.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What `BEARERD_SOCKET` says, if it says anything; else what [`find`] finds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the variable that names the socket")]
pub fn named_or_found() -> PathBuf {
    std::env::var_os("BEARERD_SOCKET").filter(|named| !named.is_empty()).map_or_else(find, PathBuf::from)
}

/// The system service's socket if it is there, else the user's if that is there, else the system service's, whose
/// absence is what to report.
#[must_use]
pub fn find() -> PathBuf {
    let system = PathBuf::from(SYSTEM);
    let here = |path: &Path| fs::symlink_metadata(path).is_ok();
    match of_user() {
        Some(own) if !here(&system) && here(&own) => own,
        _ => system,
    }
}

/// The user's socket: in the runtime directory of the session, or without one below the home directory. `None` if
/// neither `XDG_RUNTIME_DIR` nor `HOME` has an absolute path.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the variables that say where a user's sockets are")]
pub fn of_user() -> Option<PathBuf> {
    let directory = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = directory("XDG_RUNTIME_DIR").or_else(|| directory("HOME").map(|home| home.join(".bearerd")));
    base.map(|base| base.join("bearerd").join("bearerd.sock"))
}

/// The socket of the system service.
pub const SYSTEM: &str = "/run/bearerd/bearerd.sock";
