//! `request_headers`: what calls to the API must carry beside `Authorization`.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use regex_lite::Regex;

use super::shared::Shared;
use crate::{
    config::reader::{Keys, Node},
    token::{HeaderValueRule, RequestHeader},
};

/// Reads a table of headers; sorted by name.
pub(super) fn check(node: &Node<'_>, shared: &Shared) -> Arc<[RequestHeader]> {
    let mut seen = Vec::new();
    let mut headers = Vec::new();
    for (name, entry) in node.named() {
        check_name(&entry, name, &mut seen);
        let value = value(&entry);
        headers.extend(value.map(|value| RequestHeader { name: name.into(), value }));
    }
    shared.headers(headers)
}

fn check_name(entry: &Node<'_>, name: &str, seen: &mut Vec<HeaderName>) {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        entry.problem("is not the name of a header", "write letters, digits and hyphens");
        return;
    };
    if RESERVED.contains(&parsed.as_str()) {
        entry.problem("is a header that is not for you to set", "remove it: bearerd or the HTTP client sets it");
    }
    if seen.contains(&parsed) {
        entry.problem("is here twice: upper and lower case are the same in a header's name", "keep one of them");
    }
    seen.push(parsed);
}

fn value(entry: &Node<'_>) -> Option<HeaderValueRule> {
    let table = entry.table(&KEYS);
    let (per_call, pattern, fixed) = (table.key("per_call"), table.key("pattern"), table.key("value"));
    let by_caller = per_call.flag();
    if by_caller == Some(false) {
        per_call.problem("is false, which gives no value", "write true, or value = \"…\" instead");
    }
    let pattern_text = check_pattern(&pattern);
    let fixed_text = check_value(&fixed);
    let for_caller = per_call.is_set() || pattern.is_set();
    let forms = format!("write {FORMS}");
    if for_caller && fixed.is_set() {
        table.problem("has a value and also leaves it to the caller", &forms);
    } else if pattern.is_set() && !per_call.is_set() {
        table.problem("has a pattern, but nobody gives the value", "add per_call = true");
    } else if entry.is_table() && !for_caller && !fixed.is_set() {
        table.problem("has no value", &forms);
    }
    match (fixed_text, by_caller) {
        (Some(text), _) => Some(HeaderValueRule::Fixed(text)),
        (None, Some(true)) => Some(HeaderValueRule::PerCall { pattern: pattern_text }),
        (None, _) => None,
    }
}

fn check_pattern(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    // Also alone: `a)|(b` would be complete only within the parentheses that are put around it.
    if Regex::new(text).is_err() || Regex::new(&format!("^(?:{text})$")).is_err() {
        node.problem("is not a regular expression", r#"write one that the whole value must match, like "[0-9]{1,20}""#);
    }
    Some(text.into())
}

fn check_value(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    if HeaderValue::from_str(text).is_err() || text.trim() != text {
        node.problem("is not the value of a header", "write printable ASCII, no space at either end");
    }
    Some(text.into())
}

pub(super) const KEYS: Keys = Keys { known: &["pattern", "per_call", "value"], planned: &[] };

const FORMS: &str = r#"{ value = "…" } or { per_call = true, pattern = "…" }"#;

/// The token's own header, and those that belong to one connection or message (RFC 9110 section 7.6.1).
const RESERVED: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
