//! The journal's native protocol: log lines with fields that can be searched for.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::outbox::Outbox;

/// The journal of this machine. It is written to in the background: a journal that takes nothing must not stop those who
/// serve callers, and costs lines instead.
#[derive(Debug)]
pub struct Journal {
    outbox: Outbox<Record>,
    lost: Arc<AtomicU64>,
}

impl Journal {
    /// The journal at its well-known place.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> io::Result<Self> {
        Self::at(Path::new(PLACE))
    }

    /// The journal that listens there.
    ///
    /// # Errors
    /// Nobody does, or the system gives no thread.
    pub fn at(place: &Path) -> io::Result<Self> {
        let (socket, place) = (UnixDatagram::unbound()?, place.to_owned());
        // An empty record is no record; it tells whether somebody listens.
        socket.send_to(&[], &place)?;
        let lost = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&lost);
        let outbox = Outbox::start("bearerd-journal", ROOM, move |record: Record| {
            // Addressed each time: the journal may be restarted.
            if socket.send_to(record.bytes(), &place).is_err() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { outbox, lost })
    }

    /// Writes a record, of at most some 200 KiB.
    pub fn send(&self, record: Record) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let told = lost == 0 || self.outbox.put(Record::of_loss(lost));
        let sent = self.outbox.put(record);
        self.lost.fetch_add(u64::from(!sent) + if told { 0 } else { lost }, Ordering::Relaxed);
    }

    /// Waits until everything has been written, for so long at most.
    pub fn flush(&self, at_most: Duration) {
        // Who waits in vain has nobody to tell it to.
        self.outbox.flush(at_most);
    }
}

/// One entry in the making.
#[derive(Debug, Default)]
pub struct Record(Vec<u8>);

impl Record {
    /// Says that so many are missing.
    fn of_loss(count: u64) -> Self {
        let mut record = Self::default();
        record.put("MESSAGE", &format!("{count} log lines were lost: the journal did not take them"));
        record.put("PRIORITY", "4");
        record.put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        record
    }

    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a field. Its name is written in capitals; what the journal does not take as a name is left out.
    pub fn put(&mut self, name: &str, value: &str) {
        let start = self.0.len();
        let takes = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let name = name.bytes().map(|byte| if byte == b'.' { b'_' } else { byte }).filter(|byte| takes(*byte));
        // A name in front of which there is an underscore is the journal's own, and one does not begin with a digit.
        self.0.extend(name.skip_while(|byte| !byte.is_ascii_alphabetic()).map(|byte| byte.to_ascii_uppercase()));
        if self.0.len() == start {
            return;
        }
        // The form with a length takes every value, one with line breaks too.
        self.0.push(b'\n');
        self.0.extend_from_slice(&u64::try_from(value.len()).unwrap_or_default().to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

/// Records that wait for a journal that takes none.
const ROOM: usize = 4_096;
/// Where journald listens (`systemd-journald.service(8)`).
const PLACE: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_the_protocol_has_them() {
        let mut record = Record::default();
        record.put("_9client.name", "a\nb");
        record.put("__", "nothing");
        assert_eq!(record.0, b"CLIENT_NAME\n\x03\0\0\0\0\0\0\0a\nb\n");
    }

    #[test]
    fn records_are_sent_and_a_journal_that_is_not_there_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("socket");
        assert!(Journal::at(&place).is_err());
        let journald = UnixDatagram::bind(&place).unwrap();
        let journal = Journal::at(&place).unwrap();
        let mut record = Record::default();
        record.put("message", "x");
        let bytes = record.bytes().to_vec();
        journal.send(record);
        let mut got = [0; 64];
        assert_eq!(journald.recv(&mut got).unwrap(), 0, "the trial");
        let length = journald.recv(&mut got).unwrap();
        assert_eq!(got[..length], bytes);
    }

    #[test]
    fn a_journal_that_takes_nothing_costs_lines_and_not_time() {
        let dir = tempfile::tempdir().unwrap();
        let journald = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        let journal = Journal::at(&dir.path().join("socket")).unwrap();
        // Until the kernel's queue, the outbox and whatever is on its way are full.
        while journal.lost.load(Ordering::Relaxed) < 7 {
            journal.send(Record::default());
        }
        journald.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut got = [0; 256];
        let told = std::iter::repeat_with(|| {
            let length = journald.recv(&mut got).unwrap();
            journal.send(Record::default());
            String::from_utf8_lossy(&got[..length]).into_owned()
        })
        .find(|text| text.contains("log lines were lost"))
        .unwrap();
        assert!(told.starts_with("MESSAGE\n"), "{told}");
    }
}
