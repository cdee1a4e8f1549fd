//! What the process does for its own protection before it reads the first secret.
//!
//! Nothing here can fail the start: each measure is taken as far as the system allows, and the log says where it does
//! not. The service unit does the same from outside; this holds where there is none.

use std::{
    fs, io,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    sys::{
        mman::{MlockAllFlags, mlockall, munlockall},
        prctl::set_dumpable,
        resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
    },
    unistd::close,
};

/// Drops every descriptor that was inherited beside the standard three and those passed on purpose: whoever started us
/// may have left open what we are not to hold.
///
/// To be called before anything is opened.
pub fn drop_inherited(passed: &[i32]) {
    let Ok(listed) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && !passed.contains(fd))
        .collect();
    for number in numbers {
        // The one that listed them is among them and gone by now.
        let _ = close(number);
    }
}

/// Keeps other processes of this user from reading this one's memory (`ptrace(2)`, `/proc/PID/mem`), and the kernel from
/// writing it to a core file, until another program is executed.
pub fn hide_memory() {
    if let Err(error) = set_dumpable(false) {
        tracing::warn!(%error, "memory is not hidden from other processes of this user");
    }
}

/// Switches core files off, for whatever this process executes too.
pub fn forbid_core_files() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "core files are not switched off");
    }
}

/// Keeps memory out of swap, where the limit allows all of it: with a limit that is too low, a later allocation would
/// fail and end the daemon.
pub fn lock_memory() {
    let outcome = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(io::Error::from).and_then(|(soft, hard)| {
        if soft == RLIM_INFINITY {
            return lock_all();
        }
        // With a limit of nothing it succeeds only for whom limits do not count (CAP_IPC_LOCK).
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, hard)?;
        let locked = lock_all();
        setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
        locked
    });
    match outcome {
        Ok(()) => LOCKED.store(true, Ordering::Relaxed),
        Err(error) => tracing::debug!(%error, "memory may be swapped; LimitMEMLOCK=infinity lets it be locked"),
    }
}

/// Does something that locked memory is in the way of: giving it back to the system.
pub(super) fn unlocked(work: impl FnOnce()) {
    if !LOCKED.load(Ordering::Relaxed) {
        return work();
    }
    let locked_again = munlockall().map_err(io::Error::from).and_then(|()| {
        work();
        lock_all()
    });
    if let Err(error) = locked_again {
        tracing::warn!(%error, "memory is not locked any more");
    }
}

fn lock_all() -> io::Result<()> {
    // MCL_ONFAULT: only what is used, or every thread's stack would be resident as a whole.
    let on_fault = MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
    Ok(mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?)
}

/// Raises the limit of open files: each connection takes one, and the usual soft limit of 1,024 is below what
/// `server.limits` allows. Returns how many there can be.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "descriptor limit not raised");
        getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft)
    })
}

/// Whether [`lock_memory`] succeeded.
static LOCKED: AtomicBool = AtomicBool::new(false);
