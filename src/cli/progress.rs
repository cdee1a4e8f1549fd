//! What people see who wait.

use std::{
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    time::Duration,
};

/// Does some work; if that takes longer than a moment, says once on the terminal what is being waited for.
pub(super) async fn waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    noticing(work, || {
        if io::stderr().is_terminal() {
            // If it has gone meanwhile, there is nobody to tell.
            let _ = writeln!(io::stderr(), "waiting for {what} …");
        }
    })
    .await
}

async fn noticing<T>(work: impl Future<Output = T>, notice: impl FnOnce()) -> T {
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(MOMENT, work.as_mut()).await {
        return done;
    }
    notice();
    work.await
}

/// Nobody wonders before.
const MOMENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_long_work_is_noticed_and_only_once() {
        for (millis, expected) in [(0, 0), (999, 0), (1_001, 1), (60_000, 1)] {
            let noticed = Cell::new(0);
            let work = async {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                millis
            };
            assert_eq!(noticing(work, || noticed.set(noticed.get() + 1)).await, millis);
            assert_eq!(noticed.get(), expected, "{millis} ms");
        }
    }
}
