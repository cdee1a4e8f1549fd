//! The server to compare with: a bare tonic echo (benches/reference), built with plain `--release`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Bench, Outcome,
    bearerd::Served,
    caller::{Ask as _, Caller},
    process::Process,
    wire::Expected,
};

/// Builds it beside the other binaries. The environment is inherited: jobs, wrappers, registries.
pub(crate) fn build(target: &Path) -> Outcome<PathBuf> {
    let target = target.join("reference");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/reference/Cargo.toml");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
    // What cargo tells this process about bearerd is not for the other package.
    command.arg("--target-dir").arg(&target).env_remove("CARGO_TARGET_DIR");
    if !command.status()?.success() {
        return Err("the reference cannot be built".into());
    }
    Ok(target.join("release/reference"))
}

/// Starts one whose replies are as long as these.
pub(crate) fn start(bench: &Bench, length: usize, under: &[&str]) -> Outcome<Served> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("r.sock");
    let mut process = spawn(bench, &socket, length, under, dir.path())?;
    let expected = Expected { length, give_or_take: 0 };
    let started = Instant::now();
    loop {
        process.alive()?;
        // Nobody listens yet, at first.
        match Caller::connect(&socket, &bench.script, expected, 1) {
            Ok(mut caller) => break caller.ask()?,
            Err(error) if started.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(Served { process, socket, expected, dir })
}

/// Starts one and does not wait.
pub(crate) fn spawn(bench: &Bench, socket: &Path, length: usize, under: &[&str], dir: &Path) -> Outcome<Process> {
    let binary = bench.reference.to_str().ok_or("a path that is no text")?;
    let words = [under, &[binary]].concat();
    let mut command = Command::new(words[0]);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.args(&words[1..]).arg(socket).arg(length.to_string());
    Process::spawn(&mut command, dir.join("log"))
}

const PATIENCE: Duration = Duration::from_secs(60);
