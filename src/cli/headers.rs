//! `bearerd headers`

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bearerd_client::pb::v1;
use http::{HeaderName, HeaderValue};
use regex_lite::Regex;
use tonic::Request;

use super::{Exit, Outcome, Trouble, args, output, socket, token};

/// Prints the complete header lines of an API call.
pub(super) async fn headers(named: Option<PathBuf>, args: args::HeadersArgs) -> Outcome {
    let given = given(&args.set)?;
    let call = args.method.zip(args.url).map(|(method, url)| Call { method, url, nonce: args.nonce });
    let timeout = args.ask.timeout;
    let (mut token, rejection) = token::fetch(named.clone(), args.ask).await?;
    let mut proof = None;
    if token.proof_required {
        let call = call.ok_or_else(|| {
            let text = format!("each call with a token of `{}` needs a proof; add --method and --url", token.client);
            Trouble::new(Exit::Usage, text)
        })?;
        let answer = prove(named, &token.client, call, timeout).await?;
        // It may be a newer one.
        token = answer.token.unwrap_or(token);
        proof = Some(answer.proof);
    }
    let mut lines = complete(&token, given)?;
    lines.extend(proof.map(|proof| ("DPoP".to_owned(), proof)));
    if args.json {
        output::json(&lines.into_iter().collect::<BTreeMap<_, _>>())?;
    } else {
        let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        output::print(text.as_bytes())?;
    }
    token::replaced(&token, rejection)
}

/// The call that the headers are for.
struct Call {
    method: String,
    url: String,
    nonce: Option<String>,
}

async fn prove(
    named: Option<PathBuf>,
    client: &str,
    call: Call,
    timeout: Duration,
) -> Result<v1::SignProofResponse, Trouble> {
    let Call { method, url, nonce } = call;
    let nonce = nonce.unwrap_or_default();
    let mut request = Request::new(v1::SignProofRequest { client: client.to_owned(), method, url, nonce });
    request.set_timeout(timeout);
    let mut broker = socket::connect(named).await?.broker();
    socket::answer(timeout, broker.sign_proof(request)).await
}

/// The values given on the command line, by lower-case name.
fn given(set: &[String]) -> Result<BTreeMap<String, (String, String)>, Trouble> {
    let usage = |text: String| Trouble::new(Exit::Usage, text);
    let mut given = BTreeMap::new();
    for pair in set {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| usage(format!("--set {pair}: write NAME=VALUE, as in --set Requestor-ID=4711")))?;
        let well_formed = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok();
        if !well_formed {
            return Err(usage(format!("--set {name}=…: not a header name and value as HTTP knows them")));
        }
        if given.insert(name.to_ascii_lowercase(), (name.to_owned(), value.to_owned())).is_some() {
            return Err(usage(format!("--set {name}=…: given twice; give it once")));
        }
    }
    Ok(given)
}

/// The lines, or a refusal when what the API demands is missing or does not match.
fn complete(
    token: &v1::Token,
    mut given: BTreeMap<String, (String, String)>,
) -> Result<Vec<(String, String)>, Trouble> {
    let mut lines = vec![("Authorization".to_owned(), token.authorization.clone())];
    let mut wrong = Vec::new();
    for header in &token.headers {
        let supplied = given.remove(&header.name.to_ascii_lowercase());
        match (header.per_call, supplied) {
            (false, None) => lines.push((header.name.clone(), header.value.clone())),
            (false, Some(_)) => wrong.push(format!("{} is fixed by the configuration; leave it out", header.name)),
            (true, None) => wrong.push(format!("{0} is missing; add --set {0}=VALUE", header.name)),
            // curl takes a header without a value for an order to leave it out.
            (true, Some((_, value))) if value.trim().is_empty() => {
                wrong.push(format!("{} is empty; give it a value", header.name));
            }
            (true, Some((_, value))) if matches(&header.pattern, &value) => lines.push((header.name.clone(), value)),
            (true, Some(_)) => wrong.push(format!("{} does not match {}", header.name, header.pattern)),
        }
    }
    wrong.extend(
        given.values().map(|(name, _)| format!("{name} is not declared in the client's request_headers; leave it out")),
    );
    if wrong.is_empty() {
        Ok(lines)
    } else {
        Err(Trouble::new(Exit::Usage, format!("no headers for `{}`: {}", token.client, wrong.join("; "))))
    }
}

/// Whether the value as a whole matches. The daemon has checked that the pattern is one.
fn matches(pattern: &str, value: &str) -> bool {
    pattern.is_empty() || Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(pattern: &str) -> v1::Token {
        let header = |name: &str, value: &str, per_call, pattern: &str| v1::RequestHeader {
            name: name.to_owned(),
            value: value.to_owned(),
            per_call,
            pattern: pattern.to_owned(),
        };
        v1::Token {
            client: "wawex".to_owned(),
            authorization: "Bearer t".to_owned(),
            headers: vec![header("Requestor-ID", "", true, pattern), header("X-Partner", "acme", false, "")],
            ..v1::Token::default()
        }
    }

    fn lines(set: &[&str]) -> Result<Vec<String>, String> {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        let lines = given(&set).and_then(|given| complete(&token("[0-9]{1,20}"), given));
        lines
            .map(|lines| lines.iter().map(|(name, value)| format!("{name}: {value}")).collect())
            .map_err(|trouble| trouble.text)
    }

    #[test]
    fn all_lines_are_printed() {
        let expected = ["Authorization: Bearer t", "Requestor-ID: 4711", "X-Partner: acme"];
        assert_eq!(lines(&["requestor-id=4711"]).unwrap(), expected);
    }

    #[test]
    fn an_empty_value_is_refused_whatever_the_pattern_says() {
        for pattern in ["", ".*"] {
            for set in ["Requestor-ID=", "Requestor-ID= \t"] {
                let trouble = complete(&token(pattern), given(&[set.to_owned()]).unwrap()).unwrap_err();
                assert_eq!(trouble.text, "no headers for `wawex`: Requestor-ID is empty; give it a value");
            }
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused() {
        for (set, expected) in [
            (&[][..], "no headers for `wawex`: Requestor-ID is missing; add --set Requestor-ID=VALUE"),
            (&["Requestor-ID=47x"], "no headers for `wawex`: Requestor-ID does not match [0-9]{1,20}"),
            (&["Requestor-ID=1\nX-Evil: 1"], "--set Requestor-ID=…: not a header name and value as HTTP knows them"),
            (&["Requestor-ID=1", "requestor-id=2"], "--set requestor-id=…: given twice; give it once"),
            (
                &["Requestor-ID=1", "X-Partner=evil"],
                "no headers for `wawex`: X-Partner is fixed by the configuration; leave it out",
            ),
            (
                &["Requestor-ID=1", "X-Other=1"],
                "no headers for `wawex`: X-Other is not declared in the client's request_headers; leave it out",
            ),
            (&["nonsense"], "--set nonsense: write NAME=VALUE, as in --set Requestor-ID=4711"),
        ] {
            assert_eq!(lines(set).unwrap_err(), expected);
        }
    }
}
