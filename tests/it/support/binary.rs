//! The built binary: run once, or as a daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a set-up that fails must fail its test")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, chown, geteuid},
};
use regex_lite::Regex;
use tempfile::TempDir;

/// The binary with an environment in which nothing of the machine's is left.
pub(crate) fn bearerd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bearerd"));
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// Runs the binary with these words and a socket.
pub(crate) fn run(socket: &Path, words: &[&str]) -> Ended {
    Ended::of(bearerd().env("BEARERD_SOCKET", socket).args(words).output().unwrap())
}

/// The binary to be run by another user, with this directory as that user's home; `None` unless the tests run as root.
///
/// The binary is put into the directory, as the user may not be let into where it was built.
pub(crate) fn bearerd_as_nobody(home: &Path) -> Option<Command> {
    if !geteuid().is_root() {
        return None;
    }
    let (built, own) = (Path::new(env!("CARGO_BIN_EXE_bearerd")), home.join("built"));
    if !own.exists() && fs::hard_link(built, &own).is_err() {
        // On another file system. Not copied by this process: a child that another test starts meanwhile would hold
        // the new file open for writing, and nobody can run it then.
        assert!(Command::new("cp").arg(built).arg(&own).status().unwrap().success());
    }
    chown(home, Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
    let mut command = Command::new(own);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).stdin(Stdio::null());
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    Some(command)
}

/// A user and a group that own nothing.
pub(crate) const NOBODY: u32 = 65_534;

/// What a run printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn new(code: i32, stdout: &str, stderr: &str) -> Self {
        Self { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    /// The same with what differs from run to run replaced: the test's directory, token ids but for their serial
    /// numbers, times, ports and process ids.
    pub(crate) fn plain(self, dir: &Path) -> Self {
        let dir = regex_lite::escape(dir.to_str().unwrap());
        self.replace(&dir, "DIR")
            .replace("[0-9a-f]{16}-([0-9]+)", "ID-$1")
            .replace(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z", "TIME")
            .replace(r"127\.0\.0\.1:[0-9]+", "ISSUER")
            .replace("pid [0-9]+", "pid PID")
    }

    /// The same with what matches replaced.
    pub(crate) fn replace(mut self, pattern: &str, with: &str) -> Self {
        let pattern = Regex::new(pattern).unwrap();
        for text in [&mut self.stdout, &mut self.stderr] {
            *text = pattern.replace_all(text, with).into_owned();
        }
        self
    }

    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A process whose output is collected while it runs. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Collected::of(child.stdout.take().unwrap());
        let stderr = Collected::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until standard output holds this text; returns all of it so far.
    pub(crate) fn wait_for_stdout(&self, text: &str) -> String {
        self.stdout.wait_for(&[text])
    }

    /// Waits until standard error holds this text; returns all of it so far.
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        self.stderr.wait_for(&[text])
    }

    /// Waits for its end. The code is missing if a signal ended it.
    pub(crate) fn ended(&mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        Ended { code, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has written so far.
struct Collected {
    shared: Arc<(Mutex<Text>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Text {
    so_far: String,
    complete: bool,
}

impl Collected {
    fn of(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Text>, Condvar)>::default();
        let written = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            loop {
                let mut line = Vec::new();
                let length = source.read_until(b'\n', &mut line).unwrap();
                let mut text = written.0.lock().unwrap_or_else(PoisonError::into_inner);
                text.so_far.push_str(&String::from_utf8_lossy(&line));
                text.complete = length == 0;
                written.1.notify_all();
                if text.complete {
                    return;
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Waits for one of these texts. Fails the test when the process ends without it, or after 20 s.
    fn wait_for(&self, texts: &[&str]) -> String {
        let (text, changed) = &*self.shared;
        let text = text.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |text: &mut Text| !text.complete && !texts.iter().any(|wanted| text.so_far.contains(wanted));
        let waited = changed.wait_timeout_while(text, Duration::from_secs(20), missing);
        let so_far = waited.unwrap_or_else(PoisonError::into_inner).0.so_far.clone();
        assert!(texts.iter().any(|wanted| so_far.contains(wanted)), "waited for one of {texts:?}, got:\n{so_far}");
        so_far
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).so_far.clone()
    }
}

/// A daemon of its own: the built binary with a configuration in a directory of its own.
///
/// Its log is collected until it ends. Dropping it kills it.
pub(crate) struct Daemon {
    process: Process,
    dir: TempDir,
}

impl Daemon {
    /// Starts `bearerd run` with this configuration and waits until it serves. `@DIR@` in the configuration stands
    /// for the test's directory, in which there is a secret file `secret` with the text `hunter2`.
    pub(crate) fn start(config: &str, words: &[&str]) -> Self {
        Self::start_with(config, words, |_| {})
    }

    /// The same, once the command has been changed, to set a variable for example.
    pub(crate) fn start_with(config: &str, words: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        super::daemon::write_secret(&dir.path().join("secret"), "hunter2\n");
        write_config(dir.path(), config);
        let mut command = bearerd();
        command.arg("run").arg("--config").arg(dir.path().join("bearerd.toml"));
        change(&mut command);
        Self::spawn(command, words, dir)
    }

    /// Starts `bearerd dev` and waits until it serves.
    pub(crate) fn dev(words: &[&str]) -> Self {
        let mut command = bearerd();
        command.arg("dev");
        Self::spawn(command, words, tempfile::tempdir().unwrap())
    }

    fn spawn(mut command: Command, words: &[&str], dir: TempDir) -> Self {
        let process = Process::spawn(command.arg("--socket").arg(dir.path().join("b.sock")).args(words));
        process.stderr.wait_for(&SERVING);
        Self { process, dir }
    }

    /// The test's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("b.sock")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Replaces the configuration file.
    pub(crate) fn write_config(&self, config: &str) {
        write_config(self.dir.path(), config);
    }

    /// Runs the binary as a client of this daemon.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        run(&self.socket(), words)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the log holds this text; returns all of it so far.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.process.wait_for_stderr(text)
    }

    /// Waits until standard output holds this text; returns all of it so far.
    pub(crate) fn wait_for_stdout(&self, text: &str) -> String {
        self.process.wait_for_stdout(text)
    }

    /// Ends it with SIGTERM; its standard output, its log and how it ended.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> Ended {
        self.process.ended()
    }
}

fn write_config(dir: &Path, text: &str) {
    let text = text.replace("@DIR@", dir.to_str().expect("a temporary directory has a plain name"));
    fs::write(dir.join("bearerd.toml"), text).unwrap();
}

/// The log line that says that the socket is served, in each of the formats.
const SERVING: [&str; 3] = [" serving ", "<6>serving ", "\"message\":\"serving\""];
