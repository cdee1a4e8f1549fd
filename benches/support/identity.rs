//! What it costs to find out what kind of process a caller is: on a connection that is open, nothing; on a new one,
//! some files of `/proc`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{Uid, geteuid, seteuid};

use super::{
    Bench, Outcome,
    bearerd::{self, Served, Settings},
    caller::{Ask as _, Caller},
    figures::{Row, Spread, median, micros},
    process::pin_this_thread,
    sequential::{CPU, Contestant, compete},
};

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let start = |allow| -> Outcome<Served> {
        let served = bearerd::start_with(bench, CLIENTS, Settings { allow, ..Settings::default() })?;
        fs::set_permissions(served.dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(served)
    };
    let (facts, plain) = (start(FACTS)?, start(PLAIN)?);
    if !geteuid().is_root() {
        println!("Not root: calls are those of the daemon's own user, for whom no rule is looked at.\n");
    }
    Ok(vec![open(bench, &facts, &plain)?, fresh(bench, &facts, &plain)?])
}

/// Calls on a connection that is open: the facts were learnt when it was made, and only the rules are looked at.
fn open(bench: &Bench, facts: &Served, plain: &Served) -> Outcome<Row> {
    let contestants = {
        let _stranger = Guise::put_on()?;
        vec![Contestant::new(bench, facts, 1)?, Contestant::new(bench, plain, 1)?]
    };
    let times = compete(bench, contestants)?;
    let shown = |values: &[f64]| format!("{:.1} µs", median(values));
    let ratio = Spread::of_ratios(&times[0].p50, &times[1].p50);
    Ok(Row::at_most("3.2", "a call on an open connection, with facts of the process", ratio, 1.05)
        .from(shown(&times[0].p50), shown(&times[1].p50)))
}

/// To connect, make one call and close, in turns.
fn fresh(bench: &Bench, facts: &Served, plain: &Served) -> Outcome<Row> {
    let turns = bench.extent.rounds * bench.extent.calls / 20;
    let [facts, plain] = visits(bench, [facts, plain], turns)?;
    let difference = median(&facts) - median(&plain);
    let [facts, plain] = [facts, plain].map(Spread::of);
    println!("connect, call, close: with facts {facts} µs, without {plain} µs, {turns} times each\n");
    let row = Row::within("3.2", "connect, call, close: more with facts", difference, 150.0, "µs");
    Ok(Row { theirs: format!("of {:.1} µs", plain.median), ..row })
}

/// How long each visit took, in microseconds.
fn visits(bench: &Bench, served: [&Served; 2], turns: usize) -> Outcome<[Vec<f64>; 2]> {
    for served in served {
        served.process.pin(CPU)?;
    }
    // A thread of its own, so that this one stays where it was.
    thread::scope(|scope| {
        let calling = scope.spawn(|| -> Outcome<[Vec<f64>; 2]> {
            pin_this_thread(CPU)?;
            let _stranger = Guise::put_on()?;
            let mut times = [Vec::new(), Vec::new()];
            let mut order = [0, 1];
            for turn in 0..turns + turns / 10 {
                fastrand::shuffle(&mut order);
                for at in order {
                    let took = visit(bench, served[at])?;
                    // The first ones warm up.
                    if turn >= turns / 10 {
                        times[at].push(micros(took));
                    }
                }
            }
            Ok(times)
        });
        calling.join().map_err(|_| "the callers' thread panicked")?
    })
}

fn visit(bench: &Bench, served: &Served) -> Outcome<Duration> {
    let start = Instant::now();
    let mut caller = Caller::connect(&served.socket, &bench.script, served.expected, 1)?;
    caller.ask()?;
    drop(caller);
    Ok(start.elapsed())
}

/// This process looks like one of another user to whom it connects to, until it is dropped: no rule is looked at for
/// root and for the daemon's own user. Who is not root stays who it is.
struct Guise(Uid);

impl Guise {
    fn put_on() -> Outcome<Option<Self>> {
        let own = geteuid();
        if !own.is_root() {
            return Ok(None);
        }
        seteuid(Uid::from_raw(NOBODY))?;
        Ok(Some(Self(own)))
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        // Nothing that comes later would be what it should be.
        assert_eq!(seteuid(self.0), Ok(()), "root is root again");
    }
}

const CLIENTS: u32 = 10;
const PLAIN: &str = "{ uid = 4000000001 }, { any = true }";
/// Asks for all there is to ask.
const FACTS: &str = r#"{ unit = "no-such.service" }, { slice = "no.slice" }, { exe = "/bin/true" }, { gid = 4000000003 }, { any = true }"#;
const NOBODY: u32 = 65_534;
