//! The journal's native protocol: log lines with fields that can be searched for.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

/// The journal of this machine.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    place: PathBuf,
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
    /// Nobody does.
    pub fn at(place: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, place: place.to_owned() };
        // An empty record is no record; it tells whether somebody listens.
        journal.send(&Record::default())?;
        Ok(journal)
    }

    /// Writes a record. Addressed each time: the journal may be restarted.
    ///
    /// # Errors
    /// As `sendto(2)`. A record has at most some 200 KiB.
    pub fn send(&self, record: &Record) -> io::Result<()> {
        self.socket.send_to(record.bytes(), &self.place).map(drop)
    }
}

/// One entry in the making.
#[derive(Debug, Default)]
pub struct Record(Vec<u8>);

impl Record {
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
        journal.send(&record).unwrap();
        let mut got = [0; 64];
        assert_eq!(journald.recv(&mut got).unwrap(), 0, "the trial");
        let length = journald.recv(&mut got).unwrap();
        assert_eq!(got[..length], record.0);
    }
}
