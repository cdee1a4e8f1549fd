//! One connection: HTTP/2 over the wire, driven so that one reply is one write.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::UnixStream,
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    service::{Reflection, Services},
    session::Session,
    stream::{Drained, Outbox, Wire, split},
};
use crate::lifecycle::Phase;

type Http2 = http2::Connection<TokioIo<Wire>, Services, InPlace>;

/// Serves a connection until the peer leaves, breaks a time limit or the daemon has drained.
pub(super) async fn serve(stream: UnixStream, session: Arc<Session>, reflection: Arc<Reflection>, mut phase: Phase) {
    let served = session.within_limits();
    let (wire, outbox) = split(stream);
    let http = http2::Builder::new(InPlace)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LARGEST_HEADERS)
        .serve_connection(TokioIo::new(wire), Services::new(session, reflection));
    let mut driven = Driven { http: Box::pin(http), over: false, outbox: outbox.clone(), stall: None };
    let greeting = sleep(GREETING);
    let telling = sleep(TELLING);
    tokio::pin!(greeting, telling);
    let mut draining = false;
    let mut greeted = false;
    loop {
        tokio::select! {
            biased;
            outcome = &mut driven => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %error, "connection ended");
                }
                return;
            }
            () = super::drained(&mut phase), if !draining => {
                draining = true;
                driven.http.as_mut().graceful_shutdown();
            }
            () = &mut greeting, if !greeted => {
                if !outbox.greeted() {
                    tracing::debug!("connection said nothing; closed");
                    return;
                }
                greeted = true;
            }
            // Over the limit: long enough for a call to be told so.
            () = &mut telling, if !served => return,
        }
    }
}

/// The HTTP/2 connection and what it wants to write.
///
/// The library writes into the outbox and believes it is flushed. Each time it has nothing more to say, the
/// outbox is emptied: headers, data and trailers of a reply, and the replies of many calls that were answered in
/// one go, leave in one write.
struct Driven {
    http: Pin<Box<Http2>>,
    /// The library has ended; what it said last may still have to be written.
    over: bool,
    outbox: Outbox,
    /// Runs while the peer takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Future for Driven {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if !this.over {
                match this.http.as_mut().poll(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => this.over = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                }
            }
            match this.outbox.drain(cx)? {
                Drained::All | Drained::AllAndMoreWaits if this.over => return Poll::Ready(Ok(())),
                Drained::All => {
                    this.stall = None;
                    return Poll::Pending;
                }
                Drained::AllAndMoreWaits => this.stall = None,
                Drained::Blocked(progress) => return this.stalled(progress, cx),
            }
        }
    }
}

impl Driven {
    /// The peer does not take what is to be written. It is given some time.
    fn stalled(&mut self, progress: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        if progress {
            stall.as_mut().reset(Instant::now() + STALL);
        }
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Answers a call where it is; only one that has to wait becomes a task.
#[derive(Clone, Copy)]
struct InPlace;

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
        // The waker of this one poll goes nowhere: a task polls at least once, with a waker of its own.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if call.as_mut().poll(&mut cx).is_pending() {
            tokio::spawn(call);
        }
    }
}

/// Waits for open connections to end; after the deadline ends them. Returns how many had to be ended.
pub(super) async fn settle<T: 'static>(connections: &mut tokio::task::JoinSet<T>, deadline: Duration) -> usize {
    let all_done = async { while connections.join_next().await.is_some() {} };
    if timeout(deadline, all_done).await.is_err() {
        let left = connections.len();
        connections.shutdown().await;
        return left;
    }
    0
}

/// Calls and streams at a time on one connection; the limit per user is lower or higher as configured.
const STREAMS: u32 = 1_024;
/// A gRPC request has a dozen short headers.
const LARGEST_HEADERS: u32 = 16 * 1024;
/// A peer that has said nothing for this long after connecting is not going to.
const GREETING: Duration = Duration::from_secs(10);
/// How long a connection beyond the limit stays open to be told.
const TELLING: Duration = Duration::from_secs(2);
/// A peer that takes nothing for this long is gone or hostile.
const STALL: Duration = Duration::from_secs(30);
