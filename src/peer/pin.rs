//! A hold on the process that connected: whether what is read about its number is about it, and not about another
//! process that was given the same number since.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{getsockopt, sockopt::PeerPidfd},
};

use super::proc;

/// The hold.
#[derive(Debug)]
pub struct Pin {
    pid: i32,
    by: By,
}

#[derive(Debug)]
enum By {
    /// The kernel's own hold, made when the peer connected (`SO_PEERPIDFD`, Linux 6.5).
    Pidfd(OwnedFd),
    /// On older kernels: when the process started, in clock ticks after boot. Another one of the same number started
    /// later.
    Start(u64),
}

/// There is no hold to be had.
#[derive(Debug, PartialEq, Eq)]
pub enum PinError {
    /// The process is gone.
    Gone,
    /// For this reason.
    Unknown(Box<str>),
}

impl Pin {
    /// A hold on the peer of this socket.
    ///
    /// # Errors
    /// [`PinError`]. That the peer is gone and that the kernel is old are told apart: taking the one for the other would
    /// have a new process of the same number looked at.
    pub fn of_peer(socket: &impl AsFd, pid: Option<i32>) -> Result<Self, PinError> {
        let Some(pid) = pid.filter(|pid| *pid > 0) else {
            return Err(PinError::Unknown("its process is in another PID namespace".into()));
        };
        match getsockopt(socket, PeerPidfd) {
            Ok(pidfd) => Ok(Self { pid, by: By::Pidfd(pidfd) }),
            Err(errno) => Self::without_pidfd(errno, pid),
        }
    }

    fn without_pidfd(errno: Errno, pid: i32) -> Result<Self, PinError> {
        match errno {
            // Reaped (since 6.5), or without a process at all.
            Errno::EINVAL | Errno::ENODATA | Errno::ESRCH => Err(PinError::Gone),
            // An older kernel does not know the option.
            Errno::ENOPROTOOPT => match start_of(pid) {
                Ok(start) => Ok(Self { pid, by: By::Start(start) }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PinError::Gone),
                Err(error) => Err(PinError::Unknown(format!("its process cannot be looked at: {error}").into())),
            },
            other => Err(PinError::Unknown(format!("its process cannot be held: {}", other.desc()).into())),
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it still is the same process, and alive. What was read before that is about it.
    #[must_use]
    pub fn holds(&self) -> bool {
        match &self.by {
            By::Pidfd(pidfd) => {
                // Readable means that it has ended (pidfd_open(2)).
                let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                poll(&mut polled, PollTimeout::ZERO) == Ok(0)
            }
            By::Start(start) => start_of(self.pid).is_ok_and(|now| now == *start),
        }
    }
}

fn start_of(pid: i32) -> io::Result<u64> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    proc::start_time(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable stat"))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::UnixStream,
        process::{Command, Stdio},
    };

    use super::*;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_living_peer_is_held() {
        let (one, _other) = UnixStream::pair().unwrap();
        let pin = Pin::of_peer(&one, Some(own_pid())).unwrap();
        assert!(pin.holds());
        assert_eq!(pin.pid(), own_pid());
    }

    #[test]
    fn errors_are_not_confused() {
        assert_eq!(Pin::without_pidfd(Errno::EINVAL, own_pid()).unwrap_err(), PinError::Gone);
        assert_eq!(Pin::without_pidfd(Errno::ENODATA, own_pid()).unwrap_err(), PinError::Gone);
        assert!(matches!(Pin::without_pidfd(Errno::EMFILE, own_pid()), Err(PinError::Unknown(_))));
        let old_kernel = Pin::without_pidfd(Errno::ENOPROTOOPT, own_pid()).unwrap();
        assert!(matches!(old_kernel.by, By::Start(_)) && old_kernel.holds());
        let other = Pin { by: By::Start(1), ..old_kernel };
        assert!(!other.holds(), "the same number, another process");
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(matches!(Pin::of_peer(&one, Some(0)), Err(PinError::Unknown(_))), "another namespace");
    }

    #[test]
    fn a_process_that_has_ended_is_not_held() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let by = By::Start(start_of(pid).unwrap());
        let pin = Pin { pid, by };
        assert!(pin.holds());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!pin.holds());
        assert_eq!(Pin::without_pidfd(Errno::ENOPROTOOPT, pid).unwrap_err(), PinError::Gone);
    }
}
