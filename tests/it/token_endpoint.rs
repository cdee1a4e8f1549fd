//! One token request over real sockets: the bytes that are sent, and what becomes of every way an issuer can answer
//! or fail to.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bearerd::{
    clock::SystemClock,
    oauth::{
        BasicEncoding, CaBundle, ClientAuth, Endpoint, Grant, LifetimeUnit, Place, ProxyChoice, Settings, Transport,
        Transports, client_auth::SecretMethod,
    },
    secret::SecretSource,
    token::{Failure, FailureKind, Issued, TokenSource as _},
};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use url::Url;

use crate::support::{
    daemon::write_secret,
    idp::{Answer, Gate, Idp},
};

/// Reserved in forms, in URLs, in Basic credentials, or beyond ASCII.
const SECRET: &str = "p&=+%: /\u{e4}~*";
const SECRET_AS_FORM: &str = "p%26%3D%2B%25%3A+%2F%C3%A4%7E*";

/// An endpoint under test: its settings, and the directory its secret lives in.
struct Bench {
    dir: TempDir,
    settings: Settings,
}

impl Bench {
    fn new(token_url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        write_secret(&secret, &format!("{SECRET}\n"));
        let settings = Settings {
            place: Place::TokenUrl(Url::parse(token_url).unwrap()),
            grant: Grant::ClientCredentials,
            client_id: "acme".into(),
            auth: ClientAuth::Secret {
                method: SecretMethod::Post,
                sources: [SecretSource::File(secret.into())].into(),
            },
            dpop: false,
            revocation: None,
            identity: None,
            scope: None,
            audience: None,
            resource: Box::default(),
            parameters: Box::default(),
            token_type: None,
            expires_in_unit: LifetimeUnit::Seconds,
            expires_at_field: None,
            transport: Transport::default(),
            attempt_timeout: Duration::from_secs(10),
        };
        Self { dir, settings }
    }

    fn secret_path(&self) -> &Path {
        match &self.settings.auth {
            ClientAuth::Secret { sources, .. } => match &sources[0] {
                SecretSource::File(file) => file.path(),
                other => unreachable!("{other}"),
            },
            other => unreachable!("{other:?}"),
        }
    }

    fn secret_sent(&self, method: SecretMethod) -> ClientAuth {
        ClientAuth::Secret { method, sources: [SecretSource::File(self.secret_path().to_owned().into())].into() }
    }

    fn endpoint(&self) -> Endpoint {
        let http = Transports::default().client(&self.settings.transport).unwrap();
        Endpoint::new(Arc::new(self.settings.clone()), http, Arc::new(SystemClock))
    }

    async fn fetch(&self) -> Result<Issued, Failure> {
        let outcome = self.endpoint().fetch().await;
        if let Err(failure) = &outcome {
            assert!(!failure.text.contains(SECRET) && !failure.text.contains(SECRET_AS_FORM), "{failure}");
        }
        outcome
    }

    async fn fails(&self, kind: FailureKind) -> String {
        let failure = self.fetch().await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        failure.text.into_string()
    }
}

/// On which connections the requests came.
fn connections(idp: &Idp) -> Vec<usize> {
    idp.requests().iter().map(|request| request.connection).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn the_post_request_is_exactly_this() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    let issued = bench.fetch().await.unwrap();
    assert_eq!((issued.value.expose(), issued.secret_in_use), ("tok-1", 1));
    assert_eq!(issued.oddities, []);
    let request = &idp.requests()[0];
    let body = format!("grant_type=client_credentials&client_id=acme&client_secret={SECRET_AS_FORM}");
    assert_eq!(String::from_utf8_lossy(&request.body), body);
    assert_eq!((request.method.as_str(), request.target.to_string().as_str()), ("POST", "/token"));
    let mut headers: Vec<_> =
        request.headers.keys().map(|name| (name.as_str(), request.header(name.as_str()))).collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("accept", Some("application/json")),
            ("accept-encoding", Some("gzip")),
            ("content-length", Some(body.len().to_string().as_str())),
            ("content-type", Some("application/x-www-form-urlencoded")),
            ("host", Some(idp.address().to_string().as_str())),
            ("user-agent", Some(concat!("bearerd/", env!("CARGO_PKG_VERSION")))),
        ]
    );
}

