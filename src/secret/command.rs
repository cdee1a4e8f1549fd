//! A secret that a program prints, for vaults and password stores with a command line.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{Complaint, LIMIT, SecretError, Shape};
use crate::{sensitive::Sensitive, systemd};

/// A program that prints a secret on its standard output. No shell is involved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretCommand(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    program: Box<str>,
    arguments: Box<[Box<str>]>,
    limit: Duration,
}

impl SecretCommand {
    /// The program at this path with these arguments, which is killed with all that it started when it takes longer
    /// than `limit`.
    #[must_use]
    pub fn new(program: &str, arguments: Box<[Box<str>]>, limit: Duration) -> Self {
        Self(Arc::new(Inner { program: program.into(), arguments, limit }))
    }

    /// Which program it is.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.0.program
    }

    /// How long it may take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.0.limit
    }

    /// Runs the program and takes what it prints.
    ///
    /// # Errors
    /// [`SecretError`] naming the program: it cannot be started, takes too long, fails, or prints no secret; with what
    /// it said on standard error.
    pub(super) async fn read(&self, shape: Shape) -> Result<Sensitive, SecretError> {
        let Inner { program, limit, .. } = &*self.0;
        let wrong = |problem: &str| SecretError::new(format!("secret command {program}: {problem}"));
        let mut running = self.start().map_err(|error| wrong(&format!("cannot be started: {error}; check command")))?;
        let Ok(ended) = timeout(*limit, running.end()).await else {
            return Err(wrong(&format!("did not end within {} s; it was killed", limit.as_secs_f64())));
        };
        let Ended { status, out, err } = ended.map_err(|error| wrong(&format!("cannot be read from: {error}")))?;
        let complaint = || Complaint { said: lossy(&err), printed: lossy(&out) };
        if !status.success() {
            return Err(wrong(&how(status)).with_complaint(complaint()));
        }
        if out.len() > LIMIT {
            return Err(wrong("printed more than 64 KiB, so it is no secret"));
        }
        let text = std::str::from_utf8(&out).map_err(|_| wrong("printed something that is not UTF-8 text"))?;
        shape.of(text).map_err(|problem| wrong(&format!("its output {problem}")).with_complaint(complaint()))
    }

    fn start(&self) -> io::Result<Running> {
        let Inner { program, arguments, .. } = &*self.0;
        let mut command = Command::new(&**program);
        for variable in systemd::VARIABLES {
            command.env_remove(variable);
        }
        let child = command
            .args(arguments.iter().map(|argument| &**argument))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts can be ended with it.
            .process_group(0)
            .spawn()?;
        Ok(Running(child))
    }
}

/// A running program, killed with all that it started when nobody waits for it any more.
struct Running(Child);

struct Ended {
    status: ExitStatus,
    out: Zeroizing<Vec<u8>>,
    err: Zeroizing<Vec<u8>>,
}

impl Running {
    async fn end(&mut self) -> io::Result<Ended> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let (out, err) = tokio::try_join!(take(stdout, LIMIT), take(stderr, COMPLAINT))?;
        Ok(Ended { status: self.0.wait().await?, out, err })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Known for as long as it has not been waited for, so nobody else has the number.
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended at this very moment.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// Reads to the end, and keeps no more than one byte over `most`. The buffer never grows, which would leave copies.
async fn take(stream: Option<impl AsyncRead + Unpin>, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(most + 1));
    let Some(mut stream) = stream else { return Ok(kept) };
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        let length = stream.read(&mut *chunk).await?;
        if length == 0 {
            return Ok(kept);
        }
        let room = (most + 1).saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

fn lossy(bytes: &[u8]) -> Sensitive {
    Sensitive::new(String::from_utf8_lossy(bytes))
}

/// How much of standard error is kept, in bytes.
const COMPLAINT: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, limit: Duration) -> Result<Sensitive, SecretError> {
        let arguments = ["-c".into(), script.into()].into();
        SecretCommand::new("/bin/sh", arguments, limit).read(Shape::Line).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_it_prints_is_the_secret() {
        assert_eq!(sh("echo hunter2; echo noise >&2", LONG).await, Ok(Sensitive::new("hunter2")));
        assert_eq!(sh("printf hunter2; cat", LONG).await, Ok(Sensitive::new("hunter2")), "its input is empty");
    }

    #[tokio::test]
    async fn its_failure_says_how_and_hands_on_what_it_said() {
        let failed = sh("echo hunter2; echo sealed >&2; exit 3", LONG).await.unwrap_err();
        assert_eq!(failed.to_string(), "secret command /bin/sh: failed with exit status 3");
        let said = failed.complaint().unwrap();
        assert_eq!((said.said.expose(), said.printed.expose()), ("sealed\n", "hunter2\n"));
        assert!(!format!("{failed:?}").contains("sealed"), "not before it was looked at");
        for (script, problem) in [
            ("kill -9 $$", "ended by signal 9"),
            ("true", "its output is empty"),
            ("echo a; echo b", "line break"),
            ("head -c 70000 /dev/zero | tr '\\0' x", "more than 64 KiB"),
        ] {
            let text = sh(script, LONG).await.unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
        }
        let missing = SecretCommand::new("/no/such/program", Box::default(), LONG).read(Shape::Line).await;
        assert!(missing.unwrap_err().to_string().contains("/no/such/program: cannot be started"));
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, script) = (dir.path().join("pipe"), dir.path().join("script"));
        // Each holds the pipe open for writing; its end shows that all of them are gone.
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(&script, format!("exec 9>{0}\nsleep 600 >&9 & sleep 600\n", pipe.display())).unwrap();
        let reader = tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap());
        let arguments = [script.to_str().unwrap().into()].into();
        let outcome = SecretCommand::new("/bin/sh", arguments, Duration::from_millis(500)).read(Shape::Line).await;
        assert!(outcome.unwrap_err().to_string().contains("did not end within 0.5 s"));
        assert_eq!(reader.await.unwrap(), b"");
    }
}
