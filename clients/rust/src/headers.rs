//! What an API call must carry: the token, fixed headers, and those whose value belongs to the call.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use regex_lite::Regex;
use tonic::Code;

use crate::{Error, Token, error::reason, pb::v1};

/// A header that the API wants on each call beside `Authorization`.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    written: String,
    name: HeaderName,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Fixed(HeaderValue),
    PerCall {
        pattern: String,
        /// `None` inside if it cannot be compiled.
        compiled: OnceLock<Option<Regex>>,
    },
}

impl RequestHeader {
    /// Reads the daemon's message.
    pub(crate) fn read(message: v1::RequestHeader) -> Result<Self, Error> {
        let nonsense = || Error::nonsense("a header that HTTP cannot carry");
        let name = HeaderName::try_from(&message.name).map_err(|_| nonsense())?;
        let rule = if message.per_call {
            Rule::PerCall { pattern: message.pattern, compiled: OnceLock::new() }
        } else {
            Rule::Fixed(HeaderValue::try_from(message.value).map_err(|_| nonsense())?)
        };
        Ok(Self { written: message.name, name, rule })
    }

    /// Its name as configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.written
    }

    /// The fixed value; `None` if each call has its own.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match &self.rule {
            Rule::Fixed(value) => value.to_str().ok(),
            Rule::PerCall { .. } => None,
        }
    }

    /// Whether each call has its own value.
    #[must_use]
    pub fn per_call(&self) -> bool {
        matches!(self.rule, Rule::PerCall { .. })
    }

    /// The regular expression that a per-call value must match as a whole; `None`: any value will do.
    #[must_use]
    pub fn pattern(&self) -> Option<&str> {
        match &self.rule {
            Rule::PerCall { pattern, .. } if !pattern.is_empty() => Some(pattern),
            _ => None,
        }
    }

    /// Puts a fixed value into the headers of a call, and checks what the call says where it is the call's to say.
    fn settle(&self, headers: &mut HeaderMap, client: &str) -> Result<(), Error> {
        let (pattern, compiled) = match &self.rule {
            Rule::Fixed(value) => {
                headers.insert(self.name.clone(), value.clone());
                return Ok(());
            }
            Rule::PerCall { pattern, compiled } => (pattern, compiled),
        };
        let name = &self.written;
        let mut given = headers.get_all(&self.name).iter().peekable();
        if given.peek().is_none() {
            let message = format!("each call as client `{client}` must carry the header {name}; set it");
            return Err(Error::new(reason::HEADER_MISSING, Code::InvalidArgument, message));
        }
        let refused = |why: String| {
            let message = format!("the header {name} of a call as client `{client}` {why}");
            Err(Error::new(reason::HEADER_INVALID, Code::InvalidArgument, message))
        };
        for value in given {
            let Ok(value) = str::from_utf8(value.as_bytes()) else { return refused("is not UTF-8".to_owned()) };
            if value.trim().is_empty() {
                return refused("is empty; give it a value".to_owned());
            }
            if value.contains(char::is_control) {
                return refused("has control characters".to_owned());
            }
            let whole = || Regex::new(&format!("^(?:{pattern})$")).ok();
            let Some(regex) = compiled.get_or_init(whole) else {
                return refused(format!("cannot be checked: {pattern} is not a regular expression here"));
            };
            if !pattern.is_empty() && !regex.is_match(value) {
                return refused(format!("does not match {pattern}"));
            }
        }
        Ok(())
    }
}

impl Token {
    /// All headers of one API call: `Authorization`, the fixed ones, and those of the call that are given.
    ///
    /// Headers that the configuration does not declare are left as they are.
    ///
    /// # Errors
    /// `HEADER_MISSING` or `HEADER_INVALID` if a per-call header is not given, or not as configured; `PROOF_REQUIRED` for
    /// a token that is bound to a key: take [`Proof::header_map`](crate::Proof::header_map) of a proof then.
    pub fn header_map<N, V>(&self, per_call: impl IntoIterator<Item = (N, V)>) -> Result<HeaderMap, Error>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        if self.proof_required() {
            let message = format!(
                "each call with a token of `{}` needs a proof of its own; use `Client::sign_proof` with method and URL",
                self.client()
            );
            return Err(Error::new(reason::PROOF_REQUIRED, Code::FailedPrecondition, message));
        }
        let mut headers = collect(per_call, self.client())?;
        self.authorize(&mut headers)?;
        Ok(headers)
    }

    /// Completes the headers of a call, whatever proof it needs beside them.
    pub(crate) fn authorize(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        for header in self.headers() {
            header.settle(headers, self.client())?;
        }
        let credentials = self.credentials().map_err(|_| Error::nonsense("a token that no header can carry"))?;
        headers.insert(AUTHORIZATION, credentials);
        Ok(())
    }
}

