//! Memory as a file (`memfd_create(2)`) that nobody can change any more.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::OwnedFd,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use zeroize::Zeroizing;

/// Puts bytes into sealed memory. The name is for people who look into `/proc`.
///
/// # Errors
/// The system has no memory, or no such memory.
pub fn create(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MFdFlags::from_bits_retain(NOEXEC_SEAL)) {
        // Before Linux 6.3.
        Err(Errno::EINVAL) => memfd_create(name, flags),
        outcome => outcome,
    };
    let mut file = File::from(memory?);
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals() | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// Reads sealed memory of at most so many bytes.
///
/// # Errors
/// It is something else, it is not sealed, or it is larger.
pub fn read(memory: &OwnedFd, at_most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    // Only memory of this kind has seals at all.
    let found = fcntl(memory, FcntlArg::F_GET_SEALS).map_err(|_| invalid("not sealed memory"))?;
    if !SealFlag::from_bits_retain(found).contains(seals()) {
        return Err(invalid("not sealed memory"));
    }
    let mut file = File::from(memory.try_clone()?);
    let length = file.metadata()?.len();
    if length > at_most {
        return Err(invalid("larger than it can be"));
    }
    // All of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).map_err(|_| invalid("larger than memory"))?]);
    file.rewind()?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// It can never be executed (`MFD_NOEXEC_SEAL`); with `vm.memfd_noexec` = 2 there is no other.
const NOEXEC_SEAL: u32 = 0x0008;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn what_is_sealed_can_be_read_and_not_changed() {
        let memory = create("bearerd-test", b"hello").unwrap();
        let mut again = File::options().write(true).open(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap();
        assert_eq!(again.write(b"J").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(again.set_len(1).is_err());
        assert_eq!(**read(&memory, 5).unwrap(), *b"hello");
    }

    #[test]
    fn anything_else_is_refused() {
        let why = |memory: OwnedFd, at_most| read(&memory, at_most).unwrap_err().to_string();
        assert_eq!(why(create("bearerd-test", b"hello").unwrap(), 4), "larger than it can be");
        let open = memfd_create("bearerd-test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        assert_eq!(why(open, 5), "not sealed memory");
        assert_eq!(why(tempfile::tempfile().unwrap().into(), 5), "not sealed memory");
        let (pipe, _) = io::pipe().unwrap();
        assert_eq!(why(pipe.into(), 5), "not sealed memory");
    }
}
