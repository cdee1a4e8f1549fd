//! The socket: made without ever removing anything but a stale socket.

use std::{
    fmt, fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockname, getsockopt, listen,
            socket, sockopt::PeerCredentials,
        },
        stat::{Mode, fchmod},
    },
};
use tokio::net::UnixListener;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// The mode it was bound with; `None`: it was passed to us, and is not ours to bind again or to remove.
    mode: Option<u32>,
    inode: (u64, u64),
}

impl Listener {
    /// Binds `path` with the given mode. Makes the parent directory if only that is missing.
    ///
    /// # Errors
    /// [`ListenError`] with what to do. Nothing was removed or overwritten then.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let fail = |trouble| ListenError { path: path.to_path_buf(), trouble };
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(fail(Trouble::TooLong));
        }
        prepare_directory(path).map_err(fail)?;
        // Two daemons that start at once must not each take the other's fresh socket for a stale one.
        let _alone = lock_directory(path);
        clear_stale(path).map_err(fail)?;
        let socket = bind_for_owner(path).map_err(|error| fail(Trouble::Io("cannot be bound", error)))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| fail(Trouble::Io("cannot be given its mode", error)))?;
        let inode = inode(path).map_err(|error| fail(Trouble::Io("vanished after it was bound", error)))?;
        Ok(Self { socket, path: path.to_path_buf(), mode: Some(mode), inode })
    }

    /// Takes over a socket that listens already: the service manager bound it, and it outlives this process.
    ///
    /// # Errors
    /// It has no path, or cannot be used.
    pub fn passed(socket: OwnedFd) -> Result<Self, ListenError> {
        let fail = |path: &Path, trouble| ListenError { path: path.to_path_buf(), trouble };
        let address = getsockname::<UnixAddr>(socket.as_raw_fd())
            .map_err(|error| fail(Path::new("the passed socket"), Trouble::Io("has no address", error.into())))?;
        let Some(path) = address.path() else {
            return Err(fail(Path::new("the passed socket"), Trouble::NoPath));
        };
        let failed = |error| fail(path, Trouble::Io("was passed and cannot be used", error));
        let listening = StdListener::from(socket);
        listening.set_nonblocking(true).map_err(failed)?;
        let socket = UnixListener::from_std(listening).map_err(failed)?;
        let inode = inode(path).map_err(failed)?;
        Ok(Self { socket, path: path.to_path_buf(), mode: None, inode })
    }

    /// The permission bits of its file, as they are now.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn mode(&self) -> io::Result<u32> {
        fs::symlink_metadata(&self.path).map(|meta| meta.mode() & 0o777)
    }

    /// Whether it goes on listening when this process ends.
    #[must_use]
    pub fn outlives_us(&self) -> bool {
        self.mode.is_none()
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file at its path is still this socket.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        inode(&self.path).is_ok_and(|inode| inode == self.inode)
    }

    /// Binds the same path again: the file there is not this socket any more.
    ///
    /// # Errors
    /// As [`Listener::bind`]; a socket that was passed is for the service manager to bind again.
    pub fn again(&self) -> Result<Self, ListenError> {
        match self.mode {
            Some(mode) => Self::bind(&self.path, mode),
            None => Err(ListenError { path: self.path.clone(), trouble: Trouble::Passed }),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener {
    /// The next of those who are waiting already; asked of the kernel, since the runtime may not know of them yet, and lets
    /// a task accept only so many at a time. `None`: nobody waits any more, or they cannot be accepted.
    #[must_use]
    pub fn accept_at_once(&self) -> Option<tokio::net::UnixStream> {
        let same = StdListener::from(self.socket.as_fd().try_clone_to_owned().ok()?);
        let (accepted, _) = same.accept().ok()?;
        accepted.set_nonblocking(true).ok()?;
        tokio::net::UnixStream::from_std(accepted).ok()
    }
}

impl Drop for Listener {
    /// Removes the file of a socket that was bound by us.
    fn drop(&mut self) {
        // Somebody may have put another socket there meanwhile; that one is not ours to remove.
        if !self.outlives_us()
            && self.is_in_place()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "socket file not removed");
        }
    }
}

/// The socket cannot be made: where, why, and what to do.
#[derive(Debug)]
pub struct ListenError {
    path: PathBuf,
    trouble: Trouble,
}

