//! Redirects. Never followed: a followed 301 turns the POST into a GET, and the secret would go wherever the
//! answer points.

use url::Url;

use super::{Answer, Expectations};
use crate::token::{Failure, FailureKind};

/// The failure that names where the redirect leads: scheme, host and path, never a query or user information.
pub(super) fn failure(answer: &Answer<'_>, expectations: &Expectations<'_>) -> Failure {
    let status = answer.status;
    let target = answer.location.and_then(|location| expectations.token_url.join(location.trim()).ok());
    let text = match target.as_ref().and_then(shown) {
        Some(place) => {
            let place = expectations.redactor.excerpt(&place, LONGEST);
            let advice = advice(target.as_ref(), expectations.token_url, &place);
            format!("HTTP {status} to {place}; redirects are not followed: {advice}")
        }
        None => format!("HTTP {status} without a usable Location; redirects are not followed: check token_url"),
    };
    Failure::new(FailureKind::Malformed, text)
}

fn shown(target: &Url) -> Option<String> {
    let host = target.host_str().filter(|_| matches!(target.scheme(), "http" | "https"))?;
    let port = target.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}{}", target.scheme(), target.path()))
}

/// Nobody is advised to send a secret unencrypted.
fn advice(target: Option<&Url>, token_url: &Url, place: &str) -> String {
    if token_url.scheme() == "https" && target.is_some_and(|target| target.scheme() == "http") {
        "check token_url (the redirect leaves https)".to_owned()
    } else {
        format!("set token_url to {place} if that is the token endpoint")
    }
}

/// How much of the place is shown, in bytes.
const LONGEST: usize = 512;
