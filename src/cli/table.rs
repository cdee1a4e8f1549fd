//! Client states for people and for programs.

use std::time::{Duration, SystemTime};

use bearerd_client::pb::v1;

use super::output;
use crate::json;

/// What a picture has to fit on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Canvas {
    /// Whether it shows colours.
    pub(super) colours: bool,
    /// Columns; `None`: as many as it takes.
    pub(super) width: Option<usize>,
    /// Lines; `None`: as many as it takes.
    pub(super) height: Option<usize>,
}

/// All clients, one line each, those first that need somebody. `now` is the caller's wall clock, which is the daemon's:
/// they share a machine.
pub(super) fn overview(clients: &[v1::ClientStatus], now: SystemTime, canvas: Canvas) -> String {
    let mut clients: Vec<&v1::ClientStatus> = clients.iter().collect();
    clients.sort_by_key(|client| (urgency(client.state()), &client.name));
    let shown = shown(clients.len(), canvas.height);
    let header = ["CLIENT", "STATE", "VALID FOR", "NEXT TRY", "TODAY", "NOTE"].map(str::to_owned);
    let mut rows: Vec<[String; 6]> = clients.iter().take(shown).map(|client| row(client, now)).collect();
    let widths: Vec<usize> = (0..5)
        .map(|column| {
            let cells = std::iter::once(&header).chain(&rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    if let Some(width) = canvas.width {
        let room = width.saturating_sub(widths.iter().map(|width| width + GAP).sum());
        for [.., note] in &mut rows {
            cut(note, room);
        }
    }
    let mut text = line(&header, &widths, None);
    for (client, cells) in clients.iter().zip(&rows) {
        text.push_str(&line(cells, &widths, canvas.colours.then(|| colour(client.state()))));
    }
    match clients.len() - shown {
        0 => text,
        more => format!("{text}… and {more} more\n"),
    }
}

/// How many of the clients are shown on so many lines.
fn shown(clients: usize, height: Option<usize>) -> usize {
    // The cursor takes the last line: on it the picture would scroll. The first one is the header's.
    let room = height.map_or(usize::MAX, |height| height.saturating_sub(2));
    // One line says how many more there are.
    if clients <= room { clients } else { room.saturating_sub(1) }
}

/// Shortens a text to so many characters.
fn cut(text: &mut String, room: usize) {
    if text.chars().count() > room {
        *text = text.chars().take(room.saturating_sub(1)).chain(['…']).take(room).collect();
    }
}

fn row(client: &v1::ClientStatus, now: SystemTime) -> [String; 6] {
    [
        client.name.clone(),
        json::state(client.state()).to_owned(),
        runway(client).map_or_else(|| "-".to_owned(), output::span),
        client.next_attempt_at.as_ref().map_or_else(|| "-".to_owned(), |at| until(at, now)),
        client.requests_today.to_string(),
        note(client),
    ]
}

fn line(cells: &[String; 6], widths: &[usize], colour: Option<&str>) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width - cell.chars().count() + GAP);
        match colour {
            Some(colour) if column == 1 => text.push_str(&format!("\x1b[{colour}m{cell}\x1b[0m{padding}")),
            _ => text.push_str(&format!("{cell}{padding}")),
        }
    }
    text.push_str(cells.last().map_or("", String::as_str));
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}

/// What is worth knowing beside the numbers: the failure, else the first warning.
fn note(client: &v1::ClientStatus) -> String {
    if let Some(failure) = &client.last_failure {
        return format!("{}: {} (failures: {})", failure.reason, failure.text, client.consecutive_failures);
    }
    client.warnings.first().cloned().unwrap_or_default()
}

/// Everything about one client.
pub(super) fn details(client: &v1::ClientStatus, now: SystemTime) -> String {
    let time = |at: &Option<prost_types::Timestamp>| match at {
        Some(at) => format!("{} ({})", json::rfc3339(at), relative(at, now)),
        None => "-".to_owned(),
    };
    let mut facts = vec![
        ("client", client.name.clone()),
        ("state", format!("{}: {}", json::state(client.state()), meaning(client.state()))),
        ("token id", if client.token_id.is_empty() { "-".to_owned() } else { client.token_id.clone() }),
        ("issued", time(&client.issued_at)),
        ("expires", time(&client.expires_at)),
        ("runway", runway(client).map_or_else(|| "none".to_owned(), output::span)),
        ("next try", time(&client.next_attempt_at)),
        ("failures in a row", client.consecutive_failures.to_string()),
        ("requests today", requests(client)),
        ("required", if client.required { "yes" } else { "no" }.to_owned()),
    ];
    if client.secret_in_use > 0 {
        facts.push(("secret in use", client.secret_in_use.to_string()));
    }
    if let Some(failure) = &client.last_failure {
        facts.push(("last failure", format!("{}: {}", failure.reason, failure.text)));
        facts.push(("failed", time(&failure.at)));
    }
    facts.extend(client.warnings.iter().map(|warning| ("warning", warning.clone())));
    facts.into_iter().map(|(name, value)| format!("{:<18} {value}\n", format!("{name}:"))).collect()
}

