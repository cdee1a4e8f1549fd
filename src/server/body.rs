//! What goes into a call and what comes out: a request that must arrive, and a reply that counts until it is taken.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::{reply::Refusal, session::Turn};

/// The messages of a request as they arrive: bounded in size, and in how long the next piece may take.
///
/// Without the latter a caller could keep any number of calls half begun, with the headers of each in our memory.
pub(super) struct RequestBody {
    incoming: Incoming,
    room: usize,
    patience: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// A request of at most so many bytes, framing included.
    pub(super) fn new(incoming: Incoming, room: usize) -> Self {
        Self { incoming, room, patience: None }
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
        let patience = this.patience.get_or_insert_with(|| Box::pin(sleep(ARRIVAL)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Some(Err(Refusal::Invalid("the rest of the request did not arrive within 30 s".into()).into())))
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
/// What gRPC puts before each message: one byte that says whether it is compressed, and four of its length.
pub(super) const PREFIX: usize = 5;
