//! `bearerd token`

use std::path::PathBuf;

use bearerd_client::pb::v1;
use tonic::Request;

use super::{Exit, Outcome, Trouble, args, output, progress, socket};
use crate::json;

/// Prints the token, alone.
pub(super) async fn token(named: Option<PathBuf>, args: args::TokenArgs) -> Outcome {
    let (token, rejection) = fetch(named, args.ask).await?;
    if args.json {
        output::json(&json::Token { rejection, ..json::Token::from(&token) })?;
    } else {
        output::line(&token.access_token)?;
    }
    replaced(&token, rejection)
}

/// Asks the daemon for a token.
pub(super) async fn fetch(named: Option<PathBuf>, args: args::AskArgs) -> Result<(v1::Token, v1::Rejection), Trouble> {
    let what = format!("a token of `{}`", args.client);
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
    let asked = socket::answer(args.timeout, broker.get_token(request));
    let response = progress::waiting(&what, asked).await?;
    let rejection = response.rejection();
    let token = response.token.ok_or_else(|| Trouble::new(Exit::Unavailable, "the daemon answered without a token"))?;
    Ok((token, rejection))
}

/// Fails if a token was reported and is still the current one: whoever uses it again may well be refused again.
pub(super) fn replaced(token: &v1::Token, rejection: v1::Rejection) -> Outcome {
    let why = match rejection {
        v1::Rejection::Unspecified | v1::Rejection::Replaced | v1::Rejection::AlreadyReplaced => return Ok(()),
        v1::Rejection::TooYoung => {
            "it is less than 5s old, and the API's clock may be behind; call the API with it again, and report it \
             again if it is still refused"
        }
        v1::Rejection::RateLimited => {
            "too many renewals were forced (one in 30s, three in 10m without a cure); see whether it is the API that \
             is wrong, and try again later"
        }
        v1::Rejection::SameToken => {
            "the issuer was asked and returned the very same one; ask whoever runs the API or the issuer, and try \
             again later"
        }
    };
    let text = format!(
        "the reported token of `{}` was not replaced: {why} [{}]",
        token.client,
        json::rejection_word(rejection)
    );
    Err(Trouble::new(Exit::TryAgain, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_token_that_stays_is_a_reason_to_try_again_later() {
        let token = v1::Token { client: "demo".to_owned(), ..v1::Token::default() };
        for good in [v1::Rejection::Unspecified, v1::Rejection::Replaced, v1::Rejection::AlreadyReplaced] {
            assert!(replaced(&token, good).is_ok(), "{good:?}");
        }
        for (bad, reason) in [
            (v1::Rejection::TooYoung, "it is less than 5s old"),
            (v1::Rejection::RateLimited, "too many renewals were forced"),
            (v1::Rejection::SameToken, "the issuer was asked and returned the very same one"),
        ] {
            let Trouble { exit, text } = replaced(&token, bad).unwrap_err();
            assert_eq!(exit, Exit::TryAgain);
            assert!(text.starts_with(&format!("the reported token of `demo` was not replaced: {reason}")), "{text}");
            assert!(text.ends_with(&format!("[{}]", json::rejection_word(bad))), "{text}");
        }
    }
}
