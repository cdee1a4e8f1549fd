//! One connection from its acceptance to its end: who is it, how long may it be silent, when does it have to go.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::UnixStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{driven::Driven, service::Reflection, session::Session};
use crate::lifecycle::Phase;

/// Serves a connection until the peer leaves, breaks a time limit or the daemon has drained.
pub(super) async fn serve(stream: UnixStream, session: Arc<Session>, reflection: Arc<Reflection>, mut phase: Phase) {
    let mut driven = Driven::new(stream, Arc::clone(&session), reflection);
    let mut stage = Stage::Greeting;
    let mut timer = pin!(sleep(stage.patience(&session)));
    loop {
        tokio::select! {
            biased;
            outcome = &mut driven => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %error, "connection ended");
                }
                return;
            }
            () = super::drained(&mut phase), if stage != Stage::Ending => stage = Stage::Ending,
            () = &mut timer => match stage.next(&session, driven.greeted()) {
                Some(next) => stage = next,
                None => return,
            }
        }
        if stage == Stage::Ending {
            driven.shut_down();
        }
        timer.as_mut().reset(Instant::now() + stage.patience(&session));
    }
}

/// What a connection is given time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The preface and the first frame of the peer; beyond the limit, to be told so.
    Greeting,
    /// To make calls: so many had ended when it was looked at last.
    Serving { ended: u32 },
    /// To end what was begun.
    Ending,
}

impl Stage {
    fn patience(self, session: &Session) -> Duration {
        match self {
            Self::Greeting if session.is_served() => GREETING,
            Self::Greeting => TELLING,
            Self::Serving { .. } => session.shared.usage.idle(),
            Self::Ending => LAST_WORDS,
        }
    }

    /// What comes when the time is over; `None`: the connection is closed.
    fn next(self, session: &Session, greeted: bool) -> Option<Self> {
        let ended = session.ended();
        let idle = session.open() == 0;
        match self {
            Self::Greeting if session.is_served() && greeted => Some(Self::Serving { ended }),
            Self::Greeting if !greeted => {
                tracing::debug!("connection did not greet; closed");
                None
            }
            Self::Greeting => Some(Self::Ending),
            Self::Serving { ended: before } if idle && ended == before => Some(Self::Ending),
            Self::Serving { .. } => Some(Self::Serving { ended }),
            // Who has nothing to wait for and does not go is sent.
            Self::Ending => (!idle).then_some(Self::Ending),
        }
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
/// How long a peer that is told to go may take for that when nothing is under way.
const LAST_WORDS: Duration = Duration::from_secs(1);
