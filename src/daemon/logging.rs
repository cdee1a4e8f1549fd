//! Where log lines go and what they look like.
//!
//! Lines have constant messages and carry facts as fields. They are written to standard error: readable on a
//! terminal, with a priority prefix (`sd-daemon(3)`) when that is the journal, as JSON on request.

use std::{fmt, io, str::FromStr};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
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

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `journal` if standard error goes to the journal, else `text`.
    #[default]
    Auto,
    /// One line for the journal: no time, a priority in front.
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
        LogFormat::Journal => registry.with(lines.with_ansi(false).event_format(Prioritised::default())).try_init(),
        LogFormat::Auto | LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
    }
}

/// Whether standard error is connected to the journal (`systemd.exec(5)`, `$JOURNAL_STREAM`).
#[expect(clippy::disallowed_methods, reason = "a fact about this process's standard error, not configuration")]
fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Writes a line with the priority that the journal reads from its beginning.
struct Prioritised(Format<Full, ()>);

impl Default for Prioritised {
    fn default() -> Self {
        Self(tracing_subscriber::fmt::format().without_time().with_target(false).with_level(false))
    }
}

impl<S, N> FormatEvent<S, N> for Prioritised
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

/// A bare level is meant for our own lines; libraries say less unless they are named.
const LIBRARIES: LevelFilter = LevelFilter::WARN;
