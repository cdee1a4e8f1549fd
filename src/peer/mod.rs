//! Who is at the other end of a connection, asked of the kernel.

use std::io;

use tokio::net::UnixStream;

use crate::access::Caller;

/// The caller behind a fresh connection (`SO_PEERCRED`, `unix(7)`).
///
/// # Errors
/// The kernel does not say; such a connection must be refused.
pub fn identify(stream: &UnixStream) -> io::Result<Caller> {
    let cred = stream.peer_cred()?;
    Ok(Caller { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() })
}
