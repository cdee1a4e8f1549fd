//! What a call costs in user instructions (callgrind) and in system calls (strace): both are repeatable.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    Bench, Outcome,
    bearerd::{self, Served},
    caller::{Caller, time},
    figures::{Row, Spread, Verdict},
    process::{Process, installed},
    reference,
};

/// Goal 1. Counted by callgrind, which also says where they are spent.
pub(crate) fn instructions(bench: &Bench) -> Outcome<Vec<Row>> {
    for tool in ["valgrind", "callgrind_control", "callgrind_annotate"] {
        installed(tool)?;
    }
    let dir = tempfile::tempdir()?;
    let (ours_at, theirs_at) = (dir.path().join("bearerd"), dir.path().join("reference"));
    let ours = bearerd::start(bench, 10, &callgrind(&out_file(&ours_at)))?;
    let length = ours.expected.length;
    let (ours, ours_in) = (counted(bench, &ours, &ours_at)?, &ours_at);
    let theirs = counted(bench, &reference::start(bench, length, &callgrind(&out_file(&theirs_at)))?, &theirs_at)?;
    println!("Where bearerd spends the {ours:.0} instructions of a call (callgrind, percent of them):");
    for line in hottest(ours_in)? {
        println!("    {line}");
    }
    println!();
    let row =
        Row::at_most("1", "user instructions of a sequential call (callgrind)", Spread::of([ours / theirs]), 0.65);
    Ok(vec![row.from(format!("{ours:.0}"), format!("{theirs:.0}"))])
}

fn out_file(at: &Path) -> String {
    format!("--callgrind-out-file={}", at.display())
}

/// Starts without counting: neither the start nor the warm-up is wanted.
fn callgrind(out_file: &str) -> [&str; 4] {
    ["valgrind", "--tool=callgrind", "--instr-atstart=no", out_file]
}

/// Instructions of one call, after a warm-up.
fn counted(bench: &Bench, served: &Served, out: &Path) -> Outcome<f64> {
    let calls = bench.extent.counted;
    let mut caller = Caller::connect(&served.socket, &bench.script, served.expected, 1)?;
    time(&mut caller, calls / 4)?;
    control(&served.process, "--instr=on")?;
    time(&mut caller, calls)?;
    control(&served.process, "--dump")?;
    let text = fs::read_to_string(dump(out))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("callgrind wrote no totals")?;
    let total: u32 = total.trim().parse()?;
    Ok(f64::from(total) / f64::from(u32::try_from(calls)?))
}

/// Gives an order to callgrind.
fn control(process: &Process, order: &str) -> Outcome<()> {
    // The environment says where valgrind's pipes are; the server has none of it either.
    let mut command = Command::new("callgrind_control");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").arg(order).arg(process.pid().to_string());
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("callgrind_control: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn dump(out: &Path) -> PathBuf {
    out.with_extension("1")
}

/// The functions in which most instructions are spent.
fn hottest(out: &Path) -> Outcome<Vec<String>> {
    let output = Command::new("callgrind_annotate").arg("--auto=no").arg(dump(out)).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| {
        let (share, function) = line.trim().split_once('%')?;
        let share = share.split_once('(')?.1.trim();
        let function = function.trim_start_matches(')').trim();
        let name = function.split_once(':').map_or(function, |(_, name)| name);
        Some(format!("{share:>5} {}", name.split(" [").next().unwrap_or(name)))
    });
    Ok(lines.filter(|line| !line.contains("PROGRAM TOTALS")).take(SHOWN).collect())
}

/// Goal 4.
pub(crate) fn system_calls(bench: &Bench) -> Outcome<Vec<Row>> {
    installed("strace")?;
    let ours = bearerd::start(bench, 10, &[])?;
    let theirs = reference::start(bench, ours.expected.length, &[])?;
    let (ours, theirs) = (traced(bench, &ours)?, traced(bench, &theirs)?);
    for (name, calls) in [("bearerd", &ours), ("reference", &theirs)] {
        let each: Vec<_> = calls.iter().map(|(name, number)| format!("{number:.2} {name}")).collect();
        println!("System calls of a call, {name}: {}", each.join(", "));
    }
    println!();
    let (ours, theirs): (f64, f64) = (ours.values().sum(), theirs.values().sum());
    let row = Row {
        goal: "4",
        figure: "system calls of a sequential call (strace)".to_owned(),
        ratio: format!("{:.2}", ours / theirs),
        limit: "3".to_owned(),
        // Timers of the daemon may run while it is traced.
        verdict: Verdict::of((2.95..=3.05).contains(&ours)),
        ..Row::default()
    };
    Ok(vec![row.from(format!("{ours:.2}"), format!("{theirs:.2}"))])
}

/// System calls of one call, by name: the difference between two runs, so that what is done once does not count.
fn traced(bench: &Bench, served: &Served) -> Outcome<BTreeMap<String, f64>> {
    let calls = bench.extent.counted;
    let mut caller = Caller::connect(&served.socket, &bench.script, served.expected, 1)?;
    let once = trace(served, &mut caller, calls)?;
    let twice = trace(served, &mut caller, 2 * calls)?;
    let calls = f64::from(u32::try_from(calls)?);
    let each = twice.into_iter().map(|(name, number)| {
        let more = f64::from(number) - f64::from(once.get(&name).copied().unwrap_or_default());
        (name, more / calls)
    });
    Ok(each.filter(|(_, number)| *number >= 0.005).collect())
}

fn trace(served: &Served, caller: &mut Caller, calls: usize) -> Outcome<BTreeMap<String, u32>> {
    let out = served.dir.path().join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-p", &served.process.pid().to_string(), "-o"]).arg(&out);
    let mut strace = Process::spawn(&mut command, served.dir.path().join("strace.log"))?;
    let started = Instant::now();
    while !served.process.traced()? {
        strace.alive()?;
        if started.elapsed() > ATTACH {
            return Err("strace does not attach".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    time(caller, calls)?;
    strace.stop(Signal::SIGINT)?;
    let text = fs::read_to_string(out)?;
    // "% time  seconds  usecs/call  calls  [errors]  syscall", and a total.
    let lines = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        Some(((*words.last()?).to_owned(), words.get(3)?.parse().ok()?))
    });
    Ok(lines.filter(|(name, _)| name != "total").collect())
}

/// Functions that are listed.
const SHOWN: usize = 25;
const ATTACH: Duration = Duration::from_secs(10);
