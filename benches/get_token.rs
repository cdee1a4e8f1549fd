//! What a token costs: `cargo bench --bench get_token [-- quick] [PART...] [bearerd=PATH]`
//!
//! Runs the real daemon beside a bare tonic echo of a payload of the same size (benches/reference) and prints
//! ratios, which carry over to other machines, as times do not. Exits with an error if something could not be
//! measured; a goal that was missed is printed as that. Wants taskset, valgrind, strace and redis-server, and for the
//! flood root, setpriv and python3; touches loopback and Unix sockets only.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a tool for developers: it may stop with a panic, and it measures with the machine's own clocks"
)]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
};

use support::{
    Bench, Extent, Outcome,
    figures::{self, Row},
    flood, identity,
    issuer::Issuer,
    load, memory, process, reference, sequential, start, tools, watch,
    wire::Script,
};

/// A measurement by its name on the command line.
type Part = (&'static str, &'static str, fn(&Bench) -> Outcome<Vec<Row>>);

const PARTS: [Part; 9] = [
    ("instructions", "1: user instructions", tools::instructions),
    ("calls", "4: system calls", tools::system_calls),
    ("start", "8: start", start::measure),
    ("sequential", "2: sequential", sequential::measure),
    ("load", "3: 64 in flight", load::measure),
    ("watch", "3.1: idle watch streams", watch::measure),
    ("identity", "3.2: what identifying a caller costs", identity::measure),
    ("flood", "3.3: another uid's p99 during a flood of 5,000 connections", flood::measure),
    ("memory", "7: many clients", memory::measure),
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("NOT MEASURED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything that was asked for was measured.
fn run() -> Outcome<bool> {
    // Cargo adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = words.iter().any(|word| word == "quick");
    let other = words.iter().find_map(|word| word.strip_prefix("bearerd="));
    let named = |name: &str| words.iter().any(|word| word == name);
    let all = !PARTS.iter().any(|(name, ..)| named(name));
    let built = PathBuf::from(env!("CARGO_BIN_EXE_bearerd"));
    let target = built.parent().and_then(Path::parent).ok_or("no target directory")?;
    let bench = Bench {
        reference: reference::build(target)?,
        bearerd: other.map_or(built.clone(), PathBuf::from),
        issuer: Issuer::start()?,
        script: Arc::new(Script::record()?),
        extent: if quick { Extent::QUICK } else { Extent::FULL },
    };
    println!("{}\n{}\n", machine()?, bench.bearerd.display());
    let mut rows = Vec::new();
    for (_, what, measure) in PARTS.iter().filter(|(name, ..)| all || named(name)) {
        let measured = measure(&bench).unwrap_or_else(|error| vec![Row::not_measured(what, &error)]);
        figures::print(&measured);
        rows.extend(measured);
    }
    println!("All of it, ratios as median [quartiles] of {} rounds:\n", bench.extent.rounds);
    figures::print(&rows);
    Ok(rows.iter().all(|row| row.verdict.measured()))
}

/// The machine, and whether it has something else to do.
fn machine() -> Outcome<String> {
    let first_line =
        |path: &str| -> Outcome<String> { Ok(fs::read_to_string(path)?.lines().next().unwrap_or_default().to_owned()) };
    let rustc = Command::new("rustc").arg("--version").output()?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = first_line("/proc/loadavg")?;
    let busy = load.split('.').next().is_some_and(|whole| whole != "0");
    Ok(format!(
        "{} processors ({}), Linux {}, {}, load {}{}",
        process::cpu_count()?,
        model.trim_matches(['\t', ':', ' ']),
        first_line("/proc/sys/kernel/osrelease")?,
        String::from_utf8_lossy(&rustc.stdout).trim(),
        load.split(' ').next().unwrap_or_default(),
        if busy { ": THE MACHINE IS BUSY WITH SOMETHING ELSE, times and rates mean little" } else { "" }
    ))
}
