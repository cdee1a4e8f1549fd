//! From starting the process to the first answered call.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    Bench, Outcome,
    bearerd::{self, Prepared},
    caller::{Ask as _, Caller},
    figures::{Row, Spread, Verdict, median},
    process::Process,
    reference,
    wire::Expected,
};

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    // Its answer's length, and all files read once.
    let expected = bearerd::start(bench, 1, &[])?.expected;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.extent.starts {
        let prepared = Prepared::new(&bench.issuer, 1)?;
        ours.push(started(bench, &prepared.socket, expected, || prepared.spawn(bench, &[]))?);
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("r.sock");
        let spawn = || reference::spawn(bench, &socket, expected.length, &[], dir.path());
        theirs.push(started(bench, &socket, expected, spawn)?);
    }
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let shown = |values: &[f64]| format!("{:.1} (min {:.1})", median(values), least(values));
    let row = Row {
        goal: "8",
        figure: "start to first answered call, ms".to_owned(),
        ratio: Spread::of_ratios(&ours, &theirs).to_string(),
        limit: "< 10 ms".to_owned(),
        verdict: Verdict::of(median(&ours) < 10.0),
        ..Row::default()
    };
    Ok(vec![row.from(shown(&ours), shown(&theirs))])
}

/// Milliseconds from the start to the first answer; the process is ended after that.
fn started(bench: &Bench, socket: &Path, expected: Expected, spawn: impl FnOnce() -> Outcome<Process>) -> Outcome<f64> {
    let expected = Expected { give_or_take: 8, ..expected };
    let start = Instant::now();
    let mut process = spawn()?;
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(_) if start.elapsed() > PATIENCE => return Err("does not listen".into()),
            Err(_) => {
                process.alive()?;
                thread::sleep(Duration::from_micros(50));
            }
        }
    };
    Caller::over(stream, &bench.script, expected, 1)?.ask()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    process.stop(Signal::SIGTERM)?;
    Ok(took)
}

const PATIENCE: Duration = Duration::from_secs(10);
