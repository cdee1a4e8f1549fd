//! What a token request says: `scope`, `audience`, `resource` and `parameters`.

use url::Url;

use crate::config::reader::Node;

/// Scope tokens, joined as they are sent.
pub(super) fn scope(node: &Node<'_>) -> Option<Box<str>> {
    let mut tokens = Vec::new();
    for (item, text) in node.texts() {
        // A string alone may hold several, a string in a list is one.
        let several = text.split(' ').filter(|token| !token.is_empty());
        let found: Vec<&str> = if node.is_list() { vec![text] } else { several.collect() };
        if found.is_empty() || !found.iter().all(|token| is_scope_token(token)) {
            item.problem(
                "is not a scope (RFC 6749 section 3.3)",
                r#"write printable ASCII without " and \, with a space between scopes or each in a string of its own"#,
            );
        }
        tokens.extend(found);
    }
    if tokens.is_empty() { None } else { Some(tokens.join(" ").into()) }
}

pub(super) fn audience(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    if text.chars().any(char::is_control) {
        node.problem("has a control character in it", "write what the issuer's documentation says");
    }
    Some(text.into())
}

/// Resource indicators, as they were written: issuers compare them as text.
pub(super) fn resource(node: &Node<'_>) -> Box<[Box<str>]> {
    let checked = node.texts().into_iter().map(|(item, text)| {
        let written_as_uri = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#');
        if !written_as_uri || Url::parse(text).is_err() {
            item.problem(
                "is not an absolute URI without a fragment (RFC 8707)",
                r#"write one like "https://api.example/""#,
            );
        }
        Box::from(text)
    });
    checked.collect()
}

/// Further form fields, sorted by name.
pub(super) fn parameters(node: &Node<'_>) -> Box<[(Box<str>, Box<str>)]> {
    let fields = node.named().into_iter().filter_map(|(name, field)| {
        if name.is_empty() {
            field.problem("has no name", "name the form field");
        } else if let Some((_, instead)) = OWN_FIELDS.iter().find(|(own, _)| *own == name) {
            field.problem("is a form field that bearerd sets itself", instead);
        }
        Some((Box::from(name), Box::from(field.string()?)))
    });
    fields.collect()
}

/// RFC 6749 appendix A.4.
fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Form fields that are not extra, and where their values come from.
const OWN_FIELDS: [(&str, &str); 11] = [
    ("assertion", "write the client's key assertion_file or private_key"),
    ("audience", "write the client's key audience"),
    ("client_assertion", "write the client's key client_assertion_file or private_key"),
    ("client_assertion_type", "write the client's key client_assertion_type"),
    ("client_id", "write the client's key client_id"),
    ("client_secret", "write the client's key client_secret"),
    ("grant_type", "write the client's key grant"),
    ("resource", "write the client's key resource"),
    ("scope", "write the client's key scope"),
    ("subject_token", "write the client's key subject_token_file"),
    ("subject_token_type", "write the client's key subject_token_type"),
];
