//! A secret in a file, as systemd credentials, Kubernetes and configuration management deliver it.

use std::{
    fs::{File, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::{LIMIT, Read, SecretError, Shape};
use crate::sensitive::Sensitive;

/// A file with a secret in it.
///
/// Touching a file can block for ever (a network file system whose server is gone). So it is done on threads that are
/// there to block, with a limit on how long it is waited for, and never again while an earlier touch has not ended: a
/// dead file system costs each client one thread, not one for each try.
#[derive(Clone, Debug)]
pub struct SecretFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Box<Path>,
    /// It does not matter that every user of the machine can read it.
    public: bool,
    busy: AtomicBool,
}

impl SecretFile {
    /// The secret in the file at this path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(Arc::new(Inner { path: path.into(), public: false, busy: AtomicBool::new(false) }))
    }

    /// The same, read even if every user of the machine can read it too.
    #[must_use]
    pub fn readable_by_all(path: &Path) -> Self {
        Self(Arc::new(Inner { path: path.into(), public: true, busy: AtomicBool::new(false) }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Reads the secret that the file holds now.
    ///
    /// # Errors
    /// [`SecretError`] naming the path and the remedy: not there, not readable, not a regular file, larger than
    /// 64 KiB, not UTF-8 text of this shape, or on a file system that does not answer.
    pub(super) async fn read(&self, shape: Shape) -> Result<Read, SecretError> {
        let Some(touch) = Touch::begin(&self.0) else {
            return Err(wrong(self.path(), "its file system does not answer; mend it, or move the secret"));
        };
        // One trip to the blocking pool with the plain file API: the runtime's own file type keeps a copy of what it
        // reads in a buffer that nobody wipes.
        let reading = tokio::task::spawn_blocking(move || {
            let (path, public) = (&touch.0.path, touch.0.public);
            // Looked at first: what is changed while it is read counts as changed afterwards.
            let revision = revision_now(path);
            match read_now(path, public, shape) {
                Ok(secret) => Ok(Read { secret, revision }),
                Err(error) => Err(error.at_revision(revision)),
            }
        });
        match reading.await {
            Ok(outcome) => outcome,
            Err(_) => Err(wrong(self.path(), "reading was interrupted; it is tried again")),
        }
    }

    /// A number that changes whenever the file is replaced, written, appears, disappears or changes its permissions;
    /// `None` if its file system does not answer.
    ///
    /// Made of metadata only: the file is not opened, so looking costs no access to the secret.
    pub(super) async fn revision(&self) -> Option<u64> {
        let touch = Touch::begin(&self.0)?;
        let look = tokio::task::spawn_blocking(move || revision_now(&touch.0.path));
        tokio::time::timeout(LOOK, look).await.ok()?.ok()
    }
}

impl From<PathBuf> for SecretFile {
    fn from(path: PathBuf) -> Self {
        Self::at(&path)
    }
}

impl PartialEq for SecretFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.path, self.0.public) == (&other.0.path, other.0.public)
    }
}

impl Eq for SecretFile {}

/// The file being touched, at most once at a time. Ends with the thread that does it, not with who waits for that.
struct Touch(Arc<Inner>);

impl Touch {
    fn begin(file: &Arc<Inner>) -> Option<Self> {
        let free = file.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        free.then(|| Self(Arc::clone(file)))
    }
}

