//! The stream behind WatchToken: the current state at once, then every change, newest wins.

use std::{pin::Pin, sync::Arc};

use futures_util::stream::{Stream, unfold};
use tonic::Status;

use super::{
    convert,
    reply::{PENDING, Refusal, Told},
    session::{Session, Shared},
};
use crate::{
    access::Caller,
    moment::{BootTime, Moment},
    pb::v1::{self, watch_token_response::State},
    refresh::{Authorized, handle::Follower},
    token::{AccessToken, Refused, RequestHeader, Verdict},
};

/// A stream of states. Each poll looks at what is current, so a slow reader never sees an old one.
pub(super) type TokenStream = Pin<Box<dyn Stream<Item = Result<v1::WatchTokenResponse, Status>> + Send>>;

/// Begins to follow a client on behalf of a connection's caller.
pub(super) fn follow(session: &Session, client: &str) -> Result<TokenStream, Refusal> {
    let granted = session.grant(client)?;
    let watcher = Watcher {
        follower: granted.handle().follow(),
        granted,
        shared: Arc::clone(&session.shared),
        caller: Arc::clone(&session.caller),
        told: None,
    };
    Ok(Box::pin(unfold(Some(watcher), |watcher| async {
        let (watcher, item) = watcher?.next().await;
        // A status ends the stream.
        let watcher = item.is_ok().then_some(watcher);
        Some((item, watcher))
    })))
}

struct Watcher {
    granted: Authorized,
    follower: Follower,
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    told: Option<Seen>,
}

/// What the reader was told last.
#[derive(PartialEq)]
enum Seen {
    Token(Arc<AccessToken>, Arc<[RequestHeader]>),
    /// The reason, when it was found, and when the issuer is asked next.
    Unavailable(&'static str, Option<Moment>, Option<BootTime>),
}

impl Watcher {
    /// Waits until there is something else to tell than before.
    async fn next(mut self) -> (Self, Result<v1::WatchTokenResponse, Status>) {
        let mut revisions = self.shared.registry.revisions();
        let mut phase = self.shared.phase.clone();
        loop {
            revisions.mark_unchanged();
            if let Err(refusal) = self.regrant() {
                return (self, Err(refusal.into()));
            }
            if let Some(news) = self.news() {
                return (self, Ok(v1::WatchTokenResponse { state: Some(news) }));
            }
            tokio::select! {
                () = super::drained(&mut phase) => return (self, Err(Refusal::Draining.into())),
                // An error means that the registry is gone, which the phase tells.
                _ = revisions.changed() => {}
                alive = self.follower.changed() => if !alive {
                    // Replaced or removed; the registry is about to say which.
                    let _ = revisions.changed().await;
                }
            }
        }
    }

    /// Asks again whether the caller may have this client, and moves to its successor if it was replaced.
    fn regrant(&mut self) -> Result<(), Refusal> {
        let name = self.granted.entry().name.clone();
        let granted = self
            .shared
            .registry
            .grant(name.as_str(), &self.caller)
            .map_err(|denied| Refusal::of_denied(denied, name.as_str(), &self.caller))?;
        if !granted.handle().same_client(self.granted.handle()) {
            self.follower = granted.handle().follow();
        }
        self.granted = granted;
        Ok(())
    }

    fn news(&mut self) -> Option<State> {
        let (seen, state) = match self.follower.current() {
            Verdict::Serve(token, _) => {
                let entry = self.granted.entry();
                let now = self.shared.clock.now();
                let state = State::Token(convert::token(&entry.name, &token, &entry.request_headers, now));
                (Seen::Token(token, Arc::clone(&entry.request_headers)), state)
            }
            Verdict::Refuse(refused) => {
                let now = self.shared.clock.now();
                let (found, next) = match &refused {
                    Refused::Failing { record, next_attempt_at } => (Some(record.at), *next_attempt_at),
                    _ => (None, None),
                };
                let client = self.granted.entry().name.as_str().into();
                let told = Refusal::NoToken { client, refused, now }.told();
                let at = told.retry_in.map(|wait| convert::timestamp(now.wall + wait));
                (Seen::Unavailable(told.reason, found, next), unavailable(&told, at))
            }
            Verdict::Report(_) | Verdict::Wait(_) => {
                let told = Told {
                    code: tonic::Code::Unavailable,
                    reason: PENDING,
                    text: format!("a token for `{}` is on its way", self.granted.entry().name),
                    retry_in: None,
                };
                (Seen::Unavailable(PENDING, None, None), unavailable(&told, None))
            }
        };
        let fresh = self.told.as_ref() != Some(&seen);
        self.told = Some(seen);
        fresh.then_some(state)
    }
}

fn unavailable(told: &Told, next_attempt_at: Option<prost_types::Timestamp>) -> State {
    State::Unavailable(v1::Unavailable {
        code: i32::from(told.code),
        reason: told.reason.to_owned(),
        message: told.text.clone(),
        next_attempt_at,
    })
}
