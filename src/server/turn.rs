//! Lets those who are connected go before those who connect.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::task::yield_now;

/// Ends after the runtime has looked for events, and so has found whoever waits for an answer.
///
/// [`yield_now`] alone ends as soon as its task is woken for whatever reason, and a task that accepts connections is
/// woken by each one that ends: in a flood, sixty of them come and go before events are looked for again.
pub(super) async fn next_turn() {
    let turn = Arc::new(Turn::default());
    let kept_until_it_has_looked = Waker::from(Arc::clone(&turn));
    let mut yielded = Some(Box::pin(yield_now()));
    poll_fn(|cx| {
        turn.task.register(cx.waker());
        if let Some(mut yielded) = yielded.take() {
            return yielded.as_mut().poll(&mut Context::from_waker(&kept_until_it_has_looked));
        }
        if turn.over.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[derive(Default)]
struct Turn {
    task: AtomicWaker,
    over: AtomicBool,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.over.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::Interest, net::UnixStream, task::JoinSet};

    use super::*;

    /// Whether an event that is there already is found before `wait` ends, in a task that is woken all the time.
    async fn finds_an_event(wait: impl Future<Output = ()> + Send + 'static) -> bool {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let found = Arc::new(AtomicBool::new(false));
        let finds = Arc::clone(&found);
        let mut event = JoinSet::new();
        event.spawn(async move {
            ours.ready(Interest::READABLE).await.unwrap();
            finds.store(true, Ordering::Relaxed);
        });
        // It waits, and the runtime has nothing to tell it.
        next_turn().await;
        next_turn().await;
        theirs.try_write(&[1]).unwrap();
        let mut first = JoinSet::new();
        first.spawn(async move {
            let woken = poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            tokio::select! { () = wait => {}, () = woken => {} }
            // Those who were woken before this task run before it.
            queue_again().await;
            found.load(Ordering::Relaxed)
        });
        event.join_next().await.unwrap().unwrap();
        first.join_next().await.unwrap().unwrap()
    }

    async fn queue_again() {
        let mut again = true;
        poll_fn(|cx| {
            if std::mem::take(&mut again) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn events_are_looked_for_before_the_next_turn_whatever_else_wakes_the_task() {
        assert!(finds_an_event(next_turn()).await);
        assert!(!finds_an_event(yield_now()).await, "then this module is not needed any more");
    }
}
