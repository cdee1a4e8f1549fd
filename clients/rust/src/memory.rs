//! What is known of one client: its token, and how the stream that brings it is doing.
//!
//! The stream's task and the calls write, readers read. All of it is one value behind a watch channel, so that nobody sees
//! half a change; the token at hand lies beside it for the readers that need no more than that.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    Error, Token, clock,
    judgement::{State, Verdict, Watch},
    token::Facts,
};

/// The memory of one client.
pub(crate) struct Memory {
    state: watch::Sender<State>,
    /// The token while it may be handed out without a look at the state: each change of the state sets it.
    at_hand: ArcSwapOption<Facts>,
    /// Raised when a reader wants the next attempt now.
    pub(crate) hurry: Notify,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State::default()), at_hand: ArcSwapOption::empty(), hurry: Notify::new() }
    }

    /// The token if it is good for this long. Takes no lock.
    pub(crate) fn at_hand(&self, min_validity: Duration) -> Option<Token> {
        let held = self.at_hand.load();
        held.as_ref()
            .filter(|facts| facts.are_good_for(min_validity, clock::now()))
            .map(|facts| Token(Arc::clone(facts)))
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What a reader is to do now.
    pub(crate) fn judge(&self, min_validity: Duration) -> Verdict {
        self.state.borrow().judge(min_validity, clock::now(), Instant::now())
    }

    /// The token, whatever the stream does, if it is good for a use now.
    pub(crate) fn usable(&self) -> Option<Token> {
        self.state.borrow().usable(Duration::ZERO, clock::now())
    }

    /// Whether the stream stands.
    pub(crate) fn stands(&self) -> bool {
        matches!(self.state.borrow().watch, Watch::Stands { .. })
    }

    /// Whether the daemon can be asked now, and if not, what to do.
    pub(crate) fn reach(&self) -> Verdict {
        self.state.borrow().reach(Instant::now())
    }

    /// Whether it falls to the one who asks to begin following the client. True for one only.
    pub(crate) fn falls_to_me(&self) -> bool {
        self.change(|state| matches!(state.watch, Watch::Idle) && state.put(Watch::Beginning))
    }

    /// The next attempt begins.
    pub(crate) fn begin(&self) {
        self.change(|state| state.put(Watch::Beginning));
    }

    /// The stream has brought a token. Says whether it is another one.
    pub(crate) fn arrived(&self, token: Token) -> bool {
        let mut another = false;
        self.change(|state| {
            another = state.token.as_ref().is_none_or(|held| held.id() != token.id());
            let open = state.put(Watch::Stands { unavailable: None });
            if open {
                state.token = Some(token);
            }
            open
        });
        another
    }

    /// The stream says that there is no token.
    pub(crate) fn unavailable(&self, error: Error) {
        self.change(|state| {
            state.token = None;
            state.put(Watch::Stands { unavailable: Some(error) })
        });
    }

    /// The stream has ended, or none came about; the attempt that led to it was over at that time.
    pub(crate) fn lost(&self, error: Error, attempted: Instant) {
        self.change(|state| {
            if error.fails_closed() {
                state.token = None;
            }
            state.put(Watch::Lost { error, attempted })
        });
    }

    /// A call has brought a token, which is kept if it is a newer one.
    pub(crate) fn keep(&self, token: &Token) {
        self.change(|state| {
            let newer = state.token.as_ref().is_none_or(|held| token.is_newer_than(held));
            if !newer || matches!(state.watch, Watch::Closed) {
                return false;
            }
            state.token = Some(token.clone());
            if let Watch::Stands { unavailable } = &mut state.watch {
                *unavailable = None;
            }
            true
        });
    }

    /// An API has refused the token of this id: if it is the one in memory, nobody is to get it until the value is dropped.
    pub(crate) fn withhold(self: &Arc<Self>, id: &str) -> Withheld {
        self.change(|state| {
            let held = state.token.as_ref().is_some_and(|held| held.id() == id);
            if held {
                state.reported = Some(id.to_owned());
            }
            held
        });
        Withheld { memory: Arc::clone(self), id: id.to_owned() }
    }

    /// Nobody follows the client any more, because the runtime that did is gone.
    pub(crate) fn forsake(&self) {
        self.change(|state| state.put(Watch::Idle));
    }

    /// The end: readers are told so, and tasks end.
    pub(crate) fn close(&self) {
        self.change(|state| {
            state.token = None;
            state.put(Watch::Closed)
        });
    }

    /// Returns when it is closed.
    pub(crate) async fn closed(&self) {
        // The sender is part of what is borrowed here.
        let _ = self.state.subscribe().wait_for(|state| matches!(state.watch, Watch::Closed)).await;
    }

    /// Makes a change, and wakes whoever waits for one if it says that it did.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        self.state.send_if_modified(|state| {
            let changed = change(state);
            self.at_hand.store(state.at_hand().map(|token| Arc::clone(&token.0)));
            changed
        })
    }
}

/// A token that nobody is to get for now.
pub(crate) struct Withheld {
    memory: Arc<Memory>,
    id: String,
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.memory.change(|state| state.reported.take_if(|reported| *reported == self.id).is_some());
    }
}
