//! A process that is measured, and what the kernel says about it.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, gettid},
};

use super::Outcome;

/// A child process. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) anonymous: u64,
}

impl Process {
    /// Starts it with all its output in the file `log`.
    pub(crate) fn spawn(command: &mut Command, log: PathBuf) -> Outcome<Self> {
        let out = fs::File::create(&log)?;
        let what = command.get_program().to_owned();
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().map_err(|error| format!("{} cannot be started: {error}", what.display()))?;
        Ok(Self { child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended, with the last it said.
    pub(crate) fn alive(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("ended with {status}: {}", self.last_words()).into()),
        }
    }

    /// Whether it has ended; an error if it did not end well, with the last it said.
    pub(crate) fn ended(&mut self) -> Outcome<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(format!("ended with {status}: {}", self.last_words()).into()),
        }
    }

    /// Waits until it has at most so many KiB resident, but not for ever. How many it has, and how long that took.
    pub(crate) fn shrunk(&self, limit: u64) -> Outcome<(u64, Duration)> {
        let begun = Instant::now();
        loop {
            thread::sleep(Duration::from_millis(500));
            let rss = self.memory()?.rss;
            if rss <= limit || begun.elapsed() > SHRINK {
                return Ok((rss, begun.elapsed()));
            }
        }
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.reverse();
        lines.join(" | ")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self, signal: Signal) -> Outcome<()> {
        kill(Pid::from_raw(i32::try_from(self.pid())?), signal)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP {
                // Dropping it kills it.
                return Err(format!("did not stop within {STOP:?}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Processor time used so far, by all threads.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut nanos = 0;
        for task in self.tasks()? {
            // A thread may end in between; its time is then lost, but no server here ends threads under load.
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
        }
        if nanos == 0 { Err("the kernel keeps no schedstat".into()) } else { Ok(Duration::from_nanos(nanos)) }
    }

    /// How often its threads went to sleep, each of which means that they had been woken.
    pub(crate) fn wake_ups(&self) -> Outcome<u64> {
        let mut all = 0;
        for task in self.tasks()? {
            all += number_in(&fs::read_to_string(task.join("status")).unwrap_or_default(), "voluntary_ctxt_switches:")?;
        }
        Ok(all)
    }

    pub(crate) fn memory(&self) -> Outcome<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()))?;
        Ok(Memory { rss: number_in(&text, "Rss:")?, anonymous: number_in(&text, "Anonymous:")? })
    }

    /// Whether a debugger or tracer is attached to every thread.
    pub(crate) fn traced(&self) -> Outcome<bool> {
        let traced = |task: &PathBuf| {
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            number_in(&status, "TracerPid:").is_ok_and(|pid| pid != 0)
        };
        Ok(self.tasks()?.iter().all(traced))
    }

    /// Confines all its threads to these processors.
    pub(crate) fn pin(&self, cpus: &str) -> Outcome<()> {
        taskset(&["-a", "-c", "-p", cpus, &self.pid().to_string()])
    }

    fn tasks(&self) -> Outcome<Vec<PathBuf>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()))?;
        Ok(tasks.map(|task| task.map(|task| task.path())).collect::<Result<_, _>>()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Confines this thread to these processors.
pub(crate) fn pin_this_thread(cpus: &str) -> Outcome<()> {
    taskset(&["-c", "-p", cpus, &gettid().to_string()])
}

/// Processors of this machine, whatever this process may use of them.
pub(crate) fn cpu_count() -> Outcome<usize> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    Ok(text.lines().filter(|line| line.starts_with("processor")).count().max(1))
}

/// Whether a program is there to be run.
pub(crate) fn installed(program: &str) -> Outcome<()> {
    let found = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]
        .iter()
        .any(|dir| PathBuf::from(dir).join(program).is_file());
    if found { Ok(()) } else { Err(format!("{program} is not installed").into()) }
}

fn taskset(words: &[&str]) -> Outcome<()> {
    installed("taskset")?;
    let output = Command::new("taskset").args(words).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("taskset: {said}").into()) }
}

/// The number behind a key at the beginning of a line.
fn number_in(text: &str, key: &str) -> Outcome<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| format!("no {key}"))?;
    Ok(rest.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Longer than any server here drains.
const STOP: Duration = Duration::from_secs(20);
/// What takes longer than this is not given back.
const SHRINK: Duration = Duration::from_secs(15);