#[derive(Debug)]
enum Trouble {
    InUse(Option<i32>),
    Io(&'static str, io::Error),
    NoPath,
    NotASocket(&'static str),
    Parent(PathBuf, io::Error),
    Passed,
    TooLong,
    WritableParent(PathBuf, u32, u32),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.trouble {
            Trouble::InUse(Some(1)) => write!(
                f,
                "{path}: the service manager listens here for its service; stop that (systemctl stop bearerd.socket), or \
                 choose another --socket"
            ),
            Trouble::InUse(Some(pid)) => {
                write!(f, "{path}: a living daemon with pid {pid} listens here; stop it, or choose another --socket")
            }
            Trouble::InUse(None) => {
                write!(f, "{path}: a living process listens here; stop it, or choose another --socket")
            }
            Trouble::Io(what, error) => write!(f, "{path}: the socket {what}: {error}"),
            Trouble::NoPath => write!(f, "{path}: it has no path; ListenStream= of the socket unit must name one"),
            Trouble::NotASocket(what) => {
                write!(
                    f,
                    "{path}: there is {what}, not a socket; it is left alone: remove it, or choose another --socket"
                )
            }
            Trouble::Parent(parent, error) => write!(
                f,
                "{path}: the directory {} cannot be used: {error}; create it for the daemon's user",
                parent.display()
            ),
            Trouble::Passed => write!(
                f,
                "{path}: the service manager made this socket; have it made again: systemctl restart bearerd.socket"
            ),
            Trouble::TooLong => {
                write!(f, "{path}: a socket's path has at most {LONGEST_PATH} bytes; choose a shorter one")
            }
            Trouble::WritableParent(parent, owner, mode) => write!(
                f,
                "{path}: the directory {} (owner uid {owner}, mode {mode:04o}) can be written by other users, who \
                 could put a socket of their own there; use a directory that only root or the daemon's user can write",
                parent.display()
            ),
        }
    }
}

impl std::error::Error for ListenError {}

/// Makes the last directory if it is missing, and refuses one in which others can replace the socket.
fn prepare_directory(path: &Path) -> Result<(), Trouble> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |error| Trouble::Parent(parent.to_path_buf(), error);
    match fs::create_dir(parent) {
        Ok(()) => {
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let meta = fs::metadata(parent).map_err(failed)?;
    if !is_ours(&meta) || meta.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Trouble::WritableParent(parent.to_path_buf(), meta.uid(), meta.mode() & 0o7777));
    }
    // Whoever can rename one of the directories above can put another one in its place. A sticky directory such as /tmp
    // keeps others from that, though not from being there first, which is why the parent must not be one.
    for above in fs::canonicalize(parent).map_err(failed)?.ancestors().skip(1) {
        let meta = fs::metadata(above).map_err(failed)?;
        let sticky = meta.mode() & STICKY != 0;
        if !is_ours(&meta) || (meta.mode() & WRITABLE_BY_OTHERS != 0 && !sticky) {
            return Err(Trouble::WritableParent(above.to_path_buf(), meta.uid(), meta.mode() & 0o7777));
        }
    }
    Ok(())
}

/// What tells the file at a path from another one there.
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Whether it belongs to this user or to root, who is whoever owns the root directory: in a container that may be a
/// user without a number here.
fn is_ours(meta: &fs::Metadata) -> bool {
    let root = fs::metadata("/").map_or(0, |root| root.uid());
    [0, root, nix::unistd::geteuid().as_raw()].contains(&meta.uid())
}

/// Held while the socket is looked at and made. Without it (an unreadable directory) there is a race that only two
/// daemons of the same user can run.
fn lock_directory(path: &Path) -> Option<Flock<fs::File>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Flock::lock(fs::File::open(parent).ok()?, FlockArg::LockExclusive).ok()
}

/// Removes a socket that nobody listens on. Anything else stays.
fn clear_stale(path: &Path) -> Result<(), Trouble> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Trouble::Io("cannot be looked at", error)),
    };
    let kind = meta.file_type();
    if !kind.is_socket() {
        return Err(Trouble::NotASocket(match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_symlink() => "a symbolic link",
            () => "a file",
        }));
    }
    match probe(path) {
        Ok(stream) => Err(Trouble::InUse(getsockopt(&stream, PeerCredentials).ok().map(|cred| cred.pid()))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| Trouble::Io("is stale and cannot be removed", error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog (EAGAIN) is a living listener too.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Trouble::InUse(None)),
        Err(error) => Err(Trouble::Io("cannot be probed", error)),
    }
}

/// Connects without waiting: where the backlog of a stopped daemon is full, waiting would have no end.
fn probe(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probing = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(probing.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(probing)
}

/// Binds a socket that nobody but its owner can connect to until it is given its mode.
///
/// The kernel makes the file with the mode of the unbound socket (less the umask). Changing the umask instead would
/// change it for every thread of the process.
fn bind_for_owner(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let unbound = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&unbound, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(unbound.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&unbound, Backlog::MAXCONN)?;
    UnixListener::from_std(StdListener::from(unbound))
}

/// Mode bits: group and others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Mode bit: entries can be renamed and removed by their owners only.
const STICKY: u32 = 0o1000;
/// `sun_path` has 108 bytes, the last of which is zero (`unix(7)`).
const LONGEST_PATH: usize = 107;
