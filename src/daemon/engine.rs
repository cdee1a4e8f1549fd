//! The thread on which refreshers and token requests run.

use std::{
    io,
    thread::{Builder, JoinHandle},
};

use tokio::{runtime, sync::oneshot};

/// A runtime on a thread of its own. Ends when dropped, and with it everything that runs on it.
///
/// A TLS handshake or a large answer costs a millisecond of processor time; callers are served on another
/// thread and never notice.
pub struct Engine {
    handle: runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = Builder::new().name("bearerd-engine".to_owned()).spawn(move || {
            runtime.block_on(async {
                // Both an order to stop and a dropped sender mean the end.
                let _ = stopped.await;
            });
            // Work that blocks (reading a secret from a dead file system) must not keep the process.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> &runtime::Handle {
        &self.handle
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread had panicked");
        }
    }
}
