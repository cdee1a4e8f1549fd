//! Reads a file that the configuration needs, and says in plain words why it cannot.

use std::{fs, io, path::Path};

/// Why a file cannot be used, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// Reads a regular file of at most `most` bytes.
///
/// Looks before it opens: opening a pipe would wait for a writer that may never come.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unreadable> {
    let about = fs::metadata(path).map_err(|error| explain(&error))?;
    if about.is_dir() {
        return Err(unreadable("is a directory", "name a file"));
    }
    if !about.is_file() {
        return Err(unreadable("is not a regular file", "name a regular file"));
    }
    if about.len() > most {
        return Err(unreadable(format!("is larger than {most} bytes"), "name another file or split it"));
    }
    fs::read(path).map_err(|error| explain(&error))
}

pub(super) fn explain(error: &io::Error) -> Unreadable {
    match error.kind() {
        io::ErrorKind::NotFound => unreadable("does not exist", "create it or correct the path"),
        io::ErrorKind::PermissionDenied => {
            unreadable("cannot be read by this user", "let the user that the daemon runs as read it")
        }
        _ => unreadable(format!("cannot be read: {error}"), "repair the file or its file system"),
    }
}

fn unreadable(message: impl Into<String>, remedy: &'static str) -> Unreadable {
    Unreadable { message: message.into(), remedy }
}
