//! When a client's token is renewed: `refresh`, `budget` and the keys beside them.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::shared::Shared;
use crate::{
    config::reader::{Keys, Table},
    token::RefreshPolicy,
};

pub(super) fn check(client: &Table<'_>, shared: &mut Shared) -> Arc<RefreshPolicy> {
    let default = RefreshPolicy::default();
    let table = client.key("refresh").table(&KEYS);
    let duration = |name, range, default| table.key(name).duration(range).unwrap_or(default);
    let (earliest, latest) = window(&table, &default);
    let policy = RefreshPolicy {
        earliest,
        latest,
        min_validity: duration("min_validity", &MIN_VALIDITY, default.min_validity),
        assumed_lifetime: client.key("assumed_lifetime").duration(&LIFETIME).unwrap_or(default.assumed_lifetime),
        retry_cap: duration("retry_cap", &RETRY, default.retry_cap),
        retry_cap_without_token: duration("retry_cap_without_token", &RETRY, default.retry_cap_without_token),
        refused_cap: duration("refused_cap", &LONG_RETRY, default.refused_cap),
        retry_after_cap: duration("retry_after_cap", &LONG_RETRY, default.retry_after_cap),
        prefetch: prefetch(client, &default),
        idle_after: client.key("idle_after").duration(&LIFETIME).or(default.idle_after),
        budget_per_day: client.key("budget").table(&BUDGET).key("per_day").whole(PER_DAY).or(default.budget_per_day),
    };
    shared.refresh(policy)
}

/// Whether the first token is fetched at start. Not where it would end another one that somebody may be using, unless
/// that is said to be meant.
fn prefetch(client: &Table<'_>, default: &RefreshPolicy) -> bool {
    let overlap = client.key("concurrency").choice(&CONCURRENCY).unwrap_or(true);
    client.key("prefetch").flag().unwrap_or(overlap && default.prefetch)
}

/// The part of a token's life in which it is renewed.
fn window(table: &Table<'_>, default: &RefreshPolicy) -> (f64, f64) {
    let (first, last) = (table.key("earliest"), table.key("latest"));
    let earliest = first.fraction(FRACTION).unwrap_or(default.earliest);
    let latest = last.fraction(FRACTION).unwrap_or(default.latest);
    if earliest > latest {
        let blamed = if first.is_set() { first } else { last };
        let remedy = format!("write earliest <= latest (defaults {} and {})", default.earliest, default.latest);
        blamed.problem("makes earliest later than latest", &remedy);
    }
    (earliest, latest)
}

pub(super) const KEYS: Keys = Keys {
    known: &[
        "earliest",
        "latest",
        "min_validity",
        "refused_cap",
        "retry_after_cap",
        "retry_cap",
        "retry_cap_without_token",
    ],
    planned: &[],
};

pub(super) const BUDGET: Keys = Keys { known: &["per_day"], planned: &[] };

/// Whether a new token leaves the old one valid.
const CONCURRENCY: [(&str, bool); 2] = [("exclusive", false), ("overlap", true)];
/// The last twentieth of a token's life is left for retries, however short the life.
const FRACTION: RangeInclusive<f64> = 0.01..=0.95;
const MIN_VALIDITY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const LIFETIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);
/// Under a second it would be no backoff; over an hour an outage would be noticed to be over too late.
const RETRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const LONG_RETRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const PER_DAY: RangeInclusive<u32> = 1..=1_000_000;
