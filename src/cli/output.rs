//! What several verbs print alike: JSON, times, completions, manual pages.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    time::{Duration, SystemTime},
};

use clap::CommandFactory as _;
use clap_complete::Shell;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use terminal_size::{Height, Width};

use super::{Args, Exit, Outcome, Trouble};

/// Prints a value as JSON on one line.
pub(super) fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(io::Error::from)?;
    line(&text)
}

/// Prints one line on standard output. A reader that has left (`| head`) is no error.
pub(super) fn line(text: &str) -> Outcome {
    print(format!("{text}\n").as_bytes())
}

/// Prints bytes on standard output. Who prints on and on asks whether it is [`abandoned`].
pub(super) fn print(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether nobody reads standard output any more: a pipe or a socket whose other end is closed, a terminal that has
/// gone.
pub(super) fn abandoned() -> bool {
    let out = io::stdout();
    let mut looked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    // A look that fails says nothing; the next one follows.
    let seen = poll(&mut looked, PollTimeout::ZERO).is_ok();
    seen && looked
        .iter()
        .filter_map(PollFd::revents)
        .any(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}

/// Columns and lines of the terminal that standard output is; `None` if it is none.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    let (Width(columns), Height(lines)) = terminal_size::terminal_size_of(io::stdout())?;
    Some((columns.into(), lines.into()))
}

/// Whether standard output is a terminal that wants colours (<https://no-color.org>).
#[expect(clippy::disallowed_methods, reason = "a fact about the terminal, not configuration")]
pub(super) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A timestamp of the API as the system has it.
pub(super) fn system_time(at: &prost_types::Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.seconds).unwrap_or_default())
}

/// A span in at most two units, for people: `1h 5m`, `52s`.
pub(super) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let two = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit} {small}{small_unit}"),
    };
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => two(secs / 60, "m", secs % 60, "s"),
        3_600..86_400 => two(secs / 3_600, "h", secs % 3_600 / 60, "m"),
        _ => two(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

/// Prints completions.
pub(super) fn completions(shell: Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "bearerd", &mut text);
    print(&text)
}

/// Prints the manual page of the command, or of one verb.
pub(super) fn man(verb: Option<&str>) -> Outcome {
    let mut command = Args::command();
    command.build();
    let page = match verb {
        None => clap_mangen::Man::new(command),
        Some(verb) => {
            let found = command.find_subcommand(verb).cloned().ok_or_else(|| {
                let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
                Trouble::new(Exit::Usage, format!("no verb `{verb}`; there are {}", known.join(", ")))
            })?;
            clap_mangen::Man::new(found)
        }
    };
    let mut text = Vec::new();
    page.render(&mut text)?;
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let shown = |secs| span(Duration::from_secs(secs));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(59), "59s");
        assert_eq!(shown(60), "1m");
        assert_eq!(shown(3_599), "59m 59s");
        assert_eq!(shown(3_661), "1h 1m");
        assert_eq!(shown(90_000), "1d 1h");
    }
}
