//! What a peer speaks, told by its first bytes: gRPC over HTTP/2, or HTTP/1.1.

use std::{
    io,
    os::fd::AsRawFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{io::Interest, net::UnixStream};

use super::{driven::Driven, service::Reflection, session::Session, view::Viewed};

/// A connection's conversation; ends with the connection.
pub(super) enum Conversation {
    /// The peer has said nothing yet.
    Opening(Option<Opening>),
    /// HTTP/2 with the services of gRPC.
    Grpc(Driven),
    /// HTTP/1.1 with the JSON view.
    Plain(Viewed),
}

/// What is needed for either.
pub(super) struct Opening {
    stream: UnixStream,
    session: Arc<Session>,
    reflection: Arc<Reflection>,
    /// The daemon goes.
    leaving: bool,
}

impl Conversation {
    pub(super) fn new(stream: UnixStream, session: Arc<Session>, reflection: Arc<Reflection>) -> Self {
        Self::Opening(Some(Opening { stream, session, reflection, leaving: false }))
    }

    /// The daemon goes: a peer that takes nothing must not keep others from the next one.
    pub(super) fn hurry(&mut self) {
        match self {
            Self::Opening(opening) => opening.iter_mut().for_each(|opening| opening.leaving = true),
            Self::Grpc(driven) => driven.hurry(),
            Self::Plain(viewed) => viewed.hurry(),
        }
    }

    /// Tells the peer that there will be no more, and ends when all that was begun has ended. One that has said nothing yet
    /// is told nothing: what it would understand is not known, and that it is closed it understands in any case.
    pub(super) fn shut_down(&mut self) {
        match self {
            Self::Opening(_) => {}
            Self::Grpc(driven) => driven.shut_down(),
            Self::Plain(viewed) => viewed.shut_down(),
        }
    }

    /// Bytes that have been written to the peer.
    pub(super) fn written(&self) -> u64 {
        match self {
            Self::Opening(_) => 0,
            Self::Grpc(driven) => driven.written(),
            Self::Plain(viewed) => viewed.written(),
        }
    }

    /// Whether the peer has greeted as its protocol wants it.
    pub(super) fn greeted(&self) -> bool {
        match self {
            Self::Opening(_) => false,
            Self::Grpc(driven) => driven.greeted(),
            Self::Plain(viewed) => viewed.greeted(),
        }
    }

    /// Whether there are answers that the peer has not taken yet and that no call counts.
    pub(super) fn unsent(&self) -> bool {
        matches!(self, Self::Grpc(driven) if driven.unsent())
    }
}

impl Future for Conversation {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Self::Opening(opening) = this {
            let Some(waiting) = opening else { return Poll::Ready(Ok(())) };
            let speaks = ready!(waiting.poll_heard(cx))?;
            let Some(opening) = opening.take() else { return Poll::Ready(Ok(())) };
            let leaving = opening.leaving;
            *this = match speaks {
                Speaks::Http2 => opening.grpc(),
                Speaks::Http1 => opening.plain(),
            };
            if leaving {
                this.hurry();
            }
        }
        match this {
            Self::Opening(_) => Poll::Ready(Ok(())),
            Self::Grpc(driven) => Pin::new(driven).poll(cx),
            Self::Plain(viewed) => Pin::new(viewed).poll(cx),
        }
    }
}

impl Opening {
    /// Waits for the first bytes, and leaves them where they are.
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<Speaks>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            if let Some(speaks) = self.heard()? {
                return Poll::Ready(Ok(speaks));
            }
        }
    }

    /// What the first bytes say, if they are there.
    fn heard(&self) -> io::Result<Option<Speaks>> {
        let mut first = [0; PREFACE.len()];
        let look = || Ok(recv(self.stream.as_raw_fd(), &mut first, MsgFlags::MSG_PEEK)?);
        match self.stream.try_io(Interest::READABLE, look) {
            Ok(length) => Ok(Some(Speaks::of(first.get(..length).unwrap_or_default()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn grpc(self) -> Conversation {
        Conversation::Grpc(Driven::new(self.stream, self.session, self.reflection))
    }

    fn plain(self) -> Conversation {
        Conversation::Plain(Viewed::new(self.stream, self.session))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

impl Speaks {
    /// No method of HTTP/1.1 begins like the preface of HTTP/2 (RFC 9113 section 3.4), which was chosen for that. What may
    /// be either yet, and what is neither, is taken for the one that is meant to be spoken here.
    fn of(first: &[u8]) -> Self {
        let begins = |method: &&[u8; 4]| method.starts_with(first);
        if METHODS.iter().any(begins) && !PREFACE.starts_with(first) { Self::Http1 } else { Self::Http2 }
    }
}

/// How the methods of HTTP/1.1 begin (RFC 9110 section 9, RFC 5789). The view answers them all, if only to say no.
const METHODS: [&[u8; 4]; 9] = [b"CONN", b"DELE", b"GET ", b"HEAD", b"OPTI", b"PATC", b"POST", b"PUT ", b"TRAC"];
/// As much of the preface of HTTP/2 as tells it from a method.
const PREFACE: &[u8; 4] = b"PRI ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        for http2 in [&b"PRI "[..], b"PRI", b"P", b"", b"PROP", b"EHLO", b"INVA", b"get ", b"\x16\x03\x01\x02"] {
            assert_eq!(Speaks::of(http2), Speaks::Http2, "{http2:?}");
        }
        for http1 in [&b"GET "[..], b"POST", b"PUT ", b"HEAD", b"G", b"PO", b"PU", b"OPTI"] {
            assert_eq!(Speaks::of(http1), Speaks::Http1, "{http1:?}");
        }
    }
}
