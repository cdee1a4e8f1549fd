//! One connection, one call after the other, caller and server on the same processor.
//!
//! On two processors a wake-up meets a running or a halted one, and the times say which; on one they say how much
//! work was done. Contestants take turns in random order, and only the ratio within a round counts.

use std::thread;

use super::{
    Bench, Outcome,
    bearerd::{self, Served},
    caller::{Ask, Caller, time},
    figures::{Row, Spread, median, micros},
    process::{Process, pin_this_thread},
    redis::Redis,
    reference,
};

/// Somebody who takes turns.
pub(crate) struct Contestant<'a> {
    pub(crate) process: &'a Process,
    pub(crate) caller: Box<dyn Ask + Send>,
}

/// What was measured of one contestant, a value for each round.
#[derive(Clone, Default)]
pub(crate) struct Times {
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    /// Processor time of the server for one call.
    pub(crate) cpu: Vec<f64>,
}

impl<'a> Contestant<'a> {
    /// A server, asked for the tokens of so many clients.
    pub(crate) fn new(bench: &Bench, served: &'a Served, clients: u32) -> Outcome<Self> {
        let caller = Caller::connect(&served.socket, &bench.script, served.expected, clients)?;
        Ok(Self { process: &served.process, caller: Box::new(caller) })
    }
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let ours = bearerd::start(bench, 10, &[])?;
    let theirs = reference::start(bench, ours.expected.length, &[])?;
    let redis = Redis::start(ours.expected.length);
    let mut contestants = vec![Contestant::new(bench, &ours, 1)?, Contestant::new(bench, &theirs, 1)?];
    if let Ok(redis) = &redis {
        contestants.push(Contestant { process: &redis.process, caller: Box::new(redis.connect()?) });
    }
    let times = compete(bench, contestants)?;
    let shown = |values: &[f64]| format!("{:.1} µs", median(values));
    let (ours, theirs) = (&times[0], &times[1]);
    let mut rows = vec![
        Row::at_most("2", "same CPU, sequential: p50", Spread::of_ratios(&ours.p50, &theirs.p50), 0.65)
            .from(shown(&ours.p50), shown(&theirs.p50)),
        Row::told("same CPU, sequential: p99", Spread::of_ratios(&ours.p99, &theirs.p99))
            .from(shown(&ours.p99), shown(&theirs.p99)),
        Row::told("same CPU, sequential: server CPU of a call", Spread::of_ratios(&ours.cpu, &theirs.cpu))
            .from(shown(&ours.cpu), shown(&theirs.cpu)),
    ];
    rows.push(match (&redis, times.get(2)) {
        (Ok(_), Some(redis)) => {
            let ratio = Spread::of_ratios(&ours.p50, &redis.p50);
            Row::at_most("2", "same CPU, sequential: p50 against a redis GET", ratio, 1.8)
                .from(shown(&ours.p50), format!("redis {}", shown(&redis.p50)))
        }
        (Err(error), _) => Row::not_measured("2: p50 against a redis GET", error),
        (Ok(_), None) => Row::not_measured("2: p50 against a redis GET", &"no times"),
    });
    Ok(rows)
}

/// Lets the contestants take turns; the times of each, in the order in which they were given.
pub(crate) fn compete(bench: &Bench, mut contestants: Vec<Contestant<'_>>) -> Outcome<Vec<Times>> {
    for contestant in &contestants {
        contestant.process.pin(CPU)?;
    }
    // A thread of its own, so that this one stays where it was.
    thread::scope(|scope| {
        let competing = scope.spawn(|| {
            pin_this_thread(CPU)?;
            let mut times = vec![Times::default(); contestants.len()];
            let mut order: Vec<usize> = (0..contestants.len()).collect();
            for _ in 0..bench.extent.rounds {
                fastrand::shuffle(&mut order);
                for &at in &order {
                    turn(&mut contestants[at], bench.extent.calls, &mut times[at])?;
                }
            }
            Ok(times)
        });
        competing.join().map_err(|_| "the callers' thread panicked")?
    })
}

fn turn(contestant: &mut Contestant<'_>, calls: usize, times: &mut Times) -> Outcome<()> {
    time(contestant.caller.as_mut(), calls / 10)?;
    let before = contestant.process.cpu()?;
    let took = time(contestant.caller.as_mut(), calls)?;
    let used = contestant.process.cpu()?.saturating_sub(before);
    let mut took: Vec<f64> = took.into_iter().map(micros).collect();
    took.sort_unstable_by(f64::total_cmp);
    times.p50.push(took[calls / 2]);
    times.p99.push(took[calls * 99 / 100]);
    times.cpu.push(micros(used) / f64::from(u32::try_from(calls)?));
    Ok(())
}

pub(crate) const CPU: &str = "0";
