//! What kind of process a peer is: its control group and its program, read from `/proc`.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{pin::Pin, proc};
use crate::access::{Fact, Place, Process};

/// Reads what can be read, and makes sure that it was read of the process that is held. Blocks.
///
/// # Errors
/// Why nothing can be told.
pub(super) fn read(pin: &Pin) -> Result<Process, Box<str>> {
    let of = PathBuf::from(format!("/proc/{}", pin.pid()));
    let place = place(&of.join("cgroup"));
    let exe = exe(&of.join("exe"));
    if !pin.holds() {
        return Err("its process has ended".into());
    }
    Ok(Process { place: place?, exe })
}

fn place(path: &Path) -> Result<Place, Box<str>> {
    let text = read_some(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Box::from(HIDDEN),
        _ => format!("its control group cannot be read: {error}").into(),
    })?;
    match proc::cgroup(&text) {
        Some(path) => Ok(Place::of_path(path)),
        None => Err("its control group is not one that can be seen from here".into()),
    }
}

/// The program, if the path that the kernel gives names the same file here.
///
/// A path alone would say little: a process can have a root or mounts of its own, where the same path is another file,
/// and a file can be replaced under a process that runs it.
fn exe(link: &Path) -> Fact<Box<str>> {
    let told = fs::read_link(link).and_then(|path| Ok((path, fs::metadata(link)?)));
    let (path, running) = match told {
        Ok(told) => told,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Fact::Unknown(NOT_OURS.into()),
        Err(error) => return Fact::Unknown(format!("its program cannot be told: {error}").into()),
    };
    let here = fs::symlink_metadata(&path).ok();
    let same = here.is_some_and(|here| (here.dev(), here.ino()) == (running.dev(), running.ino()));
    match path.to_str() {
        Some(path) if same => Fact::Known(path.into()),
        _ => Fact::Unknown(ANOTHER.into()),
    }
}

/// A file of the kernel's is small.
fn read_some(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

const MOST: u64 = 64 * 1024;
/// The usual reason why a living process has no directory.
const HIDDEN: &str = "its directory below /proc is hidden from the daemon (ProtectProc=, hidepid=)";
const NOT_OURS: &str = "its program can be told only by root, or by a daemon of the same user";
const ANOTHER: &str =
    "its program is not the file of that path here (replaced since it was started, or in a container)";

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn this_process_is_itself() {
        let (one, _other) = UnixStream::pair().unwrap();
        let pin = Pin::of_peer(&one, i32::try_from(std::process::id()).ok()).unwrap();
        let process = read(&pin).unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(process.exe, Fact::Known(own.to_str().unwrap().into()));
        let text = fs::read("/proc/self/cgroup").unwrap();
        assert_eq!(Some(&*process.place.path), proc::cgroup(&text));
    }

    #[test]
    fn a_program_that_was_replaced_is_not_taken_for_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, link) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("exe"));
        fs::write(&old, "old").unwrap();
        fs::write(&new, "new").unwrap();
        std::os::unix::fs::symlink(&old, &link).unwrap();
        assert_eq!(exe(&link), Fact::Known(old.to_str().unwrap().into()));
        // As the kernel's link does, this one goes on naming the path; the file behind it is another one.
        std::os::unix::fs::symlink(&new, dir.path().join("via")).unwrap();
        let through = dir.path().join("through");
        std::os::unix::fs::symlink(dir.path().join("via"), &through).unwrap();
        assert_eq!(exe(&through), Fact::Unknown(ANOTHER.into()));
        assert!(matches!(exe(&dir.path().join("none")), Fact::Unknown(_)));
    }
}
