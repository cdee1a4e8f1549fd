//! Many clients: what each costs in memory, what they cost while nothing happens, and whether a call notices them.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Bench, Outcome,
    bearerd::{self, Served},
    figures::{Row, Spread, median},
    issuer::TOKEN_LENGTH,
    sequential::{Contestant, compete},
};

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut daemons = Vec::new();
    for clients in [FEW, SOME, MANY, MOST] {
        let started = Instant::now();
        daemons.push((clients, bearerd::start(bench, clients, &[])?));
        println!("{clients} clients: all have a token after {:.1} s", started.elapsed().as_secs_f64());
    }
    // Connections to the issuer and idle threads go away.
    thread::sleep(SETTLE);
    let mut rows = idle(bench, &daemons)?;
    rows.extend(memory(&daemons)?);
    rows.extend(calls(bench, &daemons)?);
    println!();
    Ok(rows)
}

/// Wake-ups and processor time while nothing is due.
fn idle(bench: &Bench, daemons: &[(u32, Served)]) -> Outcome<Vec<Row>> {
    let look = || -> Outcome<Vec<(u64, Duration)>> {
        daemons.iter().map(|(_, served)| Ok((served.process.wake_ups()?, served.process.cpu()?))).collect()
    };
    let before = look()?;
    let span = Duration::from_secs(bench.extent.idle_s);
    thread::sleep(span);
    let after = look()?;
    let mut rows = Vec::new();
    for (((clients, _), before), after) in daemons.iter().zip(before).zip(after) {
        let wake_ups = f64::from(u32::try_from(after.0 - before.0)?) / span.as_secs_f64();
        let cpu = (after.1.saturating_sub(before.1)).as_secs_f64() * 1e3 / span.as_secs_f64();
        let (figure, unit) = (format!("{clients} clients, idle: wake-ups ({cpu:.3} ms CPU a second)"), "/s");
        rows.push(match *clients {
            SOME => Row::within("7", &figure, wake_ups, A_FEW_SECONDS, unit),
            MOST => Row::within("7", &figure, wake_ups, CLOCK_WATCH, unit),
            _ => Row { figure, ours: format!("{wake_ups:.2} {unit}"), ..Row::default() },
        });
    }
    Ok(rows)
}

fn memory(daemons: &[(u32, Served)]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    let mut fewest = None;
    for (clients, served) in daemons {
        let memory = served.process.memory()?;
        let kib = |kib: u64| u32::try_from(kib).map(f64::from);
        println!("{clients} clients: RSS {} KiB, of it anonymous {} KiB", memory.rss, memory.anonymous);
        let Some(fewest) = fewest else {
            let figure = format!("{clients} clients, idle: RSS");
            rows.push(Row::within("7", &figure, kib(memory.rss)? / 1024.0, 12.0, "MiB"));
            fewest = Some(memory.rss);
            continue;
        };
        let token = f64::from(u32::try_from(TOKEN_LENGTH)?);
        let each = kib(memory.rss.saturating_sub(fewest))? * 1024.0 / f64::from(clients - FEW);
        let figure = format!("{clients} clients: memory of each beside its token");
        let row = Row::within("7", &figure, (each - token) / 1024.0, 2.0, "KiB");
        rows.push(if *clients >= MANY { row } else { continue });
    }
    Ok(rows)
}

/// The same calls as with few clients, which is the goal, and calls for the tokens of all clients in random order,
/// whose memory no cache holds.
fn calls(bench: &Bench, daemons: &[(u32, Served)]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, most) in [("the same calls", FEW), ("calls for any of them", MOST)] {
        let contestants: Outcome<Vec<_>> =
            daemons.iter().map(|(clients, served)| Contestant::new(bench, served, most.min(*clients))).collect();
        let times = compete(bench, contestants?)?;
        let shown = |values: &[f64]| format!("{:.1} µs", median(values));
        for ((clients, _), those) in daemons.iter().zip(&times).filter(|((clients, _), _)| *clients >= MANY) {
            let figure = format!("{clients} clients: p50 of {what}");
            let ratio = Spread::of_ratios(&those.p50, &times[0].p50);
            let judged = *clients == MOST && most == FEW;
            let row = if judged { Row::at_most("7", &figure, ratio, SAME) } else { Row::told(&figure, ratio) };
            rows.push(row.from(shown(&those.p50), format!("{FEW} clients {}", shown(&times[0].p50))));
        }
    }
    Ok(rows)
}

const FEW: u32 = 10;
const SOME: u32 = 100;
const MANY: u32 = 10_000;
const MOST: u32 = 100_000;
/// The HTTP client keeps connections for 20 s, and looks at them as often.
pub(crate) const SETTLE: Duration = Duration::from_secs(45);
/// Once every few seconds.
const A_FEW_SECONDS: f64 = 0.33;
/// One look at the clocks every 30 s is part of the contract; a look more may fall into the time that is watched.
const CLOCK_WATCH: f64 = 0.05;
/// How far paired times of equal work can be apart.
const SAME: f64 = 1.1;
