//! Gives memory back that only the start, or a crowd of callers, needed.

use std::time::Duration;

use tokio::time::sleep;

#[cfg(target_env = "gnu")]
use super::hardening;
use crate::server::Usage;

/// Ends a little after most of very many connections or calls have gone: the others may be going, too.
pub(super) async fn after_a_crowd(usage: &Usage) {
    usage.crowd_gone().await;
    sleep(LAST_OF_THEM).await;
}

const LAST_OF_THEM: Duration = Duration::from_secs(2);

/// Returns freed memory to the system.
///
/// Reading the configuration of a hundred thousand clients takes half a gigabyte for a second, ten thousand streams
/// take a hundred megabytes. That is freed, but the allocator of glibc keeps what lies below anything that is still in
/// use until it is told not to. Elsewhere this does nothing.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    hardening::unlocked(trim);
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "malloc_trim(3) takes a number and locks the heap itself; there is no safe wrapper")]
fn trim() {
    // SAFETY: `malloc_trim` has no precondition and may be called at any time from any thread.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Returns freed memory to the system: nothing is known of this system's allocator.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
