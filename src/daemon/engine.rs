//! The thread on which refreshers and token requests run.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
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
    /// Disconnected when the thread is about to end.
    ended: Mutex<Receiver<()>>,
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
        let (ending, ended) = mpsc::channel::<()>();
        let thread = Builder::new().name("bearerd-engine".to_owned()).spawn(move || {
            let _ending = ending;
            runtime.block_on(async {
                // Both an order to stop and a dropped sender mean the end.
                let _ = stopped.await;
            });
            // Work that blocks (reading a secret from a dead file system) must not keep the process.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread), ended: Mutex::new(ended) })
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> &runtime::Handle {
        &self.handle
    }
}

/// How long the thread may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stop.take());
        // An error means that it has ended, which the next line is about.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // It ends with the process.
            return tracing::error!("the engine's thread hangs");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread had panicked");
        }
    }
}
