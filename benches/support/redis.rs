//! Redis as a yardstick: GET of a value as long as our reply, over a Unix socket.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Outcome,
    caller::Ask,
    process::{Process, installed},
};

/// A running redis-server with one key.
pub(crate) struct Redis {
    pub(crate) process: Process,
    dir: TempDir,
    length: usize,
}

impl Redis {
    pub(crate) fn start(length: usize) -> Outcome<Self> {
        installed("redis-server")?;
        let dir = tempfile::tempdir()?;
        let mut command = Command::new("redis-server");
        // No port, no files.
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
        command.arg(dir.path().join("s")).arg("--dir").arg(dir.path());
        let mut process = Process::spawn(&mut command, dir.path().join("log"))?;
        let started = Instant::now();
        let mut stream = loop {
            process.alive()?;
            match UnixStream::connect(dir.path().join("s")) {
                Ok(stream) => break stream,
                Err(error) if started.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "*3\r\n$3\r\nSET\r\n$6\r\nc00000\r\n${length}\r\n{}\r\n", "x".repeat(length))?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        if &answer != b"+OK\r\n" {
            return Err("redis refuses the value".into());
        }
        Ok(Self { process, dir, length })
    }

    pub(crate) fn connect(&self) -> Outcome<RedisCaller> {
        let stream = UnixStream::connect(self.dir.path().join("s"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let whole = format!("${}\r\n", self.length).len() + self.length + 2;
        Ok(RedisCaller { stream, inbox: vec![0; 64 * 1024], whole })
    }
}

/// A connection to it.
pub(crate) struct RedisCaller {
    stream: UnixStream,
    inbox: Vec<u8>,
    whole: usize,
}

impl Ask for RedisCaller {
    fn ask(&mut self) -> Outcome<()> {
        self.stream.write_all(b"*2\r\n$3\r\nGET\r\n$6\r\nc00000\r\n")?;
        let mut filled = 0;
        while filled < self.whole {
            let read = self.stream.read(&mut self.inbox[filled..])?;
            if read == 0 {
                return Err("redis hung up".into());
            }
            filled += read;
        }
        if self.inbox[0] == b'$' && filled == self.whole { Ok(()) } else { Err("not what was stored".into()) }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
