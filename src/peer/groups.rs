//! The supplementary groups of a peer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::libc;
use tokio::net::UnixStream;

/// The supplementary groups that the peer had when it connected (`SO_PEERGROUPS`, Linux 4.13).
///
/// # Errors
/// The kernel does not know them.
pub(super) fn of_peer(stream: &UnixStream) -> io::Result<Box<[u32]>> {
    use std::os::fd::AsFd as _;
    let mut groups = vec![0; USUAL];
    loop {
        let bytes = ask(stream.as_fd(), &mut groups);
        match bytes {
            Ok(bytes) => {
                groups.truncate(bytes / size_of::<libc::gid_t>());
                return Ok(groups.into());
            }
            // More than there is room for; the kernel has told how many.
            Err((error, bytes)) if error.raw_os_error() == Some(libc::ERANGE) && bytes > size_of_val(&*groups) => {
                groups.resize(bytes / size_of::<libc::gid_t>(), 0);
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// Fills the slice; how many bytes were written, or would have been.
#[expect(unsafe_code, reason = "an option of variable length, which no safe wrapper knows")]
fn ask(socket: BorrowedFd<'_>, groups: &mut [libc::gid_t]) -> Result<usize, (io::Error, usize)> {
    let mut length = libc::socklen_t::try_from(size_of_val(groups)).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the kernel writes at most `length` bytes to the slice, whose size that is, and any bytes make a valid
    // group id; `length` is valid for reading and writing; the descriptor is open for as long as it is borrowed.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let length = usize::try_from(length).unwrap_or_default();
    if outcome == 0 { Ok(length) } else { Err((io::Error::last_os_error(), length)) }
}

/// Few have more.
const USUAL: usize = 64;

#[cfg(test)]
mod tests {
    use nix::unistd::getgroups;

    use super::*;

    #[tokio::test]
    async fn the_groups_of_this_process_are_its_own() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut own: Vec<_> = getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        let mut told = of_peer(&one).unwrap().to_vec();
        own.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, own);
    }
}
