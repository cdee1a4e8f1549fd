//! The JSON forms of the API's messages: what `--json` prints and what the view over HTTP/1.1 answers.
//!
//! Times are RFC 3339 in UTC, cut to seconds, so that a token is never said to live longer than it does. Fields are
//! never left out: what is not known is `null`.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::pb::v1;

/// A token, borrowed: nothing of it is copied on the way to the text. Fields are in alphabetical order.
#[derive(Serialize)]
pub struct Token<'a> {
    /// The access token. Secret.
    pub access_token: &'a str,
    /// The value of the Authorization header. Secret.
    pub authorization: Authorization<'a>,
    /// Name of the client it belongs to.
    pub client: &'a str,
    /// When it stops being valid.
    #[serde(serialize_with = "time")]
    pub expires_at: Option<Timestamp>,
    /// What else each API call must carry.
    pub headers: Vec<Header<'a>>,
    /// Tells two tokens apart; safe to log.
    pub id: &'a str,
    /// When it was requested.
    #[serde(serialize_with = "time")]
    pub issued_at: Option<Timestamp>,
    /// Whether each API call needs a proof as well (RFC 9449).
    pub proof_required: bool,
    /// What became of a report; `null` if nothing was reported.
    #[serde(serialize_with = "rejection")]
    pub rejection: v1::Rejection,
    /// The granted scope; empty when the issuer did not say.
    pub scope: &'a str,
    /// Normally "Bearer".
    pub token_type: &'a str,
}

/// Type and token, as the Authorization header has them.
pub struct Authorization<'a>(pub &'a str, pub &'a str);

impl Serialize for Authorization<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Written piece by piece: there is no copy that nobody wipes.
        serializer.collect_str(self)
    }
}

impl fmt::Display for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// A header that the API wants on each call.
#[derive(Serialize)]
pub struct Header<'a> {
    /// Its name as configured.
    pub name: &'a str,
    /// What a per-call value must match as a whole; `null`: anything.
    pub pattern: Option<&'a str>,
    /// The caller supplies the value.
    pub per_call: bool,
    /// The fixed value; `null` when the caller supplies it.
    pub value: Option<&'a str>,
}

impl<'a> From<&'a v1::Token> for Token<'a> {
    fn from(token: &'a v1::Token) -> Self {
        Self {
            access_token: &token.access_token,
            authorization: Authorization(&token.token_type, &token.access_token),
            client: &token.client,
            expires_at: token.expires_at,
            headers: token.headers.iter().map(Header::from).collect(),
            id: &token.id,
            issued_at: token.issued_at,
            proof_required: token.proof_required,
            rejection: v1::Rejection::Unspecified,
            scope: &token.scope,
            token_type: &token.token_type,
        }
    }
}

impl<'a> From<&'a v1::RequestHeader> for Header<'a> {
    fn from(header: &'a v1::RequestHeader) -> Self {
        Self {
            name: &header.name,
            pattern: Some(&*header.pattern).filter(|pattern| !pattern.is_empty()),
            per_call: header.per_call,
            value: (!header.per_call).then_some(&header.value),
        }
    }
}

/// How a client is doing.
#[must_use]
pub fn client_status(client: &v1::ClientStatus) -> Value {
    let time = |at: &Option<Timestamp>| at.as_ref().map(rfc3339);
    let runway = client.runway.map(|runway| u64::try_from(runway.seconds).unwrap_or_default());
    json!({
        "name": client.name,
        "state": state(client.state()),
        "token_id": (!client.token_id.is_empty()).then_some(&client.token_id),
        "issued_at": time(&client.issued_at),
        "expires_at": time(&client.expires_at),
        "next_attempt_at": time(&client.next_attempt_at),
        "consecutive_failures": client.consecutive_failures,
        "last_failure": client.last_failure.as_ref().map(|failure| json!({
            "reason": failure.reason,
            "text": failure.text,
            "at": time(&failure.at),
        })),
        "requests_today": client.requests_today,
        "budget_per_day": (client.budget_per_day > 0).then_some(client.budget_per_day),
        "secret_in_use": client.secret_in_use,
        "runway_seconds": runway,
        "required": client.required,
        "warnings": client.warnings,
    })
}

/// The word for a state, as in `FRESH`.
#[must_use]
pub fn state(state: v1::ClientState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("CLIENT_STATE_").unwrap_or(name)
}

/// The word for what became of a report, as in `REPLACED`.
#[must_use]
pub fn rejection_word(rejection: v1::Rejection) -> &'static str {
    let name = rejection.as_str_name();
    name.strip_prefix("REJECTION_").unwrap_or(name)
}

/// RFC 3339, in seconds.
#[must_use]
pub fn rfc3339(at: &Timestamp) -> String {
    let since = Duration::from_secs(u64::try_from(at.seconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn time<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.as_ref().map(rfc3339).serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn rejection<S: Serializer>(rejection: &v1::Rejection, serializer: S) -> Result<S::Ok, S::Error> {
    (*rejection != v1::Rejection::Unspecified).then(|| rejection_word(*rejection)).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_all_that_the_message_says() {
        let headers = vec![
            v1::RequestHeader {
                name: "Requestor-ID".into(),
                per_call: true,
                pattern: "[0-9]+".into(),
                ..Default::default()
            },
            v1::RequestHeader { name: "X-Partner".into(), value: "acme".into(), ..Default::default() },
        ];
        let token = v1::Token {
            client: "wawex".into(),
            access_token: "a\"b".into(),
            token_type: "Bearer".into(),
            id: "0-1".into(),
            expires_at: Some(Timestamp { seconds: 1_800_000_000, nanos: 999_999_999 }),
            headers,
            ..Default::default()
        };
        let json = serde_json::to_value(Token { rejection: v1::Rejection::TooYoung, ..Token::from(&token) }).unwrap();
        assert_eq!(
            json,
            json!({
                "access_token": "a\"b", "authorization": "Bearer a\"b", "client": "wawex",
                "expires_at": "2027-01-15T08:00:00Z", "id": "0-1", "issued_at": null, "proof_required": false,
                "rejection": "TOO_YOUNG", "scope": "", "token_type": "Bearer",
                "headers": [
                    { "name": "Requestor-ID", "pattern": "[0-9]+", "per_call": true, "value": null },
                    { "name": "X-Partner", "pattern": null, "per_call": false, "value": "acme" },
                ],
            })
        );
        assert_eq!(serde_json::to_value(Token::from(&token)).unwrap()["rejection"], Value::Null);
    }
}
