//! Sends from a thread of its own: whoever does not read must not stop those who serve callers.

use std::{
    io,
    sync::mpsc::{self, SyncSender, TrySendError},
    thread::{Builder, sleep},
    time::Duration,
};

use tokio::time::Instant;

/// Where things to send are put. Clones put into the same one.
#[derive(Debug)]
pub(super) struct Outbox<T>(SyncSender<Item<T>>);

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

enum Item<T> {
    Send(T),
    /// Everything before this has been sent.
    Mark(SyncSender<()>),
}

impl<T: Send + 'static> Outbox<T> {
    /// Has `send` called with each thing, one after the other, on a thread of this name. At most `room` of them wait.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(name: &str, room: usize, mut send: impl FnMut(T) + Send + 'static) -> io::Result<Self> {
        let (sender, items) = mpsc::sync_channel(room);
        Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
            for item in items {
                match item {
                    Item::Send(thing) => send(thing),
                    // Whoever waited may have given up.
                    Item::Mark(reached) => drop(reached.try_send(())),
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Puts a thing in, to be sent later. Returns whether there was room for it.
    pub(super) fn put(&self, thing: T) -> bool {
        self.0.try_send(Item::Send(thing)).is_ok()
    }

    /// Waits until all that was put in has been sent, for so long at most. Returns whether it has.
    pub(super) fn flush(&self, at_most: Duration) -> bool {
        let (reached, waits) = mpsc::sync_channel(1);
        let began = Instant::now();
        let mut mark = Item::Mark(reached);
        // There is no waiting for room with a time limit.
        while let Err(TrySendError::Full(back)) = self.0.try_send(mark) {
            if began.elapsed() >= at_most {
                return false;
            }
            mark = back;
            sleep(AGAIN);
        }
        waits.recv_timeout(at_most.saturating_sub(began.elapsed())).is_ok()
    }
}

/// How often it is looked whether there is room.
const AGAIN: Duration = Duration::from_millis(10);
/// Enough for a system call.
const STACK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn things_are_sent_in_order_and_nobody_waits_for_room() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (gate, opened) = mpsc::sync_channel::<()>(0);
        let seen = Arc::clone(&sent);
        let outbox = Outbox::start("test", 2, move |thing| {
            // Whoever reads does not, until the gate is opened, or gone.
            let _ = opened.recv();
            seen.lock().unwrap().push(thing);
        })
        .unwrap();
        let room = (0..100).filter(|number| outbox.put(*number)).count();
        assert!((2..=3).contains(&room), "{room}: two wait, and one may be on its way");
        assert!(!outbox.flush(Duration::ZERO));
        drop(gate);
        while !outbox.flush(Duration::from_secs(20)) {}
        assert_eq!(*sent.lock().unwrap(), (0..room).collect::<Vec<_>>());
    }
}
