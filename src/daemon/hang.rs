//! Makes a debug build hang on order, so that a watchdog can be tried on it. There is no such thing in other builds.

use std::{io, thread::park};

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::runtime::Handle;

/// Hangs at SIGUSR1 the thread of the engine, at SIGUSR2 the thread that this runs on, for ever.
///
/// # Errors
/// The system refuses the registration.
pub fn on_signals(engine: Handle) -> io::Result<impl Future<Output = ()> + Send> {
    let mut signals = Signals::new([SIGUSR1, SIGUSR2])?;
    Ok(async move {
        while let Some(signal) = signals.next().await {
            if signal == SIGUSR2 {
                hang();
            }
            // Ended by nobody: it never gives its thread back.
            drop(engine.spawn(async { hang() }));
        }
    })
}

fn hang() {
    tracing::warn!("hanging, as ordered");
    loop {
        park();
    }
}
