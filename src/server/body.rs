//! What goes into a call and what comes out: a request that must arrive, and a reply that counts until it is taken.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::sleep;
use tonic::Status;

use super::{
    drained,
    reply::Refusal,
    session::{Session, Turn},
};
use crate::lifecycle::Lifecycle;

/// The messages of a request as they arrive: bounded in size, and in how long the next piece may take.
///
/// Without the latter a caller could keep any number of calls half begun, with the headers of each in our memory.
pub(super) struct RequestBody {
    incoming: Incoming,
    room: usize,
    session: Arc<Session>,
    patience: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl RequestBody {
    /// A request of at most so many bytes, framing included.
    pub(super) fn new(incoming: Incoming, room: usize, session: Arc<Session>) -> Self {
        Self { incoming, room, session, patience: None }
    }

    /// Ends when the next piece should have arrived; soon when the daemon goes, as nobody may hold that up.
    fn overdue(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut phase = self.session.shared.phase.clone();
        Box::pin(async move {
            let leaving = async {
                drained(&mut phase).await;
                sleep(LAST_PIECE).await;
            };
            tokio::select! {
                () = sleep(ARRIVAL) => {}
                () = leaving => {}
            }
        })
    }

    fn within(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.room.checked_sub(length) {
            Some(room) => {
                self.room = room;
                Ok(frame)
            }
            None => Err(Refusal::Invalid("the request is larger than any that makes sense here".into()).into()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            this.patience = None;
            // An error means that the caller has gone or reset the call; nobody reads what is said to that.
            let frame = frame.map(|frame| frame.map_err(|error| Status::cancelled(error.to_string())));
            return Poll::Ready(frame.map(|frame| this.within(frame?)));
        }
        let mut patience = this.patience.take().unwrap_or_else(|| this.overdue());
        if patience.as_mut().poll(cx).is_pending() {
            this.patience = Some(patience);
            return Poll::Pending;
        }
        let leaving = *this.session.shared.phase.borrow() >= Lifecycle::Draining;
        let late = || Refusal::Invalid("the rest of the request did not arrive within 30 s".into());
        Poll::Ready(Some(Err(if leaving { Refusal::Draining } else { late() }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What answers a call: a reply of one message that was written here, or whatever a generated service says.
pub(super) enum Answer {
    /// One message with its prefix, then the trailers of a success.
    Message(Option<Bytes>, Option<HeaderMap>),
    Service(tonic::body::Body),
}

/// An answer on its way; the call counts until the peer has taken it.
pub struct ReplyBody {
    answer: Answer,
    _turn: Option<Turn>,
}

impl ReplyBody {
    pub(super) fn new(answer: Answer, turn: Option<Turn>) -> Self {
        Self { answer, _turn: turn }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut self.get_mut().answer {
            Answer::Message(message, trailers) => {
                let frame = message.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            Answer::Service(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.answer {
            Answer::Message(message, trailers) => message.is_none() && trailers.is_none(),
            Answer::Service(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Message(..) => SizeHint::default(),
            Answer::Service(body) => body.size_hint(),
        }
    }
}

/// How long the next piece of a request may take. It is a few bytes that the caller sends in one go.
const ARRIVAL: Duration = Duration::from_secs(30);
/// The same when the daemon goes.
const LAST_PIECE: Duration = Duration::from_secs(1);
/// What gRPC puts before each message: one byte that says whether it is compressed, and four of its length.
pub(super) const PREFIX: usize = 5;
