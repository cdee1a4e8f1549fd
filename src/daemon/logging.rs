//! Where log lines go and what they look like.
//!
//! Lines have constant messages and carry facts as fields. They are written to standard error, readable on a terminal, as
//! JSON on request; where that is the journal, to the journal itself, with their fields and with ids for what is worth an
//! alert ([`MESSAGE_IDS`]).

use std::{
    fmt, io,
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::systemd::{Journal, Record};

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `journal` if standard error goes to the journal, else `text`.
    #[default]
    Auto,
    /// For the journal: with fields if standard error goes there, else one line with a priority in front and no time.
    Journal,
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
}

/// Which log lines are written: a level, or levels by target, such as `info,bearerd=debug`.
#[derive(Clone, Debug)]
pub struct LogFilter(Targets);

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(level) = text.parse::<LevelFilter>() {
            return Ok(Self(Targets::new().with_default(level.min(LIBRARIES)).with_target("bearerd", level)));
        }
        let names_levels = text.split(',').all(|part| part.parse::<LevelFilter>().is_ok() || part.contains('='));
        text.parse().ok().filter(|_| names_levels).map(Self).ok_or_else(|| {
            format!("`{text}` is neither off, error, warn, info, debug, trace nor a list such as info,bearerd=debug")
        })
    }
}

/// Starts logging for this process. Only the first call counts.
///
/// # Errors
/// Logging was started before.
pub fn start(filter: LogFilter, format: LogFormat, colour: bool) -> Result<(), impl std::error::Error> {
    let format = match format {
        LogFormat::Auto if to_journal() => LogFormat::Journal,
        LogFormat::Auto => LogFormat::Text,
        other => other,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour);
    let registry = tracing_subscriber::registry().with(filter.0);
    match format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Journal => {
            let journal = to_journal().then(|| Journal::open().ok()).flatten().map(Arc::new);
            if let Some(journal) = &journal {
                // Logging is started once.
                let _ = JOURNAL.set(Arc::clone(journal));
            }
            registry.with(lines.with_ansi(false).event_format(ForJournal::new(journal))).try_init()
        }
        LogFormat::Auto | LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
    }
}

/// Waits until what was logged has been written, for a moment at most. To be called at the end.
pub fn flush() {
    if let Some(journal) = JOURNAL.get() {
        journal.flush(LAST_LINES);
    }
}

/// The journal that is logged to, if it is.
static JOURNAL: OnceLock<Arc<Journal>> = OnceLock::new();

/// How long the last lines are waited for.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Whether standard error is connected to the journal (`systemd.exec(5)`, `$JOURNAL_STREAM`).
#[expect(clippy::disallowed_methods, reason = "a fact about this process's standard error, not configuration")]
fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Writes to the journal; without one, a line with the priority in front that the journal reads there (`sd-daemon(3)`).
struct ForJournal {
    line: Format<Full, ()>,
    journal: Option<Arc<Journal>>,
}

impl ForJournal {
    fn new(journal: Option<Arc<Journal>>) -> Self {
        let line = tracing_subscriber::fmt::format().without_time().with_target(false).with_level(false);
        Self { line, journal }
    }
}

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        let priority = priority(*event.metadata().level());
        match &self.journal {
            Some(journal) => {
                let mut record = Record::default();
                record.put("MESSAGE", line.trim_end());
                record.put("PRIORITY", priority);
                record.put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
                if let Some((_, id)) = MESSAGE_IDS.iter().find(|(name, _)| *name == event.metadata().name()) {
                    record.put("MESSAGE_ID", id);
                }
                event.record(&mut Fields(&mut record));
                journal.send(record);
                Ok(())
            }
            None => write!(writer, "<{priority}>{line}"),
        }
    }
}

/// The priorities of `syslog(3)`.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// Puts the fields of an event into a record.
struct Fields<'a>(&'a mut Record);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The message is in the line.
        if field.name() != "message" {
            self.0.put(field.name(), &format!("{value:?}"));
        }
    }
}

/// The names of events that are worth an alert, or that end one, and their ids in the journal (`MESSAGE_ID=`). The ids
/// never change: people search and alert by them. `systemd/bearerd.catalog` says what each means.
pub const MESSAGE_IDS: [(&str, &str); 7] = [
    ("client-degraded", "6f5f2ea30e5a4d3ca85eb9dfb3c3f27b"),
    ("client-down", "79e22f368dd3460baed9abe2edd7847e"),
    ("client-fresh", "15b2b1bbd7054b3bb323064fa389ec3e"),
    ("configuration-applied", "4e5043b7ba1e4b668bdab6a6c9b5f2fd"),
    ("configuration-refused", "cc58e6a9949a4c259cd135c0173eef6f"),
    ("socket-lost", "6066f8f8ed2942dd900dbc31c3c5884a"),
    ("tokens-not-kept", "ac835bead3e74f7babaecb9a4dfaa034"),
];

/// A bare level is meant for our own lines; libraries say less unless they are named.
const LIBRARIES: LevelFilter = LevelFilter::WARN;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn subscriber(journal: Arc<Journal>) -> impl Subscriber {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(ForJournal::new(Some(journal)));
        tracing_subscriber::registry().with(lines)
    }

    #[test]
    fn the_journal_gets_the_line_and_its_fields() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("socket");
        let journald = UnixDatagram::bind(&place).unwrap();
        let journal = Arc::new(Journal::at(&place).unwrap());
        tracing::subscriber::with_default(subscriber(journal), || {
            tracing::error!(name: "client-down", client = "wawex", retry_in_s = 30, "no usable token");
        });
        let mut expected = Record::default();
        for (name, value) in [
            ("MESSAGE", "no usable token client=\"wawex\" retry_in_s=30"),
            ("PRIORITY", "3"),
            ("SYSLOG_IDENTIFIER", "bearerd"),
            ("MESSAGE_ID", "79e22f368dd3460baed9abe2edd7847e"),
            ("CLIENT", "wawex"),
            ("RETRY_IN_S", "30"),
        ] {
            expected.put(name, value);
        }
        let mut got = [0; 1_024];
        assert_eq!(journald.recv(&mut got).unwrap(), 0, "the trial");
        let length = journald.recv(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got[..length]), String::from_utf8_lossy(expected.bytes()));
    }
}