#[tokio::test]
async fn the_basic_request_is_exactly_this_in_both_encodings() {
    let idp = Idp::start();
    for (encoding, credentials) in
        [(BasicEncoding::Raw, format!("acme:{SECRET}")), (BasicEncoding::Rfc6749, format!("acme:{SECRET_AS_FORM}"))]
    {
        let mut bench = Bench::new(&idp.token_url());
        bench.settings.auth = bench.secret_sent(SecretMethod::Basic(encoding));
        bench.settings.scope = Some("a b".into());
        bench.fetch().await.unwrap();
        let request = idp.requests().pop().unwrap();
        assert_eq!(request.body, "grant_type=client_credentials&scope=a+b");
        let expected = format!("Basic {}", STANDARD.encode(credentials));
        assert_eq!(request.header("authorization"), Some(expected.as_str()));
    }
}

#[tokio::test]
async fn user_information_in_the_url_makes_no_second_authentication() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url().replace("http://", "http://me:pass@"));
    bench.fetch().await.unwrap();
    assert_eq!(idp.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn tls_is_trusted_with_the_ca_file_only() {
    let idp = Idp::start_tls();
    let mut bench = Bench::new(&idp.token_url());
    let other = Idp::start_tls();
    bench.settings.transport.ca = Some(CaBundle::parse(other.ca_pem().as_bytes()).unwrap());
    let text = bench.fails(FailureKind::Unreachable).await;
    let expected = format!("TLS with {} failed: its certificate is not trusted", idp.address());
    assert!(text.starts_with(&expected) && text.contains("set tls.ca_file"), "{text}");
    assert!(text.ends_with("or install it on the system and reload"), "{text}");
    assert_eq!(idp.request_count(), 0, "the secret was not sent");
    bench.settings.transport.ca = Some(CaBundle::parse(idp.ca_pem().as_bytes()).unwrap());
    assert_eq!(bench.fetch().await.unwrap().value.expose(), "tok-1");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let idp = Idp::start_tls();
    let bench = Bench::new(&idp.token_url());
    // A machine without any certificate authority cannot even make the client, which says what to install.
    match Transports::default().client(&bench.settings.transport) {
        Ok(_) => assert!(bench.fails(FailureKind::Unreachable).await.contains("set tls.ca_file")),
        Err(error) => assert!(error.to_string().contains("install ca-certificates"), "{error}"),
    }
    assert_eq!(idp.request_count(), 0);
}

#[tokio::test]
async fn plain_http_where_tls_is_expected_is_named() {
    let idp = Idp::start();
    let tls = Idp::start_tls();
    let mut bench = Bench::new(&idp.token_url().replace("http:", "https:"));
    bench.settings.transport.ca = Some(CaBundle::parse(tls.ca_pem().as_bytes()).unwrap());
    let text = bench.fails(FailureKind::Unreachable).await;
    assert!(text.starts_with(&format!("TLS with {} failed: ", idp.address())), "{text}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let idp = Idp::start();
    for status in [301, 302, 303, 307, 308] {
        idp.next(Answer::new(status, "").header("location", "/token/?x=hidden"));
        let text = Bench::new(&idp.token_url()).fails(FailureKind::Malformed).await;
        let place = format!("http://{}/token/", idp.address());
        assert!(text.starts_with(&format!("HTTP {status} to {place}; redirects are not followed: set token_url to")));
        assert!(!text.contains("hidden"));
    }
    assert_eq!(idp.request_count(), 5);
}

#[tokio::test]
async fn gzip_is_understood_with_and_without_its_header() {
    let idp = Idp::start();
    let packed = gzip(r#"{"access_token":"packed","token_type":"Bearer","expires_in":60}"#);
    idp.next(Answer::new(200, packed.clone()).header("content-encoding", "gzip"));
    idp.next(Answer::new(200, packed));
    for _ in 0..2 {
        assert_eq!(Bench::new(&idp.token_url()).fetch().await.unwrap().value.expose(), "packed");
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_not_unpacked() {
    let idp = Idp::start();
    idp.next(Answer::new(200, gzip(&" ".repeat(50 * 1024 * 1024))).header("content-encoding", "gzip"));
    let text = Bench::new(&idp.token_url()).fails(FailureKind::Malformed).await;
    assert_eq!(text, "HTTP 200 with a gzip body that unpacks to more than 1 MiB");
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_taken_in() {
    let idp = Idp::start();
    let long = |start: &str| format!("{start}{}", "x".repeat(2 * 1024 * 1024));
    idp.next(Answer::new(200, long("")));
    let text = Bench::new(&idp.token_url()).fails(FailureKind::Malformed).await;
    assert_eq!(text, "HTTP 200 with a body over 1 MiB");
    idp.next(Answer::new(503, long("closed for repairs ")));
    let text = Bench::new(&idp.token_url()).fails(FailureKind::Busy).await;
    assert!(text.starts_with("HTTP 503: closed for repairs xxx") && text.len() < 600, "{text}");
    let token = "x".repeat(1024 * 1024 - 100);
    idp.next(Answer::token(&token, 60));
    assert_eq!(Bench::new(&idp.token_url()).fetch().await.unwrap().value.len(), token.len());
}

#[tokio::test]
async fn an_issuer_that_never_answers_costs_the_time_limit_and_no_more() {
    let idp = Idp::start();
    let mut bench = Bench::new(&idp.token_url());
    bench.settings.attempt_timeout = Duration::from_millis(100);
    idp.next(Answer::never());
    let expected = format!("no complete answer from {} within 0.1 s", idp.address());
    assert_eq!(bench.fails(FailureKind::Unreachable).await, expected);
    let gate = Gate::closed();
    idp.next(Answer::token("late", 60).behind(&gate));
    assert_eq!(bench.fails(FailureKind::Unreachable).await, expected);
    gate.open();
}

#[tokio::test]
async fn each_request_has_a_connection_of_its_own() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    let endpoint = bench.endpoint();
    for _ in 0..2 {
        endpoint.fetch().await.unwrap();
    }
    assert_eq!(connections(&idp), [0, 1]);
}

#[tokio::test]
async fn an_http2_connection_that_hangs_is_not_used_again() {
    let idp = Idp::start_http2();
    let mut bench = Bench::new(&idp.token_url());
    bench.settings.transport.ca = Some(CaBundle::parse(idp.ca_pem().as_bytes()).unwrap());
    let endpoint = bench.endpoint();
    idp.next(Answer::never());
    // Given up while it waits, as when its time is over.
    tokio::select! {
        outcome = endpoint.fetch() => panic!("it should hang, not end with {outcome:?}"),
        _ = idp.wait_for_requests(1) => {}
    }
    assert_eq!(endpoint.fetch().await.unwrap().value.expose(), "tok-1");
    assert_eq!(connections(&idp), [0, 1]);
}

#[tokio::test]
async fn what_does_not_speak_http_is_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let bench = Bench::new(&format!("http://{address}/token"));
    let answering = std::thread::spawn(move || {
        let mut stream = other.accept().unwrap().0;
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
        // Closed with something unread, it would take its words back.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let text = bench.fails(FailureKind::Malformed).await;
    assert_eq!(text, format!("{address} does not speak HTTP here; check token_url"));
    answering.join().unwrap();
}

#[tokio::test]
async fn connecting_has_a_limit_of_its_own_tls_included() {
    // Takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut bench = Bench::new(&format!("https://{address}/token"));
    bench.settings.transport.ca = Some(CaBundle::parse(Idp::start_tls().ca_pem().as_bytes()).unwrap());
    bench.settings.transport.connect_timeout = Duration::from_millis(100);
    let text = bench.fails(FailureKind::Unreachable).await;
    assert_eq!(text, format!("no connection to {address} within 0.1 s"));
}

#[tokio::test]
async fn a_slow_answer_within_the_limit_is_waited_for() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    let gate = Gate::closed();
    idp.next(Answer::token("slow", 60).behind(&gate));
    let opened = async {
        idp.wait_for_requests(1).await;
        gate.open();
    };
    let (outcome, ()) = tokio::join!(bench.fetch(), opened);
    assert_eq!(outcome.unwrap().value.expose(), "slow");
}

#[tokio::test]
async fn a_connection_closed_before_or_within_the_answer_is_named() {
    let idp = Idp::start();
    idp.next(Answer::close());
    idp.next(Answer::new(200, r#"{"access_token":"half"#).broken_off());
    for _ in 0..2 {
        let text = Bench::new(&idp.token_url()).fails(FailureKind::Unreachable).await;
        let expected = format!("{} broke off before its answer was complete: ", idp.address());
        assert!(text.starts_with(&expected) && !text.contains("half"), "{text}");
    }
    assert_eq!(idp.request_count(), 2, "not repeated by the HTTP client");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_named_and_works_again_when_back() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    assert!(bench.fetch().await.is_ok());
    idp.go_down();
    let text = bench.fails(FailureKind::Unreachable).await;
    let expected = format!("cannot connect to {}: Connection refused", idp.address());
    assert!(text.starts_with(&expected), "{text}");
    idp.come_back();
    assert_eq!(bench.fetch().await.unwrap().value.expose(), "tok-2");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let bench = Bench::new("http://no-such-host.invalid/token?client_secret=hidden");
    let text = bench.fails(FailureKind::Unreachable).await;
    assert!(text.starts_with("the name no-such-host.invalid cannot be resolved: "), "{text}");
    assert!(!text.contains("hidden"));
}

#[tokio::test]
async fn the_secret_is_read_again_at_each_attempt() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    let endpoint = bench.endpoint();
    endpoint.fetch().await.unwrap();
    assert!(!endpoint.credentials_changed().await);
    write_secret(bench.secret_path(), "rotated\n");
    assert!(endpoint.credentials_changed().await);
    endpoint.fetch().await.unwrap();
    let secrets: Vec<_> =
        idp.requests().iter().map(|request| request.field("client_secret").unwrap().to_owned()).collect();
    assert_eq!(secrets, [SECRET, "rotated"]);
}

#[tokio::test]
async fn an_unreadable_secret_asks_nobody_and_names_the_file() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    fs::remove_file(bench.secret_path()).unwrap();
    let text = bench.fails(FailureKind::Misconfigured).await;
    assert!(text.contains(bench.dir.path().to_str().unwrap()) && text.contains("does not exist"), "{text}");
    assert_eq!(idp.request_count(), 0);
}

#[tokio::test]
async fn a_configured_proxy_is_used() {
    let proxy = Idp::start();
    let mut bench = Bench::new("http://issuer.invalid/token");
    let url = format!("http://me:pass@{}", proxy.address());
    bench.settings.transport.proxy = ProxyChoice::Url(Box::new(Url::parse(&url).unwrap()));
    assert_eq!(bench.fetch().await.unwrap().value.expose(), "tok-1");
    let request = &proxy.requests()[0];
    assert_eq!(request.target.to_string(), "http://issuer.invalid/token");
    assert_eq!(request.header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));
    proxy.go_down();
    let text = bench.fails(FailureKind::Unreachable).await;
    let expected = format!("cannot connect to issuer.invalid through the proxy {}: ", proxy.address());
    assert!(text.starts_with(&expected) && !text.contains("pass"), "{text}");
}

#[tokio::test]
async fn what_the_issuer_says_reaches_the_failure() {
    let idp = Idp::start();
    let bench = Bench::new(&idp.token_url());
    idp.next(Answer::error(401, "invalid_client"));
    assert!(bench.fails(FailureKind::Refused).await.starts_with("HTTP 401, invalid_client"));
    idp.next(Answer::new(429, "").header("retry-after", "7"));
    let failure = bench.fetch().await.unwrap_err();
    assert_eq!((failure.kind, failure.throttled), (FailureKind::Busy, true));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    idp.next(Answer::new(500, format!("could not authenticate acme:{SECRET}")));
    let text = bench.fails(FailureKind::Busy).await;
    assert_eq!(text, "HTTP 500: could not authenticate acme:[redacted]");
}

#[tokio::test]
async fn the_issuers_clock_is_compared_with_ours() {
    let idp = Idp::start();
    idp.next(Answer::token("t", 60).header("date", "Fri, 02 Jan 2026 03:04:05 GMT"));
    let issued = Bench::new(&idp.token_url()).fetch().await.unwrap();
    assert!(issued.oddities.iter().any(|oddity| oddity.contains("issuer's clock")), "{:?}", issued.oddities);
}

#[test]
fn an_endpoint_is_small() {
    assert!(size_of::<Endpoint>() <= 7 * size_of::<usize>());
}
