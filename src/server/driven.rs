//! The HTTP/2 connection, driven so that one reply is one write and no peer gets more than its share.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::UnixStream,
    time::{Instant, Sleep, sleep},
};

use super::{
    service::{Reflection, Services},
    session::Session,
    stream::{Drained, Outbox, Wire, split},
};

type Http2 = http2::Connection<TokioIo<Wire>, Services, InPlace>;

/// The HTTP/2 connection and what it wants to write.
///
/// The library writes into the outbox and believes it is flushed. Each time it has nothing more to say, the outbox is
/// emptied: headers, data and trailers of a reply, and the replies of many calls that were answered in one go, leave
/// in one write.
pub(super) struct Driven {
    http: Pin<Box<Http2>>,
    /// The library has ended; what it said last may still have to be written.
    over: bool,
    outbox: Outbox,
    session: Arc<Session>,
    turns: InPlace,
    nudge: Arc<Nudge>,
    /// [`Driven::nudge`] as the library holds it.
    waker: Waker,
    /// Runs while the peer takes nothing of what is written.
    blocked: Option<Pin<Box<Sleep>>>,
    /// Runs while there are replies that the peer gives no room for, with what had been taken when it began.
    untaken: Option<(Pin<Box<Sleep>>, Taken)>,
    /// How long the peer may take nothing.
    stall: Duration,
    /// The daemon goes.
    leaving: bool,
}

/// Calls that have ended, and bytes that have been written.
type Taken = (u32, u64);

impl Driven {
    pub(super) fn new(stream: UnixStream, session: Arc<Session>, reflection: Arc<Reflection>) -> Self {
        let (wire, outbox) = split(stream);
        let turns = InPlace(Arc::new(AtomicU32::new(0)));
        let http = http2::Builder::new(turns.clone())
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(LARGEST_HEADERS)
            .initial_stream_window_size(WINDOW)
            .max_pending_accept_reset_streams(Some(RESETS))
            .max_local_error_reset_streams(Some(ERRORS))
            .serve_connection(TokioIo::new(wire), Services::new(Arc::clone(&session), reflection));
        let nudge = Arc::new(Nudge::default());
        let waker = Waker::from(Arc::clone(&nudge));
        Self {
            http: Box::pin(http),
            over: false,
            outbox,
            session,
            turns,
            nudge,
            waker,
            blocked: None,
            untaken: None,
            stall: STALL,
            leaving: false,
        }
    }

    /// The daemon goes: a peer that takes nothing must not keep others from the next one. Whoever takes something, however
    /// slowly, is waited for.
    pub(super) fn hurry(&mut self) {
        (self.blocked, self.untaken) = (None, None);
        (self.stall, self.leaving) = (LEAVING, true);
    }

    /// Tells the peer that there will be no more (GOAWAY), and ends when all that was begun has ended.
    pub(super) fn shut_down(&mut self) {
        self.http.as_mut().graceful_shutdown();
    }

    /// Bytes that have been written to the peer.
    pub(super) fn written(&self) -> u64 {
        self.outbox.written()
    }

    /// Whether there is something that the peer has not taken yet.
    pub(super) fn unsent(&self) -> bool {
        self.outbox.unsent()
    }

    /// Whether the peer has greeted as HTTP/2 wants it.
    pub(super) fn greeted(&self) -> bool {
        self.outbox.greeted()
    }

    /// Polls the library until it has nothing more to do for itself.
    ///
    /// A call that is answered in place wakes the connection, which is just being polled: that is answered by polling
    /// once more, not by another run of the task for each call.
    fn poll_http(&mut self, cx: &Context<'_>) -> Poll<hyper::Result<()>> {
        self.nudge.begin(cx.waker());
        let mut own = Context::from_waker(&self.waker);
        let mut outcome = self.http.as_mut().poll(&mut own);
        if outcome.is_pending() && self.nudge.taken() {
            outcome = self.http.as_mut().poll(&mut own);
        }
        self.nudge.end();
        outcome
    }

