//! Why there is no connection, and what to do.

use std::{
    fmt, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use crate::channel::QUEUE_PATIENCE;

/// Nobody answers on the socket.
#[derive(Debug)]
pub struct ConnectError {
    socket: PathBuf,
    error: io::Error,
    /// Somebody who is not to be trusted listens there.
    impostor: Option<u32>,
}

impl ConnectError {
    pub(crate) fn new(socket: &Path, error: io::Error) -> Self {
        Self { socket: socket.to_path_buf(), error, impostor: None }
    }

    /// Somebody with this uid listens there, and is not to be trusted.
    pub(crate) fn impostor(socket: &Path, uid: u32) -> Self {
        Self { impostor: Some(uid), ..Self::new(socket, io::ErrorKind::PermissionDenied.into()) }
    }

    /// Whether the socket is there but this user may not connect.
    #[must_use]
    pub fn not_allowed(&self) -> bool {
        self.error.kind() == io::ErrorKind::PermissionDenied && self.impostor.is_none()
    }

    /// What is there if it is not a socket.
    fn instead(&self) -> Option<&'static str> {
        let kind = std::fs::metadata(&self.socket).ok()?.file_type();
        match () {
            () if kind.is_socket() => None,
            () if kind.is_dir() => Some("a directory"),
            () => Some("a file"),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket.display();
        if let Some(uid) = self.impostor {
            return write!(
                f,
                "{socket}: whoever listens there is uid {uid}, neither root nor this user nor the owner of a directory \
                 that only it can write; its answer is not asked for. Find out who that is, and keep others from writing \
                 to the directory"
            );
        }
        match self.error.kind() {
            io::ErrorKind::NotFound => write!(
                f,
                "no daemon: there is no socket at {socket}; start it (`systemctl start bearerd`, or `bearerd dev` to \
                 try it out), or set BEARERD_SOCKET to the path of its socket"
            ),
            _ if self.socket.as_os_str().len() > LONGEST_PATH => {
                write!(f, "{socket}: a socket's path has at most {LONGEST_PATH} bytes; choose a shorter one")
            }
            _ if self.instead().is_some() => write!(
                f,
                "{socket}: there is {}, not a socket; set BEARERD_SOCKET to the path of the daemon's socket",
                self.instead().unwrap_or_default()
            ),
            io::ErrorKind::ConnectionRefused => write!(
                f,
                "no daemon: nobody listens on {socket}, it was left behind; start the daemon (`systemctl start bearerd`)"
            ),
            io::ErrorKind::WouldBlock => write!(
                f,
                "{socket}: the daemon took no connection for {} s: others fill its queue, or it hangs; see \
                 `systemctl status bearerd`",
                QUEUE_PATIENCE.as_secs()
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "{socket}: this user may not connect; an administrator can change [server] mode or the directory's mode"
            ),
            _ => write!(f, "{socket}: cannot connect: {}", self.error),
        }
    }
}

impl std::error::Error for ConnectError {}

/// `sun_path` has 108 bytes, the last of which is zero (`unix(7)`).
const LONGEST_PATH: usize = 107;
