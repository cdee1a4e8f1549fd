//! From the engine's values to messages of the API.

use std::time::{Duration, SystemTime};

use crate::{
    json,
    moment::Moment,
    pb::v1,
    refresh::{Entry, Given, Status},
    token::{AccessToken, ClientName, ClientState, HeaderValueRule, Rejection, RequestHeader},
};

/// A token as it is handed out.
pub(super) fn token(name: &ClientName, token: &AccessToken, headers: &[RequestHeader], now: Moment) -> v1::Token {
    let value = token.value.expose();
    let mut authorization = String::with_capacity(token.token_type.len() + 1 + value.len());
    authorization.push_str(&token.token_type);
    authorization.push(' ');
    authorization.push_str(value);
    v1::Token {
        client: name.as_str().to_owned(),
        access_token: value.to_owned(),
        token_type: token.token_type.clone().into_owned(),
        authorization,
        id: token.id.to_string(),
        issued_at: Some(timestamp(token.sent.wall)),
        expires_at: Some(timestamp(token.expires_at_wall(now))),
        scope: token.scope.clone().into_string(),
        headers: headers.iter().map(header).collect(),
        proof_required: token.binding.is_some(),
    }
}

/// The same for the view, without a copy of it. `id` is the text of the token's.
pub(super) fn json<'a>(entry: &'a Entry, given: &'a Given, id: &'a str, now: Moment) -> json::Token<'a> {
    let token = &given.token;
    let header = |header: &'a RequestHeader| {
        let (value, pattern, per_call) = match &header.value {
            HeaderValueRule::Fixed(value) => (Some(&**value), None, false),
            HeaderValueRule::PerCall { pattern } => (None, pattern.as_deref(), true),
        };
        json::Header { name: &header.name, pattern, per_call, value }
    };
    json::Token {
        access_token: token.value.expose(),
        authorization: json::Authorization(&token.token_type, token.value.expose()),
        client: entry.name.as_str(),
        expires_at: Some(timestamp(token.expires_at_wall(now))),
        headers: entry.request_headers.iter().map(header).collect(),
        id,
        issued_at: Some(timestamp(token.sent.wall)),
        proof_required: token.binding.is_some(),
        rejection: rejection(given.rejection),
        scope: &token.scope,
        token_type: &token.token_type,
    }
}

fn header(header: &RequestHeader) -> v1::RequestHeader {
    let name = header.name.clone().into_string();
    match &header.value {
        HeaderValueRule::Fixed(value) => {
            v1::RequestHeader { name, value: value.clone().into_string(), per_call: false, pattern: String::new() }
        }
        HeaderValueRule::PerCall { pattern } => v1::RequestHeader {
            name,
            value: String::new(),
            per_call: true,
            pattern: pattern.clone().map(String::from).unwrap_or_default(),
        },
    }
}

/// What became of a report.
pub(super) fn rejection(rejection: Option<Rejection>) -> v1::Rejection {
    match rejection {
        None => v1::Rejection::Unspecified,
        Some(Rejection::AlreadyReplaced) => v1::Rejection::AlreadyReplaced,
        Some(Rejection::RateLimited) => v1::Rejection::RateLimited,
        Some(Rejection::Replaced) => v1::Rejection::Replaced,
        Some(Rejection::SameToken) => v1::Rejection::SameToken,
        Some(Rejection::TooYoung) => v1::Rejection::TooYoung,
    }
}

/// How a client is doing.
pub(super) fn status(status: &Status<'_>, now: Moment) -> v1::ClientStatus {
    let snapshot = &status.snapshot;
    let token = snapshot.token_for(Duration::ZERO, status.spoiled, now);
    v1::ClientStatus {
        name: status.entry.name.as_str().to_owned(),
        state: state(snapshot.state(status.spoiled, now)).into(),
        token_id: token.map(|token| token.id.to_string()).unwrap_or_default(),
        issued_at: token.map(|token| timestamp(token.sent.wall)),
        expires_at: token.map(|token| timestamp(token.expires_at_wall(now))),
        next_attempt_at: snapshot
            .next_attempt_at
            .filter(|_| snapshot.quiet.is_none())
            .map(|at| timestamp(now.wall_at(at.max(now.boot)))),
        consecutive_failures: snapshot.consecutive_failures,
        last_failure: snapshot.failure.as_ref().map(|record| v1::LastFailure {
            reason: record.failure.kind.reason().to_owned(),
            text: record.failure.text.clone().into_string(),
            at: Some(timestamp(record.at.wall)),
        }),
        requests_today: snapshot.sent.today(now).into(),
        secret_in_use: snapshot.secret_in_use.into(),
        runway: token.map(|token| duration(token.remaining(now))),
        required: status.entry.required,
        warnings: warnings(status, now),
        budget_per_day: status.entry.budget_per_day.unwrap_or_default().into(),
    }
}

fn warnings(status: &Status<'_>, now: Moment) -> Vec<String> {
    let mut warnings: Vec<String> = status.snapshot.warnings.iter().map(ToString::to_string).collect();
    if let Some(most) = status.entry.budget_per_day {
        let sent = status.snapshot.sent.today(now);
        if sent >= most {
            warnings.push(format!(
                "the budget of {most} requests today is used up; only callers without a token start new ones"
            ));
        } else if u64::from(sent) * 5 >= u64::from(most) * 4 {
            warnings.push(format!("{sent} of {most} requests of today's budget are used"));
        }
    }
    warnings
}

fn state(state: ClientState) -> v1::ClientState {
    match state {
        ClientState::Degraded => v1::ClientState::Degraded,
        ClientState::Fresh => v1::ClientState::Fresh,
        ClientState::Idle => v1::ClientState::Idle,
        ClientState::Rejected => v1::ClientState::Rejected,
        ClientState::Starting => v1::ClientState::Starting,
        ClientState::Unavailable => v1::ClientState::Unavailable,
    }
}

/// A point of the wall clock; one before 1970 becomes 1970.
pub(super) fn timestamp(at: SystemTime) -> prost_types::Timestamp {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Below a milliard by definition.
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}

/// A span of time.
pub(super) fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}
