//! Whether a caller notices that another user opens connections as fast as it can.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;

use super::{
    Bench, Outcome,
    bearerd::{self, Served},
    caller::{Ask as _, Caller},
    figures::{Row, Spread, median, micros},
    process::{Process, installed},
};

pub(crate) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    if !geteuid().is_root() {
        return Err("only root can have another user flood".into());
    }
    for tool in ["setpriv", "python3"] {
        installed(tool)?;
    }
    let served = bearerd::start(bench, CLIENTS, &[])?;
    fs::set_permissions(served.dir.path(), fs::Permissions::from_mode(0o755))?;
    let mut caller = Caller::connect(&served.socket, &bench.script, served.expected, 1)?;
    let span = Duration::from_millis(bench.extent.load_ms);
    quiet(&mut caller, span)?;
    let before = served.process.memory()?.rss;
    let (mut calm, mut flooded, mut tried, mut refused) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for _ in 0..bench.extent.rounds {
        thread::sleep(SETTLED);
        calm.push(quiet(&mut caller, span)?);
        let mut flood = Flood::start(&served, span)?;
        flooded.push(p99(&mut caller, || flood.goes_on())?);
        let (those, of_them_refused) = flood.told()?;
        tried.push(those);
        refused += of_them_refused;
    }
    let flood = served.process.memory()?.rss;
    let limit = before + before / 2 + 4 * 1024;
    let (after, when) = served.process.shrunk(limit)?;
    println!(
        "{} floods, each of {} connections, {refused:.0} refused in all: RSS {before} KiB before, {flood} KiB at the \
         end, {after} KiB {:.1} s later\n",
        tried.len(),
        Spread::of(tried),
        when.as_secs_f64()
    );
    let kib = |kib: u64| u32::try_from(kib).map(f64::from);
    let shown = |values: &[f64]| format!("{:.1} µs", median(values));
    let ratio = Spread::of_ratios(&flooded, &calm);
    Ok(vec![
        Row::at_most("3.3", "p99 during another user's flood", ratio, 3.0)
            .from(shown(&flooded), format!("quiet {}", shown(&calm))),
        Row::within("3.3", "RSS after the floods", kib(after)?, kib(limit)?, "KiB"),
    ])
}

fn quiet(caller: &mut Caller, span: Duration) -> Outcome<f64> {
    let begun = Instant::now();
    p99(caller, || Ok(begun.elapsed() < span))
}

/// Calls one after the other for as long as it goes on.
fn p99(caller: &mut Caller, mut goes_on: impl FnMut() -> Outcome<bool>) -> Outcome<f64> {
    let mut took = Vec::new();
    while goes_on()? {
        // To look costs a system call too.
        for _ in 0..CALLS_BETWEEN_LOOKS {
            let start = Instant::now();
            caller.ask()?;
            took.push(micros(start.elapsed()));
        }
    }
    took.sort_unstable_by(f64::total_cmp);
    Ok(took.get(took.len() * 99 / 100).copied().ok_or("the flood was over before the first call")?)
}

/// Another user who opens connections.
struct Flood {
    process: Process,
    log: PathBuf,
}

impl Flood {
    /// Starts one and waits until it has begun. It ends by itself.
    fn start(served: &Served, span: Duration) -> Outcome<Self> {
        let log = served.dir.path().join("flood.log");
        let mut command = Command::new("setpriv");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "python3", "-c", FLOOD]);
        command.arg(&served.socket).arg(span.as_secs_f64().to_string()).arg(LEAST.to_string()).arg(KEPT.to_string());
        let mut process = Process::spawn(&mut command, log.clone())?;
        let started = Instant::now();
        while !fs::read_to_string(&log)?.starts_with("go\n") {
            process.alive()?;
            if started.elapsed() > BEGIN {
                return Err("the flood does not begin".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { process, log })
    }

    fn goes_on(&mut self) -> Outcome<bool> {
        self.process.ended().map(|ended| !ended)
    }

    /// How many connections it tried to open, and how many of them failed.
    fn told(&self) -> Outcome<(f64, f64)> {
        let log = fs::read_to_string(&self.log)?;
        let mut words = log.split_whitespace().skip(1).map(str::parse::<u32>);
        let (tried, refused) = (words.next().ok_or("no count")??, words.next().ok_or("no count")??);
        if tried < LEAST {
            return Err(format!("a flood of only {tried} connections").into());
        }
        Ok((tried.into(), refused.into()))
    }
}

/// For so many seconds and until so many are opened, though not for ever; keeps the newest. What it sends is the
/// beginning of HTTP/2 (RFC 9113 section 3.4).
const FLOOD: &str = r#"
import collections, socket, sys, time
path, span, least, kept = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
tried = refused = 0
held = collections.deque()
print("go", flush=True)
begun = time.monotonic()
while True:
    took = time.monotonic() - begun
    if took > 20 or (took > span and tried >= least):
        break
    tried += 1
    caller = socket.socket(socket.AF_UNIX)
    held.append(caller)
    try:
        caller.connect(path)
        caller.send(preface)
    except OSError:
        refused += 1
    if len(held) > kept:
        held.popleft().close()
print(tried, refused)
"#;
const CLIENTS: u32 = 10;
const NOBODY: &str = "65534";
/// Connections of a flood at least.
const LEAST: u32 = 5_000;
/// Connections that are open at a time; a user may have 256.
const KEPT: u32 = 200;
const CALLS_BETWEEN_LOOKS: u32 = 32;
/// After a flood, what is left of it in the socket's queue (4,096 connections at most) has been dealt with.
const SETTLED: Duration = Duration::from_secs(1);
const BEGIN: Duration = Duration::from_secs(10);
