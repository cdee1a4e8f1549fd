//! The tasks of a broker: begun in the runtime of whoever needs them, and counted, so that closing can wait for them.

use tokio::sync::watch;

/// The tasks. Each holds a receiver until it ends.
pub(crate) struct Tasks(watch::Sender<()>);

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Begins a task in the present runtime. It has to end by itself when the memory of its client is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alive = self.0.subscribe();
        #[expect(clippy::disallowed_methods, reason = "owned through the memory that ends it")]
        tokio::spawn(async move {
            task.await;
            drop(alive);
        });
    }

    /// Returns when there are none.
    pub(crate) async fn ended(&self) {
        self.0.closed().await;
    }
}
