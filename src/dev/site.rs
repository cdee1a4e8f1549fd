//! The endpoints of the embedded issuer: which request gets which answer.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{ALLOW, HOST, ORIGIN, RETRY_AFTER},
    uri::Authority,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use serde_json::{Value, json};
use tokio::sync::watch;
use url::form_urlencoded;

use super::{
    Mode, api,
    mint::Mint,
    mode::Table,
    reply::{self, Reply},
    token_request::{Refusal, Registration, TokenRequest},
};

/// What all connections share.
pub(super) struct Site {
    /// Where it listens on the loopback interface.
    pub(super) port: u16,
    /// The client that may have tokens.
    pub(super) client: Registration,
    /// Issues them.
    pub(super) mint: Mint,
    /// How the token endpoint behaves.
    pub(super) mode: watch::Sender<Mode>,
}

impl Site {
    /// Changes how the token endpoint behaves, from the next request on.
    pub(super) fn set_mode(&self, mode: Mode) {
        if self.mode.send_replace(mode) != mode {
            tracing::info!(%mode, "dev issuer changed its mode");
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`HangUp`] when the connection is to be closed without an answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Reply, HangUp> {
        let (head, body) = request.into_parts();
        if let Some(refused) = self.stray(head.uri.authority(), &head.headers) {
            return Ok(refused);
        }
        let Some(route) = Route::of(head.uri.path()) else {
            return Ok(reply::text(StatusCode::NOT_FOUND, ENDPOINTS));
        };
        if !route.permits(&head.method) {
            let refused = reply::text(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here\n");
            return Ok(reply::with(refused, ALLOW, route.methods()));
        }
        let Some(body) = read(body).await else {
            return Ok(reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB\n"));
        };
        Ok(match route {
            Route::Accounts => api::accounts(&self.mint, &head.headers),
            Route::Hello => api::hello(&self.mint, &head.headers),
            Route::KeySet => reply::json(StatusCode::OK, &self.mint.key_set()),
            Route::Metadata => reply::json(StatusCode::OK, &self.metadata()),
            Route::Mode if head.method == Method::POST => self.switch(&mode_named_in(&body)),
            Route::Mode => self.modes(),
            Route::ModeNamed(name) => self.switch(name),
            Route::Revoke => self.revoke(),
            Route::Token => return self.token(&head.headers, &body).await,
            Route::Validations => api::validations(&self.mint, &head.headers),
        })
    }

    /// The answer to a request that was not meant for this server.
    ///
    /// A web page in the developer's browser can reach the loopback interface: under a name of its own that it
    /// makes resolve to 127.0.0.1 (DNS rebinding, visible in `Host`), or by sending a form here (visible in
    /// `Origin`).
    fn stray(&self, authority: Option<&Authority>, headers: &HeaderMap) -> Option<Reply> {
        let own = |host: &str| is_own_host(host, self.port);
        let host_is_own = |host: &HeaderValue| host.to_str().is_ok_and(own);
        let mut hosts = headers.get_all(HOST).iter();
        let host_fits = hosts.next().is_some_and(host_is_own) && hosts.next().is_none();
        if !host_fits || authority.is_some_and(|authority| !own(authority.as_str())) {
            let text = format!("this is {}, not the host you asked for\n", self.mint.issuer());
            return Some(reply::text(StatusCode::MISDIRECTED_REQUEST, text));
        }
        let origin_is_own =
            |origin: &HeaderValue| origin.to_str().is_ok_and(|url| url.strip_prefix("http://").is_some_and(own));
        let foreign = !headers.get_all(ORIGIN).iter().all(origin_is_own);
        foreign.then(|| reply::text(StatusCode::FORBIDDEN, "requests of other web sites are refused\n"))
    }

    async fn token(&self, headers: &HeaderMap, body: &[u8]) -> Result<Reply, HangUp> {
        // Copied out: the borrow must not last until the slow answer.
        let mode = *self.mode.borrow();
        Ok(match mode {
            Mode::Busy => come_back(StatusCode::SERVICE_UNAVAILABLE, "5"),
            Mode::Down => return Err(HangUp),
            Mode::Empty => reply::text(StatusCode::OK, ""),
            Mode::Garbage => reply::page(StatusCode::OK, PAGE),
            Mode::Ok => self.issue(headers, body),
            Mode::Refuse => reply::refusal(Refusal::invalid_client(headers)),
            Mode::Slow => {
                tokio::time::sleep(SLOW).await;
                self.issue(headers, body)
            }
            Mode::Throttle => come_back(StatusCode::TOO_MANY_REQUESTS, "60"),
        })
    }

    fn issue(&self, headers: &HeaderMap, body: &[u8]) -> Reply {
        let request = TokenRequest::read(&self.client, headers, body);
        match request.and_then(|request| self.mint.issue(request)) {
            Ok(answer) => reply::json(StatusCode::OK, &answer),
            Err(refusal) => {
                tracing::debug!(error = refusal.error.code(), "dev issuer refused a token request");
                reply::refusal(refusal)
            }
        }
    }

    fn revoke(&self) -> Reply {
        self.mint.revoke_all();
        reply::text(StatusCode::OK, "the APIs here now refuse every token issued so far\n")
    }

    fn switch(&self, name: &str) -> Reply {
        match name.parse::<Mode>() {
            Ok(mode) => {
                self.set_mode(mode);
                reply::text(StatusCode::OK, format!("{mode}: {}\n", mode.explanation()))
            }
            Err(unknown) => reply::text(StatusCode::BAD_REQUEST, format!("{unknown}\n")),
        }
    }

    fn modes(&self) -> Reply {
        let url = self.mint.issuer();
        let table = Table(*self.mode.borrow());
        reply::text(StatusCode::OK, format!("{table}\nto change it: curl -X POST {url}/dev/mode/NAME\n"))
    }

    /// RFC 8414 section 2.
    fn metadata(&self) -> Value {
        let url = self.mint.issuer();
        json!({
            "issuer": url,
            "token_endpoint": format!("{url}{TOKEN_PATH}"),
            "jwks_uri": format!("{url}{KEY_SET_PATH}"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        })
    }
}

/// The connection is to be closed without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct HangUp;

impl fmt::Display for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed without an answer, as the mode demands")
    }
}

impl Error for HangUp {}

/// An endpoint.
enum Route<'a> {
    Accounts,
    Hello,
    KeySet,
    Metadata,
    Mode,
    ModeNamed(&'a str),
    Revoke,
    Token,
    Validations,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            ACCOUNTS_PATH => Some(Self::Accounts),
            HELLO_PATH => Some(Self::Hello),
            KEY_SET_PATH => Some(Self::KeySet),
            METADATA_PATH => Some(Self::Metadata),
            MODE_PATH => Some(Self::Mode),
            REVOKE_PATH => Some(Self::Revoke),
            TOKEN_PATH => Some(Self::Token),
            VALIDATIONS_PATH => Some(Self::Validations),
            _ => path.strip_prefix(MODE_PATH)?.strip_prefix('/').map(Self::ModeNamed),
        }
    }

