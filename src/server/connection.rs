//! One connection from its acceptance to its end: who is it, how long may it be silent, when does it have to go.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::UnixStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Guest, Shared, conversation::Conversation, service::Reflection, session::Session};
use crate::access::Caller;

/// Serves a connection until the peer leaves, breaks a time limit or the daemon has drained.
pub(super) async fn serve(stream: UnixStream, guest: Guest, shared: Arc<Shared>, reflection: Arc<Reflection>) {
    let caller = Arc::new(guest.peer.learn().await);
    let session = Arc::new(Session::new(Arc::clone(&shared), Arc::clone(&caller), guest.seat));
    let mut phase = shared.phase.clone();
    let mut outgrown = pin!(outgrown(&shared, &caller));
    let mut conversation = Conversation::new(stream, Arc::clone(&session), reflection);
    let mut stage = Stage::Greeting;
    let mut leaving = false;
    let mut timer = pin!(sleep(stage.patience(&session)));
    loop {
        tokio::select! {
            biased;
            outcome = &mut conversation => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %error, "connection ended");
                }
                return;
            }
            () = super::drained(&mut phase), if !leaving => {
                leaving = true;
                let written = conversation.written();
                // A call that has just ended may be one that this ended.
                let used = session.open() > 0 || session.ended() > 0;
                stage = if used { Stage::Parting } else { Stage::ending(written) };
                conversation.hurry();
            }
            () = &mut outgrown, if !stage.is_last() => stage = Stage::ending(conversation.written()),
            () = &mut timer => {
                let Some(next) = stage.next(look(&session, &conversation)) else {
                    tracing::debug!(?stage, "connection closed, its time is over");
                    return;
                };
                stage = next;
            }
        }
        if stage.is_last() {
            conversation.shut_down();
        }
        timer.as_mut().reset(Instant::now() + stage.patience(&session));
    }
}

/// Ends when rules ask for something that nobody asked for when this caller connected. Its client connects again by
/// itself, and is then asked.
async fn outgrown(shared: &Shared, caller: &Caller) {
    let mut revisions = shared.registry.revisions();
    let mut admins = shared.admins.clone();
    while caller.was_asked(shared.needs()) {
        // An error means that nothing changes any more, which the phase tells.
        tokio::select! {
            Ok(()) = revisions.changed() => {}
            Ok(()) = admins.changed() => {}
            else => std::future::pending().await,
        }
    }
}

/// What a connection is given time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The preface and the first frame of the peer; beyond the limit, to be told so.
    Greeting,
    /// To make calls: so many had ended when it was looked at last.
    Serving { ended: u32 },
    /// To be told how the calls end that the end of the daemon ends. Some clients (grpclib) take the notice that there
    /// will be no more calls (GOAWAY) for the end of those under way.
    Parting,
    /// To end what was begun: so many bytes had been written to it when it was looked at last, so often in a row with
    /// nothing left to end.
    Ending { written: u64, idle: u32 },
}

/// What is looked at when time is up.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The peer has greeted as HTTP/2 wants it.
    greeted: bool,
    /// It has a place within the limits.
    served: bool,
    /// Calls and streams in progress.
    open: u32,
    /// A number that changes whenever one of them ends.
    ended: u32,
    /// Bytes that have been written to it.
    written: u64,
    /// There are more that it has not taken yet.
    unsent: bool,
}

impl Stage {
    fn patience(self, session: &Session) -> Duration {
        match self {
            Self::Greeting if session.is_served() => GREETING,
            Self::Greeting => TELLING,
            Self::Serving { .. } => session.shared.usage.idle(),
            Self::Parting => PARTING,
            Self::Ending { .. } => LAST_WORDS,
        }
    }

    fn ending(written: u64) -> Self {
        Self::Ending { written, idle: 0 }
    }

    /// Whether there will be no more calls.
    fn is_last(self) -> bool {
        matches!(self, Self::Ending { .. })
    }

