//! From the request line to what is asked for.

use std::{borrow::Cow, time::Duration};

use http::{Method, StatusCode, Uri};
use url::form_urlencoded;

use super::answer::Answer;
use crate::{
    pb::v1,
    server::{convert, health::READINESS, reply::Refusal},
};

/// What is asked for.
#[derive(Debug)]
pub(super) enum Route {
    Client(String),
    Clients,
    /// The service as `grpc.health.v1` names it.
    Health(String),
    Proof(v1::SignProofRequest, Ask),
    Token(v1::GetTokenRequest, Ask),
}

/// What goes with a question that may have to wait.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// How long the caller waits.
    pub(super) timeout: Option<Duration>,
}

/// A request that asks for nothing that there is.
#[derive(Debug)]
pub(super) enum Stray {
    /// There is only this to be done there.
    Method(&'static str),
    Path,
    Query(String),
}

impl Route {
    /// What this request asks for.
    ///
    /// # Errors
    /// It asks for nothing that there is.
    pub(super) fn of(method: &Method, uri: &Uri) -> Result<Self, Stray> {
        let path = uri.path().strip_prefix("/v1/").ok_or(Stray::Path)?;
        let words: Vec<&str> = path.split('/').collect();
        let query = Query(uri.query().unwrap_or_default());
        let asked = match *words.as_slice() {
            ["clients"] => Self::Clients,
            ["clients", name] => Self::Client(name.to_owned()),
            ["clients", name, "proof"] => return by(method, "POST", || proof(name, &query)),
            ["clients", name, "token"] if method == Method::POST => return report(name, &query),
            ["clients", name, "token"] => return by(method, "GET, HEAD, POST", || token(name, &query)),
            ["health"] => Self::Health(READINESS.to_owned()),
            ["health", "live"] => Self::Health(String::new()),
            ["health", "clients", name] => Self::Health(format!("clients/{name}")),
            _ => return Err(Stray::Path),
        };
        by(method, "GET, HEAD", || query.only(&[]).map(|()| asked))
    }
}

/// What is asked for, if the method is one of those that do something there.
fn by(method: &Method, good: &'static str, asked: impl FnOnce() -> Result<Route, Stray>) -> Result<Route, Stray> {
    if good.split(", ").any(|good| good == method.as_str()) { asked() } else { Err(Stray::Method(good)) }
}

fn token(name: &str, query: &Query<'_>) -> Result<Route, Stray> {
    query.only(&["min_validity", "timeout"])?;
    let wanted = v1::GetTokenRequest {
        client: name.to_owned(),
        min_validity: query.duration("min_validity")?.map(convert::duration),
        rejected_token_id: String::new(),
    };
    Ok(Route::Token(wanted, query.ask()?))
}

fn report(name: &str, query: &Query<'_>) -> Result<Route, Stray> {
    query.only(&["min_validity", "rejected", "timeout"])?;
    let wanted = v1::GetTokenRequest {
        client: name.to_owned(),
        min_validity: query.duration("min_validity")?.map(convert::duration),
        rejected_token_id: query.needed("rejected")?,
    };
    Ok(Route::Token(wanted, query.ask()?))
}

fn proof(name: &str, query: &Query<'_>) -> Result<Route, Stray> {
    query.only(&["method", "nonce", "timeout", "url"])?;
    let wanted = v1::SignProofRequest {
        client: name.to_owned(),
        method: query.needed("method")?,
        url: query.needed("url")?,
        nonce: query.value("nonce")?.unwrap_or_default().into_owned(),
    };
    Ok(Route::Proof(wanted, query.ask()?))
}

/// The query of a URI: pairs as in forms.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// # Errors
    /// There is a name that is none of those, or has no meaning here.
    fn only(&self, known: &[&str]) -> Result<(), Stray> {
        match form_urlencoded::parse(self.0.as_bytes()).find(|(name, _)| !known.contains(&name.as_ref())) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => Err(Stray::Query(format!("`{name}`: there are no parameters here"))),
            Some((name, _)) => Err(Stray::Query(format!("`{name}`: the parameters here are {}", known.join(", ")))),
        }
    }

    fn value(&self, name: &str) -> Result<Option<Cow<'a, str>>, Stray> {
        let mut values = form_urlencoded::parse(self.0.as_bytes()).filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value);
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Stray::Query(format!("`{name}` is given twice; give it once"))),
        }
    }

    fn needed(&self, name: &str) -> Result<String, Stray> {
        let value = self.value(name)?.filter(|value| !value.is_empty());
        value.map(Cow::into_owned).ok_or_else(|| Stray::Query(format!("`{name}` is missing; add it to the query")))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Stray> {
        let read = |text: Cow<'_, str>| {
            let seconds = text.parse().ok().map(Duration::from_secs);
            let span = seconds.or_else(|| humantime::parse_duration(&text).ok());
            span.ok_or_else(|| Stray::Query(format!("`{name}` is not a duration; write one like 30s, 5m or 1h")))
        };
        self.value(name)?.map(read).transpose()
    }

    fn ask(&self) -> Result<Ask, Stray> {
        Ok(Ask { timeout: self.duration("timeout")?.map(|timeout| timeout.min(LONGEST)) })
    }
}

