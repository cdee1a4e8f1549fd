//! The embedded issuer of `bearerd dev`, spoken to over TCP as any client would.

use std::{error::Error, io, sync::Arc, time::Duration};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL},
};
use bearerd::{
    clock::TestClock,
    dev::{Issuer, IssuerSettings, Mode},
    sensitive::Sensitive,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

type Outcome = Result<(), Box<dyn Error>>;

/// An issuer and the clock it goes by.
struct Stage {
    issuer: Issuer,
    clock: TestClock,
}

impl Stage {
    async fn set() -> io::Result<Self> {
        let clock = TestClock::new();
        Ok(Self { issuer: Issuer::start(settings(0, &clock)).await?, clock })
    }

    fn authority(&self) -> String {
        self.issuer.url().replace("http://", "")
    }

    /// Sends exactly this and reads until the connection is closed.
    async fn send(&self, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.authority()).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Sends a request with the right `Host` and further header lines, each ending in CR LF.
    async fn ask(&self, line: &str, headers: &str, body: &str) -> io::Result<Answer> {
        let (host, length) = (self.authority(), body.len());
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n");
        Answer::read(&self.send(&format!("{head}{body}")).await?)
    }

    async fn token_request(&self, authorization: &str, body: &str) -> io::Result<Answer> {
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{authorization}");
        self.ask("POST /oauth2/token", &headers, body).await
    }

    async fn token(&self) -> io::Result<String> {
        Ok(self.token_request("", POST_BODY).await?.text("access_token").to_owned())
    }

    async fn hello(&self, token: &str) -> io::Result<Answer> {
        self.ask("GET /api/hello", &format!("Authorization: Bearer {token}\r\n"), "").await
    }
}

fn settings(port: u16, clock: &TestClock) -> IssuerSettings {
    IssuerSettings {
        port,
        client_id: "demo".to_owned(),
        client_secret: Sensitive::new("demo secret"),
        lifetime: Duration::from_secs(60),
        clock: Arc::new(clock.clone()),
    }
}

/// A parsed answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
    json: Value,
}

impl Answer {
    fn read(text: &str) -> io::Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Self {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
            json: serde_json::from_str(body).unwrap_or_default(),
        })
    }

    /// A text in the JSON body; empty when there is none.
    fn text(&self, name: &str) -> &str {
        text(&self.json, name)
    }

    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }

    fn names(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.starts_with(&format!("{header}:")))
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn basic(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials))
}

const POST_BODY: &str = "grant_type=client_credentials&client_id=demo&client_secret=demo+secret";
const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn it_issues_tokens_to_a_client_that_posts_its_secret() -> Outcome {
    let stage = Stage::set().await?;
    let answer = stage.token_request("", &format!("{POST_BODY}&scope=a+b")).await?;
    assert_eq!(answer.status, 200);
    assert!(answer.has("cache-control: no-store") && answer.has("content-type: application/json"), "{}", answer.head);
    assert_eq!((answer.text("token_type"), answer.text("scope")), ("Bearer", "a b"));
    assert_eq!(answer.json.get("expires_in"), Some(&json!(60)));
    assert!(stage.token_request("", POST_BODY).await?.json.get("scope").is_none(), "none asked for, none told");
    assert_eq!(stage.issuer.tokens_issued(), 2);
    Ok(())
}

