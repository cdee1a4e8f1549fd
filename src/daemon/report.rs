//! What the service manager is told: that the start is over, how the clients are doing, that nothing hangs.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{interval, sleep, timeout},
};

use crate::{
    moment::Moment,
    refresh::Registry,
    server::{Reloaded, Shared},
    systemd::Manager,
    token::{ClientName, ClientState, FailureKind},
};

/// Speaks to the service manager for one daemon.
pub(super) struct Report {
    manager: Manager,
    /// Whether the manager knows that the start is over.
    ready: watch::Sender<bool>,
    /// What went wrong with the last reload.
    refused: watch::Sender<Option<usize>>,
}

impl Report {
    pub(super) fn new(manager: Manager) -> Self {
        Self { manager, ready: watch::Sender::new(false), refused: watch::Sender::new(None) }
    }

    /// Tells that the start is over when the first round of token requests has ended, well or badly: an issuer's outage
    /// must not hold up the machine's start. Then tells how the clients are doing, at each change, for ever.
    pub(super) async fn report(&self, shared: &Shared) -> Infallible {
        if !self.manager.listens() {
            return std::future::pending().await;
        }
        let registry = &shared.registry;
        // A slow issuer is waited for as long as a person would; those who want to know more ask for its health.
        let _ = timeout(FIRST_ROUND, first_round(registry)).await;
        let mut pulses = registry.pulses();
        let mut refused = self.refused.subscribe();
        let mut since = Since::default();
        let mut told = String::new();
        loop {
            pulses.mark_unchanged();
            refused.mark_unchanged();
            let problems = *refused.borrow();
            let text = line(since.look(registry, shared.clock.now()), problems);
            let mut all = true;
            if text != told {
                all = self.manager.status(&text);
                // What was not told is told again.
                told = if all { text } else { String::new() };
            }
            if !*self.ready.borrow() {
                all &= self.manager.ready();
                self.ready.send_replace(all);
            }
            sleep(pause(registry)).await;
            if !all {
                continue;
            }
            tokio::select! {
                Ok(()) = pulses.changed() => {}
                Ok(()) = refused.changed() => {}
                else => return std::future::pending().await,
            }
        }
    }

    /// Tells that nothing hangs, for as long as nothing does: this must be polled where callers are served, and the engine
    /// has to answer each time.
    pub(super) async fn feed_watchdog(&self, engine: &Handle) -> Infallible {
        let Some(limit) = self.manager.watchdog() else { return std::future::pending().await };
        let mut ticks = interval(limit / 2);
        loop {
            ticks.tick().await;
            // An error means that the engine is gone; then nothing is told.
            if engine.spawn(async {}).await.is_ok() {
                self.manager.alive();
            }
        }
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        if *self.ready.borrow() {
            self.manager.reloading();
        }
    }

    /// A reload is over.
    pub(super) fn reloaded(&self, outcome: &Reloaded) {
        let problems = outcome.problems.len();
        self.refused.send_replace((problems > 0).then_some(problems));
        if *self.ready.borrow() && !self.manager.ready() {
            // Told again with the next line.
            self.ready.send_replace(false);
        }
    }

    /// The end begins.
    pub(super) fn stopping(&self, limit: Duration) {
        self.manager.stopping(limit);
    }
}

/// Ends when each client has a token, has failed to get one, or waits for somebody who wants one.
async fn first_round(registry: &Registry) {
    let mut pulses = registry.pulses();
    while registry.entries().values().any(|entry| entry.state() == ClientState::Starting) {
        // An error means that nothing changes any more.
        if pulses.changed().await.is_err() {
            return;
        }
        if registry.entries().len() > MANY {
            sleep(pause(registry) / 10).await;
        }
    }
}

/// How long it is until the clients are looked at again: who has many of them has many changes.
fn pause(registry: &Registry) -> Duration {
    SOON * u32::try_from(registry.entries().len() / MANY + 1).unwrap_or(u32::MAX)
}

/// Remembers since when clients have not been well.
#[derive(Default)]
struct Since(HashMap<ClientName, (Trouble, SystemTime)>);

/// What is wrong with a client, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The issuer refuses it.
    Refused,
    /// Its secret cannot be read.
    Secret,
    /// There is no token, and it will be tried again.
    Without,
    /// There is a token that could not be renewed.
    NotRenewed,
}

/// How many clients there are, how many of them callers can use, and those that are not well.
struct Look {
    clients: usize,
    ready: usize,
    starting: usize,
    unwell: Vec<(Trouble, SystemTime, ClientName)>,
}

