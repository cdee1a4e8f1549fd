//! One connection as its calls see it: who is calling, and what the calls work on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    admin::{Loaded, Reloaded},
    limits::{Seat, Usage},
    reply::Refusal,
};
use crate::{
    access::{Caller, Decision, Needs, Policy},
    clock::Clock,
    lifecycle::Phase,
    refresh::{Authorized, Registry},
};

/// What all connections share.
pub struct Shared {
    /// The clients.
    pub registry: Arc<Registry>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where the daemon is in its life.
    pub phase: Phase,
    /// Who may administer; changes with the configuration.
    pub admins: watch::Receiver<Policy>,
    /// What was loaded, for `GetInfo`.
    pub loaded: watch::Receiver<Loaded>,
    /// Where orders to reload go.
    pub reloads: mpsc::Sender<oneshot::Sender<Reloaded>>,
    /// What callers have in use.
    pub usage: Arc<Usage>,
    /// Whether the view over HTTP/1.1 is on.
    pub http: bool,
}

impl Shared {
    /// Which facts about callers the configuration asks for now.
    pub(super) fn needs(&self) -> Needs {
        self.registry.needs().and(self.admins.borrow().needs())
    }
}

/// One connection.
pub struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Arc<Caller>,
    seat: Seat,
    /// Calls and streams in progress on this connection.
    open: AtomicU32,
    /// Replies that are written but that the peer has not taken.
    owed: AtomicU32,
    /// Calls and streams that have ended, taken or not.
    ended: AtomicU32,
}

/// A counted call or stream of a connection; it counts until it is dropped.
pub(super) struct Turn {
    session: Arc<Session>,
    owed: bool,
}

impl Turn {
    /// The call is answered; now it is up to the peer to take that.
    pub(super) fn owe(&mut self) {
        if !std::mem::replace(&mut self.owed, true) {
            self.session.owed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let session = &self.session;
        if self.owed {
            session.owed.fetch_sub(1, Ordering::Relaxed);
        }
        session.open.fetch_sub(1, Ordering::Relaxed);
        session.ended.fetch_add(1, Ordering::Relaxed);
        session.seat.end_call();
    }
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, caller: Arc<Caller>, seat: Seat) -> Self {
        let none = || AtomicU32::new(0);
        Self { shared, caller, seat, open: none(), owed: none(), ended: none() }
    }

    /// Lets a call begin. While the daemon drains, too: what can be answered at once is, and whoever would have to wait
    /// finds out; a caller whose call crossed the notice that there will be no more (GOAWAY) need not know.
    ///
    /// # Errors
    /// The caller's user has too much in use.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Turn, Refusal> {
        let full = |full| Refusal::TooMany { full, caller: Arc::clone(&self.caller) };
        self.seat.settle().map_err(full)?;
        self.seat.begin_call().map_err(full)?;
        Ok(self.turn())
    }

    /// Lets a health check begin, which nothing keeps out: it must not fail because others take too much.
    pub(super) fn admit_probe(self: &Arc<Self>) -> Turn {
        self.seat.begin_probe();
        self.turn()
    }

    fn turn(self: &Arc<Self>) -> Turn {
        self.open.fetch_add(1, Ordering::Relaxed);
        Turn { session: Arc::clone(self), owed: false }
    }

    /// Whether the connection has a place within the limits.
    pub(super) fn is_served(&self) -> bool {
        self.seat.is_served()
    }

    /// Calls and streams in progress on this connection.
    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether there are replies that the peer has not taken.
    pub(super) fn owes(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
    }

    /// A number that changes whenever a call or stream ends.
    pub(super) fn ended(&self) -> u32 {
        self.ended.load(Ordering::Relaxed)
    }

    /// The client of that name, if this caller may use it.
    pub(super) fn grant(&self, client: &str) -> Result<Authorized, Refusal> {
        if client.is_empty() {
            return Err(Refusal::Invalid("`client` is empty; name the client, as in `[clients.NAME]`".into()));
        }
        self.shared
            .registry
            .grant(client, &self.caller)
            .map_err(|denied| Refusal::of_denied(denied, client, &self.caller))
    }

    /// Lets administrators pass.
    pub(super) fn administer(&self, what: &'static str) -> Result<(), Refusal> {
        match self.shared.admins.borrow().decide(&self.caller) {
            Decision::Denied { unidentified } => {
                Err(Refusal::NotAllowed { what: what.into(), unidentified, caller: Arc::clone(&self.caller) })
            }
            Decision::AllowedAsOwner | Decision::AllowedBy(..) => Ok(()),
        }
    }

    pub(super) fn is_administrator(&self) -> bool {
        self.shared.admins.borrow().allows(&self.caller)
    }
}

/// When the caller stops waiting: its own deadline (`grpc-timeout`), or `default` from now, or never later than an
/// hour, which is longer than anybody waits.
pub(super) fn deadline(headers: &HeaderMap, default: Duration) -> Instant {
    let own = headers.get("grpc-timeout").and_then(|value| grpc_timeout(value.as_bytes()));
    Instant::now() + own.unwrap_or(default).min(LONGEST)
}

/// `1*8DIGIT` and a unit, as the gRPC protocol over HTTP/2 has it.
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount.saturating_mul(3_600)),
        b'M' => Duration::from_secs(amount.saturating_mul(60)),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

const LONGEST: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        let read = |text: &str| grpc_timeout(text.as_bytes());
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("1M"), Some(Duration::from_secs(60)));
        assert_eq!((read("7u"), read("7n")), (Some(Duration::from_micros(7)), Some(Duration::from_nanos(7))));
        for bad in ["", "S", "5", "5s", "123456789S", "-1S", "1.5S", "+1S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