#[tokio::test]
async fn it_issues_tokens_to_a_client_that_uses_basic() -> Outcome {
    let stage = Stage::set().await?;
    for credentials in ["demo:demo+secret", "demo:demo%20secret"] {
        let answer = stage.token_request(&basic(credentials), GRANT).await?;
        assert_eq!((answer.status, answer.text("token_type")), (200, "Bearer"), "{credentials}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_invalid_client() -> Outcome {
    let stage = Stage::set().await?;
    let posted = stage.token_request("", &POST_BODY.replace("secret=demo", "secret=dome")).await?;
    assert_eq!((posted.status, posted.text("error")), (401, "invalid_client"));
    assert!(!posted.names("www-authenticate"));
    let in_header = stage.token_request(&basic("demo:wrong"), GRANT).await?;
    assert_eq!((in_header.status, in_header.text("error")), (401, "invalid_client"));
    assert!(in_header.names("www-authenticate") && in_header.has("cache-control: no-store"));
    assert_eq!(stage.issuer.tokens_issued(), 0);
    Ok(())
}

#[tokio::test]
async fn other_requests_are_refused_with_their_own_code() -> Outcome {
    let stage = Stage::set().await?;
    let password = stage.token_request("", &POST_BODY.replace("client_credentials", "password")).await?;
    assert_eq!((password.status, password.text("error")), (400, "unsupported_grant_type"));
    let twice = stage.token_request("", &format!("{POST_BODY}&{GRANT}")).await?;
    assert_eq!((twice.status, twice.text("error")), (400, "invalid_request"));
    let untyped = stage.ask("POST /oauth2/token", "", POST_BODY).await?;
    assert_eq!((untyped.status, untyped.text("error")), (400, "invalid_request"));
    let fetched = stage.ask("GET /oauth2/token", "", "").await?;
    assert!(fetched.status == 405 && fetched.has("allow: post"), "{}", fetched.head);
    Ok(())
}

#[tokio::test]
async fn an_announced_large_body_is_not_read() -> Outcome {
    let stage = Stage::set().await?;
    let host = stage.authority();
    let head = format!("POST /oauth2/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 65537\r\n\r\n");
    assert_eq!(Answer::read(&stage.send(&head).await?)?.status, 413);
    Ok(())
}

#[tokio::test]
async fn each_mode_shows_at_the_token_endpoint() -> Outcome {
    let stage = Stage::set().await?;
    // Mode, status, a header it must have, how the body begins.
    let expectations = [
        (Mode::Busy, 503, "retry-after: 5", "come back"),
        (Mode::Throttle, 429, "retry-after: 60", "come back"),
        (Mode::Refuse, 401, "content-type: application/json", "{\"error\":\"invalid_client\""),
        (Mode::Garbage, 200, "content-type: text/html; charset=utf-8", "<!DOCTYPE html>"),
        (Mode::Empty, 200, "content-length: 0", ""),
    ];
    for (mode, status, header, body) in expectations {
        stage.issuer.set_mode(mode);
        let answer = stage.token_request("", POST_BODY).await?;
        assert_eq!(answer.status, status, "{mode}");
        assert!(answer.has(header), "{mode}: {}", answer.head);
        assert!(answer.body.starts_with(body), "{mode}: {}", answer.body);
        assert!(!answer.body.contains("access_token"), "{mode}");
    }
    assert_eq!(stage.issuer.tokens_issued(), 0);
    stage.issuer.set_mode(Mode::Ok);
    assert_eq!(stage.token_request("", POST_BODY).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn down_closes_without_an_answer_but_only_at_the_token_endpoint() -> Outcome {
    let stage = Stage::set().await?;
    let token = stage.token().await?;
    stage.issuer.set_mode(Mode::Down);
    let host = stage.authority();
    let head = format!("POST /oauth2/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(stage.send(&head).await?, "");
    assert_eq!(stage.hello(&token).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn the_mode_is_switched_by_post_in_three_ways() -> Outcome {
    let stage = Stage::set().await?;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let ways = [
        ("/dev/mode", form, "mode=down", Mode::Down),
        ("/dev/mode", "", "mode=busy\n", Mode::Busy),
        ("/dev/mode/refuse", "", "", Mode::Refuse),
    ];
    for (path, headers, body, mode) in ways {
        assert_eq!(stage.ask(&format!("POST {path}"), headers, body).await?.status, 200, "{path} {body}");
        assert_eq!(stage.issuer.mode(), mode);
        let shown = stage.ask("GET /dev/mode", "", "").await?;
        assert_eq!(shown.body.lines().next(), Some(mode.name()));
    }
    assert_eq!(stage.ask("GET /dev/mode/ok", "", "").await?.status, 405, "a link must not change anything");
    let unknown = stage.ask("POST /dev/mode/angry", "", "").await?;
    assert!(unknown.status == 400 && unknown.body.contains("throttle"), "{}", unknown.body);
    assert_eq!(stage.issuer.mode(), Mode::Refuse);
    Ok(())
}

#[tokio::test]
async fn the_published_key_verifies_a_token() -> Outcome {
    let stage = Stage::set().await?;
    let metadata = stage.ask("GET /.well-known/oauth-authorization-server", "", "").await?;
    assert_eq!(metadata.text("issuer"), stage.issuer.url());
    assert_eq!(metadata.text("token_endpoint"), stage.issuer.token_url());
    let path = metadata.text("jwks_uri").replace(&stage.issuer.url(), "");
    let keys = stage.ask(&format!("GET {path}"), "", "").await?;
    let key = keys.json.pointer("/keys/0").ok_or("no key")?;

    let token = stage.token().await?;
    let (signed, signature) = token.rsplit_once('.').ok_or("no signature")?;
    let (header, payload) = signed.split_once('.').ok_or("no payload")?;
    let header: Value = serde_json::from_slice(&BASE64URL.decode(header)?)?;
    assert_eq!(text(&header, "kid"), text(key, "kid"));
    assert_eq!((text(&header, "typ"), text(&header, "alg")), ("at+jwt", "ES256"));
    let point = [vec![4], BASE64URL.decode(text(key, "x"))?, BASE64URL.decode(text(key, "y"))?].concat();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    assert_eq!(public.verify(signed.as_bytes(), &BASE64URL.decode(signature)?), Ok(()));
    let claims: Value = serde_json::from_slice(&BASE64URL.decode(payload)?)?;
    assert_eq!((text(&claims, "iss"), text(&claims, "sub")), (stage.issuer.url().as_str(), "demo"));
    Ok(())
}

#[tokio::test]
async fn the_api_takes_a_good_token_only() -> Outcome {
    let stage = Stage::set().await?;
    let token = stage.token().await?;
    let welcome = stage.hello(&token).await?;
    assert_eq!((welcome.status, welcome.text("hello")), (200, "demo"));
    assert!(!welcome.text("jti").is_empty());
    let foreign = Stage::set().await?.token().await?;
    for bad in ["x", foreign.as_str()] {
        let refused = stage.hello(bad).await?;
        assert_eq!(refused.status, 401);
        assert!(refused.has(r#"www-authenticate: bearer error="invalid_token""#), "{}", refused.head);
    }
    let without = stage.ask("GET /api/hello", "", "").await?;
    assert!(without.status == 401 && without.has("www-authenticate: bearer"), "{}", without.head);
    stage.clock.step_wall_forward(Duration::from_secs(60));
    assert_eq!(stage.hello(&token).await?.status, 401, "expired");
    Ok(())
}

#[tokio::test]
async fn revoked_tokens_are_refused_and_later_ones_are_not() -> Outcome {
    let stage = Stage::set().await?;
    let before = stage.token().await?;
    assert_eq!(stage.ask("GET /dev/revoke", "", "").await?.status, 405);
    assert_eq!(stage.hello(&before).await?.status, 200);
    assert_eq!(stage.ask("POST /dev/revoke", "", "").await?.status, 200);
    let refused = stage.hello(&before).await?;
    assert!(refused.status == 401 && refused.has(r#"www-authenticate: bearer error="invalid_token""#));
    let after = stage.token().await?;
    assert_eq!(stage.hello(&after).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn requests_that_a_web_page_could_cause_are_refused() -> Outcome {
    let stage = Stage::set().await?;
    let own = stage.authority();
    let port = own.replace("127.0.0.1:", "");
    let tries = [
        (format!("Host: {own}\r\n"), 200),
        (format!("Host: localhost:{port}\r\n"), 200),
        (format!("Host: {own}\r\nOrigin: http://{own}\r\n"), 200),
        (format!("Host: evil.example:{port}\r\n"), 421),
        ("Host: 127.0.0.1\r\n".to_owned(), 421),
        (String::new(), 421),
        (format!("Host: {own}\r\nHost: evil.example\r\n"), 421),
        (format!("Host: {own}\r\nOrigin: http://evil.example\r\n"), 403),
        (format!("Host: {own}\r\nOrigin: null\r\n"), 403),
    ];
    for (headers, status) in tries {
        let request = format!("POST /dev/mode/busy HTTP/1.1\r\nContent-Length: 0\r\n{headers}\r\n");
        stage.issuer.set_mode(Mode::Ok);
        let answer = Answer::read(&stage.send(&request).await?)?;
        assert_eq!(answer.status, status, "{headers}");
        assert_eq!(stage.issuer.mode() == Mode::Busy, status == 200, "{headers}");
    }
    let proxied = format!("GET http://evil.example/jwks HTTP/1.1\r\nHost: {own}\r\n\r\n");
    assert_eq!(Answer::read(&stage.send(&proxied).await?)?.status, 421);
    Ok(())
}

#[tokio::test]
async fn a_dropped_issuer_stops_serving() -> Outcome {
    let stage = Stage::set().await?;
    let address = stage.authority();
    let mut open = TcpStream::connect(&address).await?;
    // Answered, so the issuer has accepted everything that was opened before.
    assert_eq!(stage.ask("GET /jwks", "", "").await?.status, 200);
    drop(stage);
    // The task that owns the connection ends when the runtime gets to it; either way of closing will do.
    let read = open.read(&mut [0; 1]).await;
    assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_named() -> Outcome {
    let stage = Stage::set().await?;
    let port = stage.authority().replace("127.0.0.1:", "").parse()?;
    let error = Issuer::start(settings(port, &stage.clock)).await.err().ok_or("it started")?;
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&stage.authority()), "{error}");
    Ok(())
}