impl Since {
    fn look(&mut self, registry: &Registry, now: Moment) -> Look {
        let entries = registry.entries();
        let mut look = Look { clients: entries.len(), ready: 0, starting: 0, unwell: Vec::new() };
        let mut before = std::mem::take(&mut self.0);
        for entry in entries.values() {
            let status = entry.status();
            let (state, record) = (status.snapshot.state(status.spoiled, now), &status.snapshot.failure);
            look.ready += usize::from(state.usable() || state == ClientState::Idle);
            look.starting += usize::from(state == ClientState::Starting);
            let unreadable = record.as_ref().is_some_and(|record| record.failure.kind == FailureKind::Misconfigured);
            let trouble = match state {
                ClientState::Rejected if unreadable => Trouble::Secret,
                ClientState::Rejected => Trouble::Refused,
                ClientState::Unavailable => Trouble::Without,
                ClientState::Degraded => Trouble::NotRenewed,
                ClientState::Fresh | ClientState::Idle | ClientState::Starting => continue,
            };
            let first = record.as_ref().map_or(now.wall, |record| record.at.wall);
            let since =
                before.remove(&entry.name).filter(|(then, _)| *then == trouble).map_or(first, |(_, since)| since);
            self.0.insert(entry.name.clone(), (trouble, since));
            look.unwell.push((trouble, since, entry.name.clone()));
        }
        look.unwell.sort_unstable();
        look
    }
}

/// One line for whoever types `systemctl status`.
fn line(look: Look, refused: Option<usize>) -> String {
    let Look { clients, ready, starting, unwell } = look;
    let noun = if clients == 1 { "client" } else { "clients" };
    let mut text = match clients {
        0 => "no clients configured".to_owned(),
        _ if ready == clients => format!("{clients} {noun} ready"),
        _ => format!("{ready} of {clients} {noun} ready"),
    };
    for (trouble, since, name) in unwell.iter().take(NAMED) {
        let what = match trouble {
            Trouble::Refused => "refused",
            Trouble::Secret => "without a readable secret",
            Trouble::Without => "without a token",
            Trouble::NotRenewed => "not refreshed",
        };
        let _ = write!(text, "; {name} {what} since {}", clock(*since));
    }
    if unwell.len() > NAMED {
        let _ = write!(text, "; and {} more", unwell.len() - NAMED);
    }
    if starting > 0 {
        let _ = write!(text, "; {starting} waiting for a token");
    }
    if let Some(problems) = refused {
        let noun = if problems == 1 { "problem" } else { "problems" };
        let _ = write!(text, "; new configuration not applied: {problems} {noun}, see the log");
    }
    text
}

/// `2026-11-25 10:02 UTC`
fn clock(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let minutes = text.get(..16).unwrap_or_default().replace('T', " ");
    format!("{minutes} UTC")
}

/// How long the first tokens are waited for before the manager is told that the service is up.
const FIRST_ROUND: Duration = Duration::from_secs(30);
/// How long after one line the next comes at the earliest.
const SOON: Duration = Duration::from_secs(1);
/// So many clients more make that a second longer.
const MANY: usize = 1_000;
/// Clients that are named.
const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn look(ready: usize, starting: usize, unwell: &[(&str, Trouble)]) -> Look {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_065_000);
        let unwell: Vec<_> =
            unwell.iter().map(|(name, trouble)| (*trouble, at, ClientName::parse(name).unwrap())).collect();
        Look { clients: ready + starting + unwell.len(), ready, starting, unwell }
    }

    #[test]
    fn the_line_says_how_many_are_well_and_who_is_not() {
        assert_eq!(line(look(0, 0, &[]), None), "no clients configured");
        assert_eq!(line(look(1, 0, &[]), None), "1 client ready");
        assert_eq!(line(look(3, 0, &[]), None), "3 clients ready");
        assert_eq!(
            line(look(11, 1, &[("wawex", Trouble::Refused), ("paysway", Trouble::Secret)]), None),
            "11 of 14 clients ready; wawex refused since 2025-11-25 10:03 UTC; paysway without a readable secret since \
             2025-11-25 10:03 UTC; 1 waiting for a token"
        );
        let five = ["a", "b", "c", "d", "e"].map(|name| (name, Trouble::Without));
        assert_eq!(
            line(look(0, 0, &five), Some(2)),
            "0 of 5 clients ready; a without a token since 2025-11-25 10:03 UTC; b without a token since 2025-11-25 \
             10:03 UTC; c without a token since 2025-11-25 10:03 UTC; and 2 more; new configuration not applied: 2 \
             problems, see the log"
        );
    }
}