impl From<Stray> for Answer {
    fn from(stray: Stray) -> Self {
        match stray {
            Stray::Method(good) => Self::method_not_allowed(good),
            Stray::Path => Self::error(StatusCode::NOT_FOUND, "UNIMPLEMENTED", "PATH_UNKNOWN", PATHS),
            Stray::Query(text) => Refusal::Invalid(text.into()).into(),
        }
    }
}

/// Longer than anybody waits. Shorter than over gRPC: that a caller has gone is not always noticed while it waits.
const LONGEST: Duration = Duration::from_secs(60);
const PATHS: &str = "no such path; there are /v1/clients, /v1/clients/NAME, /v1/clients/NAME/token, \
                     /v1/clients/NAME/proof, /v1/health, /v1/health/live and /v1/health/clients/NAME";

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, uri: &str) -> Result<Route, Stray> {
        Route::of(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn the_query_says_what_is_wanted() {
        let Ok(Route::Token(wanted, ask)) = route("GET", "/v1/clients/a.b-c/token?min_validity=5m&timeout=3") else {
            panic!("no token is asked for")
        };
        let five = prost_types::Duration { seconds: 300, nanos: 0 };
        assert_eq!((wanted.client.as_str(), wanted.min_validity), ("a.b-c", Some(five)));
        assert_eq!((wanted.rejected_token_id.as_str(), ask.timeout), ("", Some(Duration::from_secs(3))));
        let Ok(Route::Token(wanted, _)) = route("POST", "/v1/clients/a/token?rejected=0-1") else {
            panic!("no token is reported")
        };
        assert_eq!(wanted.rejected_token_id, "0-1");
        let uri = "/v1/clients/a/proof?method=GET&url=https%3A%2F%2Fapi.example%2Fx%3Fy&nonce=n";
        let Ok(Route::Proof(wanted, _)) = route("POST", uri) else { panic!("no proof is asked for") };
        assert_eq!((&*wanted.url, &*wanted.method, &*wanted.nonce), ("https://api.example/x?y", "GET", "n"));
        for (uri, service) in
            [("/v1/health", READINESS), ("/v1/health/live", ""), ("/v1/health/clients/a", "clients/a")]
        {
            assert!(matches!(route("HEAD", uri), Ok(Route::Health(named)) if named == service), "{uri}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for uri in [
            "/",
            "/v1",
            "/v1/",
            "/v2/clients",
            "/v1/clients/a/b",
            "/v1/clients/a/token/c",
            "//v1/health",
            "/v1/health/",
        ] {
            assert!(matches!(route("GET", uri), Err(Stray::Path)), "{uri}");
        }
        let token = "/v1/clients/a/token";
        for (method, uri, good) in [
            ("DELETE", token.to_owned(), "GET, HEAD, POST"),
            ("GET", "/v1/clients/a/proof?method=GET&url=x".to_owned(), "POST"),
            ("POST", "/v1/health".to_owned(), "GET, HEAD"),
        ] {
            assert!(matches!(route(method, &uri), Err(Stray::Method(told)) if told == good), "{method} {uri}");
        }
        for (method, query, expected) in [
            ("GET", "rejected=0-1", "`rejected`: the parameters here are min_validity, timeout"),
            ("GET", "min_validity=soon", "`min_validity` is not a duration; write one like 30s, 5m or 1h"),
            ("GET", "timeout=-1", "`timeout` is not a duration; write one like 30s, 5m or 1h"),
            ("GET", "timeout=1&timeout=2", "`timeout` is given twice; give it once"),
            ("POST", "", "`rejected` is missing; add it to the query"),
            ("POST", "rejected=", "`rejected` is missing; add it to the query"),
        ] {
            let stray = route(method, &format!("{token}?{query}"));
            assert!(matches!(&stray, Err(Stray::Query(text)) if text == expected), "{method} {query}: {stray:?}");
        }
        assert!(matches!(route("GET", "/v1/clients?x=1"), Err(Stray::Query(_))));
    }
}
