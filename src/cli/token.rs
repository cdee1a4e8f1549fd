//! `bearerd token`

use std::path::PathBuf;

use serde_json::json;
use tonic::Request;

use super::{Exit, Outcome, Trouble, args, output, socket};
use crate::pb::v1;

/// Prints the token, alone.
pub(super) async fn token(named: Option<PathBuf>, args: args::TokenArgs) -> Outcome {
    let response = fetch(named, args.ask).await?;
    let (token, rejection) = response;
    if !args.json {
        return output::line(&token.access_token);
    }
    output::json(&json!({
        "client": token.client,
        "access_token": token.access_token,
        "token_type": token.token_type,
        "authorization": token.authorization,
        "id": token.id,
        "issued_at": token.issued_at.as_ref().map(output::rfc3339),
        "expires_at": token.expires_at.as_ref().map(output::rfc3339),
        "scope": token.scope,
        "headers": token.headers.iter().map(header).collect::<Vec<_>>(),
        "rejection": (rejection != v1::Rejection::Unspecified).then(|| short(rejection)),
    }))
}

/// Asks the daemon for a token.
pub(super) async fn fetch(named: Option<PathBuf>, args: args::AskArgs) -> Result<(v1::Token, v1::Rejection), Trouble> {
    let mut request = Request::new(v1::GetTokenRequest {
        client: args.client,
        min_validity: args.min_validity.map(|span| prost_types::Duration {
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
        }),
        rejected_token_id: args.rejected.unwrap_or_default(),
    });
    request.set_timeout(args.timeout);
    let mut broker = socket::connect(named).await?.broker();
    let response = socket::answer(args.timeout, broker.get_token(request)).await?;
    let rejection = response.rejection();
    let token = response.token.ok_or_else(|| Trouble::new(Exit::Unavailable, "the daemon answered without a token"))?;
    Ok((token, rejection))
}

fn header(header: &v1::RequestHeader) -> serde_json::Value {
    json!({
        "name": header.name,
        "value": (!header.per_call).then_some(&header.value),
        "per_call": header.per_call,
        "pattern": (!header.pattern.is_empty()).then_some(&header.pattern),
    })
}

/// `REJECTION_REPLACED` as people write it.
fn short(rejection: v1::Rejection) -> &'static str {
    let name = rejection.as_str_name();
    name.strip_prefix("REJECTION_").unwrap_or(name)
}