    /// What comes when the time is over; `None`: the connection is closed.
    fn next(self, look: Look) -> Option<Self> {
        let Look { greeted, served, open, ended, written, unsent } = look;
        match self {
            Self::Greeting if !greeted => None,
            Self::Greeting if served => Some(Self::Serving { ended }),
            Self::Greeting | Self::Parting => Some(Self::ending(written)),
            Self::Serving { ended: before } if open == 0 && ended == before => Some(Self::ending(written)),
            Self::Serving { .. } => Some(Self::Serving { ended }),
            // Who has nothing to wait for and does not go is sent.
            Self::Ending { .. } if open > 0 => Some(Self::ending(written)),
            // An answer can have been given and be on its way still. What goes to it without end is no answer: it may make
            // us say something (PING, RFC 9113 section 6.7) as often as it likes.
            Self::Ending { written: before, idle } => {
                (unsent && written != before && idle < LAST_LOOKS).then_some(Self::Ending { written, idle: idle + 1 })
            }
        }
    }
}

fn look(session: &Session, conversation: &Conversation) -> Look {
    Look {
        greeted: conversation.greeted(),
        served: session.is_served(),
        open: session.open(),
        ended: session.ended(),
        written: conversation.written(),
        unsent: conversation.unsent(),
    }
}

/// Waits for open connections to end; after the deadline ends them. Returns how many had to be ended.
pub(super) async fn settle<T: 'static>(connections: &mut JoinSet<T>, deadline: Duration) -> usize {
    let all_done = async { while connections.join_next().await.is_some() {} };
    if timeout(deadline, all_done).await.is_err() {
        let left = connections.len();
        connections.shutdown().await;
        return left;
    }
    0
}

/// A peer that has not greeted this long after connecting is not going to.
const GREETING: Duration = Duration::from_secs(10);
/// How long a connection beyond the limit stays open to be told, or to get a place after all.
const TELLING: Duration = Duration::from_secs(2);
/// How often a peer that takes its last answers slowly is looked at again.
const LAST_LOOKS: u32 = 5;
/// How long the calls that the end of the daemon ends may take to be answered, before there are no more.
const PARTING: Duration = Duration::from_millis(50);
/// How long a peer that is told to go may take for that when nothing is under way.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Look = Look { greeted: true, served: true, open: 0, ended: 7, written: 9, unsent: false };

    #[test]
    fn who_does_not_greet_is_closed() {
        assert_eq!(Stage::Greeting.next(Look { greeted: false, ..GOOD }), None);
        assert_eq!(Stage::Greeting.next(Look { greeted: false, served: false, ..GOOD }), None);
        assert_eq!(Stage::Greeting.next(GOOD), Some(Stage::Serving { ended: 7 }));
    }

    #[test]
    fn who_is_beyond_the_limit_is_sent_away_unless_there_is_a_place_by_now() {
        assert_eq!(Stage::Greeting.next(Look { served: false, ..GOOD }), Some(Stage::ending(9)));
    }

    #[test]
    fn who_makes_no_calls_is_sent_away_and_a_stream_is_a_call() {
        assert_eq!(Stage::Serving { ended: 6 }.next(GOOD), Some(Stage::Serving { ended: 7 }));
        assert_eq!(Stage::Serving { ended: 7 }.next(GOOD), Some(Stage::ending(9)));
        assert_eq!(Stage::Serving { ended: 7 }.next(Look { open: 1, ..GOOD }), Some(Stage::Serving { ended: 7 }));
    }

    #[test]
    fn calls_that_the_end_ends_are_answered_before_the_notice() {
        assert!(!Stage::Parting.is_last());
        assert_eq!(Stage::Parting.next(Look { open: 1, ..GOOD }), Some(Stage::ending(9)));
    }

    #[test]
    fn what_was_begun_may_end_and_who_has_nothing_to_wait_for_goes() {
        assert_eq!(Stage::ending(9).next(Look { open: 1, ..GOOD }), Some(Stage::ending(9)));
        let more = Look { unsent: true, ..GOOD };
        assert_eq!(Stage::ending(8).next(more), Some(Stage::Ending { written: 9, idle: 1 }), "it takes its answers");
        assert_eq!(Stage::ending(9).next(more), None, "it takes nothing");
        assert_eq!(Stage::ending(8).next(GOOD), None, "what it took was no answer");
        assert_eq!(Stage::Ending { written: 8, idle: LAST_LOOKS }.next(more), None, "not for ever");
    }
}
