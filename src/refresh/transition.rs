//! One log line for each change of a client's state, and none otherwise.

use crate::{
    moment::Moment,
    token::{ClientName, ClientState, FailureKind, Snapshot},
};

/// What the log was told last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transition {
    state: ClientState,
    reason: Option<FailureKind>,
    /// The state in the last line.
    logged: ClientState,
}

impl Transition {
    pub(super) fn new(idle: bool) -> Self {
        let state = if idle { ClientState::Idle } else { ClientState::Starting };
        Self { state, reason: None, logged: state }
    }

    /// Logs the state if it is another one than before. Returns whether it is.
    pub(super) fn tell(&mut self, name: &ClientName, snapshot: &Snapshot, spoiled: u64, now: Moment) -> bool {
        let state = snapshot.state(spoiled, now);
        let reason = snapshot.failure.as_ref().map(|record| record.failure.kind);
        let logged = self.logged;
        let before = std::mem::replace(self, Self { state, reason, logged });
        let changed = before.state != state;
        // An idle client that somebody asks for is about to have a token: the line about that will do.
        let expected = logged == ClientState::Idle && state == ClientState::Starting;
        if !expected && (logged != state || (before.reason != reason && reason.is_some())) {
            self.log(logged, name, snapshot, now);
            self.logged = state;
        }
        changed
    }

    fn log(self, before: ClientState, name: &ClientName, snapshot: &Snapshot, now: Moment) {
        let record = snapshot.failure.as_deref();
        let failure = record.map(|record| record.failure.kind.reason());
        let error = record.map(|record| &*record.failure.text);
        let retry_in_s = snapshot.next_attempt_at.map(|at| at.since(now.boot).as_secs());
        let token_id = snapshot.token.as_ref().map(|token| tracing::field::display(token.id));
        let valid_for_s = snapshot.token.as_ref().map(|token| token.remaining(now).as_secs());
        let (client, was, state) = (name.as_str(), before.word(), self.state.word());
        match self.state {
            ClientState::Fresh => {
                tracing::info!(name: "client-fresh", client, was, state, token_id, valid_for_s, "token is fresh");
            }
            ClientState::Degraded => {
                tracing::warn!(
                    name: "client-degraded",
                    client,
                    was,
                    state,
                    failure,
                    error,
                    token_id,
                    valid_for_s,
                    retry_in_s,
                    "refresh failed; the present token is still served"
                );
            }
            ClientState::Unavailable | ClientState::Rejected => {
                tracing::error!(
                    name: "client-down", client, was, state, failure, error, retry_in_s, "no usable token"
                );
            }
            ClientState::Starting => tracing::info!(client, was, state, "requesting a token"),
            ClientState::Idle => tracing::info!(client, was, state, "idle; the next caller starts a request"),
        }
    }
}