    /// The peer does not take what is to be written. It is given some time.
    fn stalled(&mut self, progress: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let patience = self.stall;
        let stall = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
        if progress {
            stall.as_mut().reset(Instant::now() + patience);
        }
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The peer takes all that is written, but gives no room (RFC 9113 section 5.2) for replies that wait. They hold
    /// tokens, which must not be delivered when they have expired.
    fn hoarded(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.session.owes() {
            self.untaken = None;
            return Poll::Pending;
        }
        // Tokens expire while somebody takes them byte by byte; only at the end, which has one itself, is that progress.
        let taken = (self.session.ended(), if self.leaving { self.outbox.written() } else { 0 });
        let stall = self.stall;
        let (patience, seen) = self.untaken.get_or_insert_with(|| (Box::pin(sleep(stall)), taken));
        if *seen != taken {
            *seen = taken;
            patience.as_mut().reset(Instant::now() + stall);
        }
        match patience.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Future for Driven {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.turns.0.store(IN_PLACE, Ordering::Relaxed);
        this.outbox.refill();
        loop {
            if !this.over {
                match this.poll_http(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => this.over = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                }
            }
            match this.outbox.drain(cx)? {
                Drained::All | Drained::AllAndMoreWaits if this.over => return Poll::Ready(Ok(())),
                Drained::All => {
                    this.blocked = None;
                    return this.hoarded(cx);
                }
                Drained::AllAndMoreWaits => this.blocked = None,
                Drained::Blocked(progress) => return this.stalled(progress, cx),
            }
        }
    }
}

/// Wakes the connection's task, except while that is polling already.
#[derive(Default)]
struct Nudge {
    task: Mutex<Option<Waker>>,
    polling: AtomicBool,
    again: AtomicBool,
}

impl Nudge {
    fn begin(&self, task: &Waker) {
        let mut own = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !own.as_ref().is_some_and(|own| own.will_wake(task)) {
            *own = Some(task.clone());
        }
        self.polling.store(true, Ordering::Release);
    }

    /// Whether there was a wake since the poll began, or since this was asked last.
    fn taken(&self) -> bool {
        self.again.swap(false, Ordering::AcqRel)
    }

    /// From now on the task is woken; also for what came during the last poll.
    fn end(&self) {
        self.polling.store(false, Ordering::Release);
        if self.taken() {
            self.wake_task();
        }
    }

    fn wake_task(&self) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::Release);
        // Looked at after it was noted: whoever ends the poll at this moment sees the note.
        if !self.polling.load(Ordering::Acquire) && self.taken() {
            self.wake_task();
        }
    }
}

/// Answers a call where it is; only one that has to wait, or one of very many, becomes a task.
///
/// Holds how many calls may still be answered in place before others get their turn.
#[derive(Clone)]
struct InPlace(Arc<AtomicU32>);

impl<F> Executor<F> for InPlace
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "a call belongs to its connection's HTTP/2 state, which resets it when the connection goes; \
                  nobody could join it"
    )]
    fn execute(&self, call: F) {
        let mut call = Box::pin(call);
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
            // The waker of this one poll goes nowhere: a task polls at least once, with a waker of its own.
            let mut cx = Context::from_waker(Waker::noop());
            if call.as_mut().poll(&mut cx).is_ready() {
                return;
            }
        }
        tokio::spawn(call);
    }
}

/// Calls and streams at a time on one connection; the limit per user is lower or higher as configured.
const STREAMS: u32 = 1_024;
/// A gRPC request has a dozen short headers.
const LARGEST_HEADERS: u32 = 16 * 1024;
/// Bytes that a peer may send on one stream before they are read. Requests are small, and read at once.
const WINDOW: u32 = 32 * 1024;
/// Streams that a peer may open and reset before they were even looked at (CVE-2023-44487).
const RESETS: usize = 20;
/// Streams that are reset for the peer's mistakes before the connection is closed.
const ERRORS: usize = 256;
/// Calls answered in place before others get their turn.
const IN_PLACE: u32 = 32;
/// A peer that takes nothing for this long is gone or hostile.
const STALL: Duration = Duration::from_secs(30);
/// The same when the daemon goes.
const LEAVING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_nudge_is_never_lost() {
        let (counting, nudge) = (Arc::new(Counting::default()), Arc::new(Nudge::default()));
        let (task, waker) = (Waker::from(Arc::clone(&counting)), Waker::from(Arc::clone(&nudge)));
        let woken = || counting.0.load(Ordering::Relaxed);
        nudge.begin(&task);
        waker.wake_by_ref();
        assert!(nudge.taken() && woken() == 0, "while it polls it polls again");
        assert!(!nudge.taken());
        waker.wake_by_ref();
        nudge.end();
        assert_eq!(woken(), 1, "what came last runs the task again");
        waker.wake_by_ref();
        assert_eq!(woken(), 2, "between polls the task is woken");
        nudge.begin(&task);
        nudge.end();
        assert_eq!(woken(), 2);
    }
}