fn requests(client: &v1::ClientStatus) -> String {
    match client.budget_per_day {
        0 => client.requests_today.to_string(),
        most => format!("{} of {most}", client.requests_today),
    }
}

fn meaning(state: v1::ClientState) -> &'static str {
    match state {
        v1::ClientState::Unspecified => "a state that this version does not know",
        v1::ClientState::Starting => "a token is on its way",
        v1::ClientState::Fresh => "all is well",
        v1::ClientState::Degraded => "the token is good, but the last refresh failed; act before the runway ends",
        v1::ClientState::Unavailable => "no usable token; being retried",
        v1::ClientState::Rejected => "no usable token; the credentials need a person",
        v1::ClientState::Idle => "nobody asks; the next caller starts a request",
    }
}

/// Whether callers get no token, though one is wanted.
pub(super) fn lacks_a_token(state: v1::ClientState) -> bool {
    matches!(state, v1::ClientState::Starting | v1::ClientState::Unavailable | v1::ClientState::Rejected)
}

/// The less, the sooner somebody should look.
fn urgency(state: v1::ClientState) -> u8 {
    match state {
        v1::ClientState::Unavailable | v1::ClientState::Rejected => 0,
        v1::ClientState::Degraded => 1,
        v1::ClientState::Fresh | v1::ClientState::Idle | v1::ClientState::Starting | v1::ClientState::Unspecified => 2,
    }
}

fn colour(state: v1::ClientState) -> &'static str {
    match state {
        v1::ClientState::Fresh => "32",
        v1::ClientState::Degraded | v1::ClientState::Starting => "33",
        v1::ClientState::Unavailable | v1::ClientState::Rejected => "31",
        v1::ClientState::Idle | v1::ClientState::Unspecified => "2",
    }
}

fn runway(client: &v1::ClientStatus) -> Option<Duration> {
    client.runway.and_then(|span| Duration::try_from(span).ok()).filter(|span| !span.is_zero())
}

fn until(at: &prost_types::Timestamp, now: SystemTime) -> String {
    match output::system_time(at).duration_since(now) {
        Ok(wait) if wait.as_secs() > 0 => format!("in {}", output::span(wait)),
        _ => "now".to_owned(),
    }
}

fn relative(at: &prost_types::Timestamp, now: SystemTime) -> String {
    match now.duration_since(output::system_time(at)) {
        Ok(ago) if ago.as_secs() > 0 => format!("{} ago", output::span(ago)),
        _ => until(at, now),
    }
}

/// Blanks between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, state: v1::ClientState, warning: &str) -> v1::ClientStatus {
        let mut client = v1::ClientStatus { name: name.to_owned(), ..v1::ClientStatus::default() };
        client.set_state(state);
        client.warnings = vec![warning.to_owned()];
        client
    }

    fn clients() -> Vec<v1::ClientStatus> {
        vec![
            client("a", v1::ClientState::Fresh, "a warning of many words"),
            client("b", v1::ClientState::Degraded, ""),
            client("c", v1::ClientState::Starting, ""),
            client("d", v1::ClientState::Unavailable, "short"),
            client("e", v1::ClientState::Rejected, ""),
        ]
    }

    fn picture(width: Option<usize>, height: Option<usize>) -> String {
        overview(&clients(), SystemTime::UNIX_EPOCH, Canvas { colours: false, width, height })
    }

    fn names(picture: &str) -> String {
        picture.lines().skip(1).filter_map(|line| line.split(' ').next()).collect()
    }

    #[test]
    fn who_needs_somebody_comes_first() {
        assert_eq!(names(&picture(None, None)), "debac");
        assert!(picture(None, None).contains("a warning of many words\n"));
    }

    #[test]
    fn notes_end_where_the_terminal_does() {
        let expected = "\
CLIENT  STATE        VALID FOR  NEXT TRY  TODAY  NOTE
d       UNAVAILABLE  -          -         0      short
e       REJECTED     -          -         0
b       DEGRADED     -          -         0
a       FRESH        -          -         0      a warni…
c       STARTING     -          -         0
";
        assert_eq!(picture(Some(57), None), expected);
        for width in 0..60 {
            let longest = picture(Some(width), None).lines().map(|line| line.chars().count()).max();
            assert!(
                longest <= Some(width.max("CLIENT  STATE        VALID FOR  NEXT TRY  TODAY  NOTE".len())),
                "{width}"
            );
        }
    }

    #[test]
    fn a_picture_leaves_the_last_line_to_the_cursor() {
        for (height, expected) in [(24, "debac"), (7, "debac"), (6, "deb…"), (5, "de…"), (3, "…"), (2, "…"), (0, "…")]
        {
            assert_eq!(names(&picture(None, Some(height))), expected, "{height}");
        }
        assert!(picture(None, Some(6)).ends_with("\nb       DEGRADED     -          -         0\n… and 2 more\n"));
    }
}