impl Drop for Touch {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

fn revision_now(path: &Path) -> u64 {
    let Ok(found) = std::fs::metadata(path) else { return ABSENT };
    let mut hasher = DefaultHasher::new();
    (found.dev(), found.ino(), found.size()).hash(&mut hasher);
    (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()).hash(&mut hasher);
    hasher.finish() | 1
}

fn read_now(path: &Path, public: bool, shape: Shape) -> Result<Sensitive, SecretError> {
    let mut file = open(path).map_err(|error| wrong(path, &unreadable(&error)))?;
    let about = file.metadata().map_err(|error| wrong(path, &unreadable(&error)))?;
    if !about.is_file() {
        return Err(wrong(path, "is not a regular file; name the file that holds the secret"));
    }
    if !public && about.mode() & READABLE_BY_ALL != 0 {
        return Err(wrong(path, EXPOSED));
    }
    let mut buffer = Zeroizing::new(vec![0; LIMIT + 1]);
    let length = fill(&mut file, &mut buffer).map_err(|error| wrong(path, &unreadable(&error)))?;
    if length > LIMIT {
        return Err(wrong(path, "is larger than 64 KiB, so it is no secret; name the right file"));
    }
    let content = buffer.get(..length).unwrap_or_default();
    let text = std::str::from_utf8(content)
        .map_err(|_| wrong(path, "is not UTF-8 text; write the secret to it as plain text"))?;
    shape.of(text).map_err(|problem| wrong(path, problem))
}

/// Opens without waiting for a writer, should the path be a FIFO, and without adopting a terminal.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Reads until the end of the file or of the buffer. The buffer never grows, which would leave copies behind.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    loop {
        match file.read(buffer.get_mut(length..).unwrap_or_default()) {
            Ok(0) => return Ok(length),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist; write the secret to it".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "cannot be read by the user bearerd runs as; change its owner or mode".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

fn wrong(path: &Path, problem: &str) -> SecretError {
    SecretError::new(format!("secret file {}: {problem}", path.display()))
}

/// The mode's bit for reading by others. The group's is left to the administrator: that is how systemd and others share
/// a secret with one service.
const READABLE_BY_ALL: u32 = 0o004;
const EXPOSED: &str = "can be read by every user of this machine; take that away (chmod o= FILE), or write \
                       allow_world_readable = true beside it if nobody else can reach it";
/// How long a look at the file's metadata may take.
const LOOK: Duration = Duration::from_secs(2);
/// The revision of a file that is not there. Even, unlike that of any file.
const ABSENT: u64 = 0;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn file(dir: &tempfile::TempDir, content: &[u8]) -> PathBuf {
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    async fn read(path: &Path) -> Result<Sensitive, SecretError> {
        SecretFile::at(path).read(Shape::Line).await.map(|read| read.secret)
    }

    async fn refusal(path: &Path) -> String {
        read(path).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn exactly_one_line_ending_is_not_part_of_the_secret() {
        let dir = dir();
        for (content, secret) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            (" hunter 2 \n", " hunter 2 "),
            ("p\u{e4}ss", "p\u{e4}ss"),
        ] {
            assert_eq!(read(&file(&dir, content.as_bytes())).await, Ok(Sensitive::new(secret)), "{content:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_secret_is_refused_without_showing_it() {
        let dir = dir();
        for (content, problem) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"hunter2\n\n", "control character"),
            (b"hunter2\nhunter3\n", "control character"),
            (b"hunter2\r", "control character"),
            (b"hun\0ter2", "control character"),
            (b"\xef\xbb\xbfhunter2", "byte order mark"),
            (b"hunter2\xff", "UTF-8"),
        ] {
            let path = file(&dir, content);
            let text = refusal(&path).await;
            assert!(text.contains(problem) && text.contains(path.to_str().unwrap()), "{content:?}: {text}");
            assert!(!text.contains("hunter"), "{text}");
        }
    }

    #[tokio::test]
    async fn the_size_is_bounded() {
        let dir = dir();
        assert_eq!(read(&file(&dir, &vec![b'x'; LIMIT])).await.map(|secret| secret.len()), Ok(LIMIT));
        assert!(refusal(&file(&dir, &vec![b'x'; LIMIT + 1])).await.contains("64 KiB"));
        assert!(refusal(Path::new("/dev/zero")).await.contains("not a regular file"));
    }

    #[tokio::test]
    async fn a_fifo_is_refused_and_does_not_hang() {
        let dir = dir();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let text = tokio::time::timeout(Duration::from_secs(10), refusal(&path)).await.unwrap();
        assert!(text.contains("not a regular file"), "{text}");
    }

    #[tokio::test]
    async fn directories_and_missing_files_say_what_to_do() {
        let dir = dir();
        assert!(refusal(dir.path()).await.contains("not a regular file"));
        assert!(refusal(&dir.path().join("gone")).await.contains("does not exist; write the secret to it"));
    }

    #[tokio::test]
    async fn a_secret_that_everybody_can_read_is_refused_unless_that_is_meant() {
        let dir = dir();
        let path = file(&dir, b"hunter2");
        for (mode, refused) in [(0o400, false), (0o440, false), (0o640, false), (0o644, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read(&path).await {
                Ok(_) => assert!(!refused, "{mode:o}"),
                Err(error) => assert!(refused && error.to_string().contains("allow_world_readable"), "{error}"),
            }
            assert!(SecretFile::readable_by_all(&path).read(Shape::Line).await.is_ok(), "{mode:o}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_being_touched_is_not_touched_again() {
        let dir = dir();
        let file = SecretFile::at(&file(&dir, b"hunter2"));
        let hung = Touch::begin(&file.0).unwrap();
        assert!(file.read(Shape::Line).await.unwrap_err().to_string().contains("file system does not answer"));
        assert_eq!(file.revision().await, None);
        drop(hung);
        let revision = revision_now(file.path());
        assert_eq!(file.read(Shape::Line).await, Ok(Read { secret: Sensitive::new("hunter2"), revision }));
        assert_eq!(file.revision().await, Some(revision));
    }

    #[test]
    fn every_kind_of_change_changes_the_revision() {
        let dir = dir();
        let path = dir.path().join("secret");
        let mut seen = vec![revision_now(&path)];
        let mut look = |what: &str| {
            let now = revision_now(&path);
            assert_eq!(now, revision_now(&path), "reading it changes nothing");
            assert_ne!(seen.last(), Some(&now), "{what}");
            seen.push(now);
        };
        fs::write(&path, "one").unwrap();
        look("appeared");
        fs::write(&path, "longer").unwrap();
        look("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        look("other mode");
        fs::write(dir.path().join("new"), "longer").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        look("replaced");
        fs::remove_file(&path).unwrap();
        look("disappeared");
        assert_eq!(revision_now(&path), ABSENT);
    }
}
