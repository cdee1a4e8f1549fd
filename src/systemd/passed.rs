//! Descriptors that the service manager passed to this process (`sd_listen_fds(3)`).

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use nix::sys::socket::{AddressFamily, SockType, SockaddrLike as _, SockaddrStorage, getsockname, getsockopt, sockopt};

/// The descriptors, each with its name.
#[derive(Debug, Default)]
pub struct Passed(Vec<(String, OwnedFd)>);

impl Passed {
    /// Takes them over. To be called once, before anything is opened or a thread is started.
    ///
    /// # Errors
    /// `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` contradict each other or what is open.
    pub fn to_process() -> io::Result<Self> {
        // They may be meant for another process, whose environment this one was given.
        if sd_notify::listen_fds().map_err(|error| unreadable(&error))?.len() == 0 {
            return Ok(Self::default());
        }
        // Fails for a number that is not open, so that nothing else can be taken for one of them later.
        let numbers: Vec<(RawFd, String)> =
            sd_notify::listen_fds_with_names().map_err(|error| unreadable(&error))?.collect();
        Ok(Self(numbers.into_iter().map(|(number, name)| (name, own(number))).collect()))
    }

    /// Their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.0.iter().map(|(_, descriptor)| descriptor.as_raw_fd())
    }

    /// Takes the listening Unix stream socket among them, if there is one.
    ///
    /// # Errors
    /// There are several, and the manager's configuration has to say which is meant.
    pub fn take_listener(&mut self) -> io::Result<Option<OwnedFd>> {
        let listening = self.0.extract_if(.., |(_, descriptor)| is_listener(descriptor));
        let mut found: Vec<OwnedFd> = listening.map(|(_, descriptor)| descriptor).collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            several => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{several} listening sockets were passed; configure one in the socket unit"),
            )),
        }
    }

    /// Takes those that were stored under a name with this beginning.
    pub fn take_stored(&mut self, prefix: &str) -> Vec<(String, OwnedFd)> {
        self.0.extract_if(.., |(name, _)| name.starts_with(prefix)).collect()
    }

    /// The names of those that nobody took, and whether each is a socket.
    pub fn left(&self) -> impl Iterator<Item = (&str, bool)> {
        let is_socket = |descriptor: &OwnedFd| getsockopt(descriptor, sockopt::SockType).is_ok();
        self.0.iter().map(move |(name, descriptor)| (name.as_str(), is_socket(descriptor)))
    }
}

fn unreadable(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("LISTEN_FDS and LISTEN_FDNAMES: {error}"))
}

#[expect(unsafe_code, reason = "a number in the environment is how this interface passes descriptors")]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the manager opened it for this process (LISTEN_PID) and nobody else owns it: nothing was opened before, and
    // `to_process` is called once. That it is open was found out when it was given its close-on-exec flag.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Whether it is a Unix stream socket that listens.
fn is_listener(descriptor: &OwnedFd) -> bool {
    let unix = getsockname::<SockaddrStorage>(descriptor.as_raw_fd())
        .is_ok_and(|address| address.family() == Some(AddressFamily::Unix));
    let stream = getsockopt(descriptor, sockopt::SockType) == Ok(SockType::Stream);
    unix && stream && getsockopt(descriptor, sockopt::AcceptConn) == Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::systemd::sealed;

    fn passed(descriptors: Vec<(&str, OwnedFd)>) -> Passed {
        Passed(descriptors.into_iter().map(|(name, descriptor)| (name.to_owned(), descriptor)).collect())
    }

    #[test]
    fn the_listening_socket_is_found_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("a")).unwrap();
        let (connected, _other) = UnixStream::pair().unwrap();
        let number = listener.as_raw_fd();
        let memory = sealed::create("x", b"").unwrap();
        let mut passed =
            passed(vec![("connection", connected.into()), ("tokens-1", memory), ("bearerd.socket", listener.into())]);
        assert_eq!(passed.take_listener().unwrap().unwrap().as_raw_fd(), number);
        assert!(passed.take_listener().unwrap().is_none());
        assert_eq!(passed.take_stored("tokens-").len(), 1);
        assert_eq!(passed.left().collect::<Vec<_>>(), [("connection", true)]);
    }

    #[test]
    fn two_sockets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let listener = |name: &str| OwnedFd::from(UnixListener::bind(dir.path().join(name)).unwrap());
        let error = passed(vec![("a", listener("a")), ("b", listener("b"))]).take_listener().unwrap_err();
        assert_eq!(error.to_string(), "2 listening sockets were passed; configure one in the socket unit");
    }
}