/// Headers as given by the program.
pub(crate) fn collect<N, V>(given: impl IntoIterator<Item = (N, V)>, client: &str) -> Result<HeaderMap, Error>
where
    N: AsRef<str>,
    V: AsRef<str>,
{
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = name.as_ref();
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.as_ref()).ok());
        let Some((name, value)) = pair else {
            let message = format!("the header {name:?} of a call as client `{client}` is none that HTTP can carry");
            return Err(Error::new(reason::HEADER_INVALID, Code::InvalidArgument, message));
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::token;

    fn header(name: &str, value: &str, per_call: bool, pattern: &str) -> v1::RequestHeader {
        let [name, value, pattern] = [name, value, pattern].map(ToOwned::to_owned);
        v1::RequestHeader { name, value, per_call, pattern }
    }

    fn with_pattern(pattern: &str) -> Token {
        let headers = vec![header("Requestor-ID", "", true, pattern), header("X-Partner", "acme", false, "")];
        Token::read(v1::Token { headers, ..token("a", 100) }).unwrap()
    }

    fn refusal(pattern: &str, value: &str) -> (String, String) {
        let error = with_pattern(pattern).header_map([("requestor-id", value)]).unwrap_err();
        (error.reason().to_owned(), error.message().to_owned())
    }

    #[test]
    fn all_headers_of_a_call() {
        let token = with_pattern("[0-9]{1,20}");
        let headers = token.header_map([("requestor-id", "4711"), ("X-Other", "1"), ("x-partner", "evil")]).unwrap();
        assert_eq!(headers.len(), 4);
        assert_eq!(headers["Authorization"], "Bearer secret-a");
        assert_eq!(
            (&headers["Requestor-ID"], &headers["X-Partner"], &headers["X-Other"]),
            (&HeaderValue::from_static("4711"), &HeaderValue::from_static("acme"), &HeaderValue::from_static("1"),)
        );
        assert!(!format!("{headers:?}").contains("secret-a"), "it is marked as sensitive");
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused_by_name() {
        let error = with_pattern("").header_map::<&str, &str>([]).unwrap_err();
        let expected = "each call as client `demo` must carry the header Requestor-ID; set it";
        assert_eq!((error.reason(), error.message()), (reason::HEADER_MISSING, expected));
        let start = "the header Requestor-ID of a call as client `demo`";
        for (pattern, value, why) in [
            ("", "", "is empty; give it a value"),
            (".*", " \t", "is empty; give it a value"),
            (".*", "a\tb", "has control characters"),
            ("[0-9]{1,20}", "47x", "does not match [0-9]{1,20}"),
            ("[0-9]{1,20}", "x47", "does not match [0-9]{1,20}"),
            ("a|b", "ab", "does not match a|b"),
            ("[", "1", "cannot be checked: [ is not a regular expression here"),
        ] {
            assert_eq!(refusal(pattern, value), (reason::HEADER_INVALID.to_owned(), format!("{start} {why}")));
        }
        assert_eq!(refusal("", "1\nX-Evil: 1").0, reason::HEADER_INVALID);
    }

    #[test]
    fn alternatives_match_as_a_whole() {
        for value in ["a", "bc"] {
            assert!(with_pattern("a|bc").header_map([("Requestor-ID", value)]).is_ok());
        }
    }

    #[test]
    fn a_bound_token_wants_a_proof() {
        let token = Token::read(v1::Token { proof_required: true, ..token("a", 100) }).unwrap();
        let error = token.header_map::<&str, &str>([]).unwrap_err();
        assert_eq!(error.reason(), reason::PROOF_REQUIRED);
    }
}