    /// What `Allow` says. Whatever changes something needs a POST, so that no link and no image does it.
    fn methods(&self) -> &'static str {
        match self {
            Self::Accounts | Self::Hello | Self::KeySet | Self::Metadata => "GET, HEAD",
            Self::Mode => "GET, HEAD, POST",
            Self::ModeNamed(_) | Self::Revoke | Self::Token | Self::Validations => "POST",
        }
    }

    fn permits(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|permitted| permitted == method.as_str())
    }
}

/// The whole body, unless it is too large or breaks off.
async fn read(body: Incoming) -> Option<Bytes> {
    // An announced length is refused before the first byte of it is read.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_BODY {
        return None;
    }
    Some(Limited::new(body, MAX_BODY).collect().await.ok()?.to_bytes())
}

/// Whether a host with its port, as in `Host`, is this server.
fn is_own_host(host: &str, port: u16) -> bool {
    // A client leaves the port out when it is the default of `http`.
    let (name, given) = host.rsplit_once(':').unwrap_or((host, "80"));
    (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")) && given.parse() == Ok(port)
}

/// The mode that a body names: `mode=NAME`, or `NAME` alone.
fn mode_named_in(body: &[u8]) -> String {
    let field = form_urlencoded::parse(body).find(|(name, _)| name == "mode");
    let text = field.map_or_else(|| String::from_utf8_lossy(body).into_owned(), |(_, value)| value.into_owned());
    text.trim().to_owned()
}

fn come_back(status: StatusCode, seconds: &'static str) -> Reply {
    reply::with(reply::text(status, "come back later, says /dev/mode\n"), RETRY_AFTER, seconds)
}

/// The path of the token endpoint.
pub(super) const TOKEN_PATH: &str = "/oauth2/token";
const ACCOUNTS_PATH: &str = "/api/accounts";
const HELLO_PATH: &str = "/api/hello";
const KEY_SET_PATH: &str = "/jwks";
const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
const MODE_PATH: &str = "/dev/mode";
const REVOKE_PATH: &str = "/dev/revoke";
const VALIDATIONS_PATH: &str = "/payments/validations";

/// The largest body that is read. A token request is a few hundred bytes.
const MAX_BODY: usize = 64 * 1024;
/// Longer than any client should wait.
const SLOW: Duration = Duration::from_secs(30);

const ENDPOINTS: &str = "\
nothing here; there are:
POST /oauth2/token                            tokens for the demo clients
GET  /jwks                                    the key that signs them
GET  /.well-known/oauth-authorization-server  where everything is
GET  /api/hello                               an API that wants such a token
GET  /api/accounts                            another one, which wants a Requestor-ID as well
POST /payments/validations                    another one, for requests with a body
POST /dev/revoke                              makes these APIs refuse all tokens issued so far
GET  /dev/mode                                how the token endpoint behaves
POST /dev/mode/NAME                           makes it behave otherwise
";

const PAGE: &str = "\
<!DOCTYPE html>
<html lang=\"en\"><head><title>Sign in</title></head><body><h1>Please sign in to the guest network</h1></body></html>
";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{clock::TestClock, dev::jwt::SigningKey, sensitive::Sensitive};

    #[tokio::test(start_paused = true)]
    async fn the_slow_mode_takes_half_a_minute() {
        let key = SigningKey::generate().unwrap();
        let site = Site {
            port: 1,
            client: Registration { id: String::new(), secret: Sensitive::new("") },
            mint: Mint::new(String::new(), String::new(), Duration::ZERO, Arc::new(TestClock::new()), key),
            mode: watch::Sender::new(Mode::Slow),
        };
        let start = tokio::time::Instant::now();
        assert!(site.token(&HeaderMap::new(), b"").await.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[test]
    fn only_the_loopback_names_with_the_port_are_own() {
        for own in ["127.0.0.1:8080", "localhost:8080", "LocalHost:8080"] {
            assert!(is_own_host(own, 8080), "{own}");
        }
        let others = [
            "",
            ":8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost.evil.example:8080",
            "evil.example:8080",
            "[::1]:8080",
        ];
        for other in others {
            assert!(!is_own_host(other, 8080), "{other}");
        }
        assert!(is_own_host("127.0.0.1", 80) && is_own_host("localhost:80", 80));
    }

    #[test]
    fn a_mode_is_named_in_many_ways() {
        for body in ["mode=down", "mode=down\n", "down", " down\n", "a=b&mode=down"] {
            assert_eq!(mode_named_in(body.as_bytes()), "down", "{body:?}");
        }
        assert_eq!(mode_named_in(b""), "");
    }

    #[test]
    fn every_route_is_told_to_people() {
        let paths = [
            ACCOUNTS_PATH,
            HELLO_PATH,
            KEY_SET_PATH,
            METADATA_PATH,
            MODE_PATH,
            REVOKE_PATH,
            TOKEN_PATH,
            VALIDATIONS_PATH,
        ];
        for path in paths {
            assert!(Route::of(path).is_some() && ENDPOINTS.contains(path), "{path}");
        }
        assert!(matches!(Route::of("/dev/mode/ok"), Some(Route::ModeNamed("ok"))));
        for path in ["/", "", "/dev/modes", "/oauth2/token/"] {
            assert!(Route::of(path).is_none(), "{path}");
        }
    }
}
