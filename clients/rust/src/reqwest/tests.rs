//! Calls of an API on this machine, which says what the test wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use http::StatusCode;
use hyper::body::Bytes;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tonic::Code;

use super::*;
use crate::{
    pb::v1::{self, watch_token_response::State},
    tests::{Fake, token},
};

/// One request as the API saw it: its first line and its headers, in lower case, and its body.
#[derive(Clone, Debug)]
struct Seen {
    text: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

/// An API. It answers with what it was given, one after another, and with 200 when nothing is left.
#[derive(Clone)]
struct Api {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Api {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self { url: format!("http://{}", listener.local_addr().unwrap()), seen: Arc::default() };
        let mut answers: VecDeque<_> = answers.iter().map(ToString::to_string).collect();
        let seen = Arc::clone(&api.seen);
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers.pop_front().unwrap_or_else(|| "200 OK".to_owned());
                serve(stream, &answer, &seen).await;
            }
        });
        api
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The values of a header in all requests.
    fn all(&self, name: &str) -> Vec<Option<String>> {
        self.seen().iter().map(|seen| seen.header(name).map(ToOwned::to_owned)).collect()
    }
}

async fn serve(stream: TcpStream, answer: &str, seen: &Mutex<Vec<Seen>>) {
    let mut stream = BufReader::new(stream);
    let mut text = String::new();
    while stream.read_line(&mut text).await.unwrap() > 2 {}
    let text = text.to_ascii_lowercase().replace('\r', "");
    let mut seen_now = Seen { text, body: String::new() };
    let length = seen_now.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    seen_now.body = String::from_utf8(body).unwrap();
    seen.lock().unwrap().push(seen_now);
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Whoever is not interested in it hangs up.
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A client `demo` with token `a`, a fixed header and one for each call.
fn fake() -> Arc<Fake> {
    let fake = Fake::new();
    fake.say(State::Token(with_headers("a")));
    fake
}

fn with_headers(id: &str) -> v1::Token {
    let header = |name: &str, value: &str, pattern: &str| v1::RequestHeader {
        name: name.to_owned(),
        value: value.to_owned(),
        per_call: value.is_empty(),
        pattern: pattern.to_owned(),
    };
    v1::Token {
        headers: vec![header("Requestor-ID", "", "[0-9]{1,20}"), header("X-Partner", "acme", "")],
        ..token(id, 1000)
    }
}

fn builder(fake: &Arc<Fake>) -> HttpBuilder {
    // With other features of reqwest, which a build of the whole workspace has, it wants one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Http::builder(fake.broker().client("demo")).with(::reqwest::Client::builder().no_proxy())
}

fn http(fake: &Arc<Fake>) -> Http {
    builder(fake).build().unwrap()
}

fn call(http: &Http, method: Method, url: &str) -> RequestBuilder {
    http.request(method, url).header("requestor-id", "4711").header("cookie", "c=1")
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

fn reason_of(error: &Error) -> &str {
    match error {
        Error::Broker(error) => error.reason(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_call_carries_all_that_the_api_wants() {
    let (api, fake) = (Api::start(&[]).await, fake());
    let http = http(&fake);
    let request = call(&http, Method::GET, &api.url).header("authorization", "mine").header("x-partner", "mine");
    assert_eq!(http.send(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(api.all("authorization"), some(&["bearer secret-a"]));
    assert_eq!((api.all("x-partner"), api.all("requestor-id")), (some(&["acme"]), some(&["4711"])));
}

#[tokio::test]
async fn nothing_is_sent_that_is_not_as_it_must_be() {
    let (api, fake) = (Api::start(&[]).await, fake());
    let http = http(&fake);
    for (request, expected) in [
        (http.get(&api.url), reason::HEADER_MISSING),
        (http.get(&api.url).header("Requestor-ID", "47x"), reason::HEADER_INVALID),
        (http.get(&api.url).header("Requestor-ID", "1").header("Requestor-ID", "x"), reason::HEADER_INVALID),
        (http.get("http://192.0.2.1/").header("Requestor-ID", "1"), reason::URL_INSECURE),
    ] {
        assert_eq!(reason_of(&http.send(request).await.unwrap_err()), expected);
    }
    fake.say_unavailable(Code::Unavailable, reason::ISSUER_BUSY, None);
    let mut changes = http.client().0.memory.changes();
    changes.wait_for(|state| state.token.is_none()).await.unwrap();
    let error = http.send(call(&http, Method::GET, &api.url)).await.unwrap_err();
    assert_eq!(reason_of(&error), reason::ISSUER_BUSY);
    assert_eq!(api.seen().len(), 0);
}

#[tokio::test]
async fn a_401_is_reported_and_the_call_is_made_once_more() {
    let (api, fake) = (Api::start(&["401 Unauthorized"]).await, fake());
    fake.answer(with_headers("b"), v1::Rejection::Replaced);
    let http = http(&fake);
    let answer = http.send(call(&http, Method::POST, &api.url).body("payload")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(api.all("authorization"), some(&["bearer secret-a", "bearer secret-b"]));
    assert!(api.seen().iter().all(|seen| seen.body == "payload"));
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn a_second_401_is_the_answer() {
    let (api, fake) = (Api::start(&["401 Unauthorized", "401 Unauthorized"]).await, fake());
    fake.answer(with_headers("b"), v1::Rejection::Replaced);
    let http = http(&fake);
    let answer = http.send(call(&http, Method::GET, &api.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((api.seen().len(), fake.asked().len()), (2, 1));
}

#[tokio::test]
async fn a_token_that_stays_is_not_tried_again() {
    let (api, fake) = (Api::start(&["401 Unauthorized", "401 Unauthorized"]).await, fake());
    let http = http(&fake);
    fake.answer(with_headers("a"), v1::Rejection::TooYoung);
    let answer = http.send(call(&http, Method::GET, &api.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    fake.answer_with(BrokerError::new(reason::ISSUER_BUSY, Code::Unavailable, "as scripted"));
    let answer = http.send(call(&http, Method::GET, &api.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((api.seen().len(), fake.asked().len()), (2, 2));
}

#[tokio::test]
async fn a_stream_is_not_sent_again_but_its_401_is_reported() {
    let (api, fake) = (Api::start(&["401 Unauthorized"]).await, fake());
    fake.answer(with_headers("b"), v1::Rejection::Replaced);
    let http = http(&fake);
    let body = ::reqwest::Body::wrap(http_body_util::Empty::<Bytes>::new());
    let answer = http.send(call(&http, Method::POST, &api.url).body(body)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((api.seen().len(), fake.asked().len()), (1, 1));
    assert_eq!(http.client().token().await.unwrap().id(), "b");
}

#[tokio::test]
async fn other_refusals_are_no_reason_to_report() {
    let (api, fake) = (Api::start(&["400 Bad Request", "403 Forbidden"]).await, fake());
    let http = http(&fake);
    for expected in [400, 403] {
        assert_eq!(http.send(call(&http, Method::GET, &api.url)).await.unwrap().status(), expected);
    }
    assert_eq!((api.seen().len(), fake.asked().len()), (2, 0));
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_with_all_headers() {
    let (api, fake) = (Api::start(&["307 There\r\nlocation: /there?x", "303 See\r\nlocation: /seen"]).await, fake());
    let http = http(&fake);
    http.send(call(&http, Method::POST, &api.url).body("payload")).await.unwrap();
    let lines: Vec<_> = api.seen().iter().map(|seen| seen.text.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["post / http/1.1", "post /there?x http/1.1", "get /seen http/1.1"]);
    let bodies: Vec<_> = api.seen().iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(bodies, ["payload", "payload", ""]);
    assert_eq!(api.all("authorization"), some(&["bearer secret-a"; 3]));
    assert_eq!(api.all("requestor-id"), some(&["4711"; 3]));
}

#[tokio::test]
async fn nothing_of_the_token_goes_to_another_origin_not_even_on_the_way_back() {
    let (home, other, fake) = (Api::start(&[]).await, Api::start(&[]).await, fake());
    let back = format!("302 Found\r\nlocation: {}/back", home.url);
    let away = Api::start(&[&format!("302 Found\r\nlocation: {}/away", other.url)]).await;
    let via = Api::start(&[&back]).await;
    let http = http(&fake);
    http.send(call(&http, Method::GET, &away.url)).await.unwrap();
    assert_eq!(away.all("authorization"), some(&["bearer secret-a"]));
    let first = Api::start(&[&format!("302 Found\r\nlocation: {}/", via.url)]).await;
    http.send(call(&http, Method::GET, &first.url)).await.unwrap();
    for name in ["authorization", "x-partner", "requestor-id", "cookie"] {
        assert_eq!(other.all(name), [None], "{name}");
        assert_eq!((via.all(name), home.all(name)), (vec![None], vec![None]), "{name}");
    }
}

#[tokio::test]
async fn redirects_end() {
    let fake = fake();
    let again = "302 Found\r\nlocation: /again";
    let api = Api::start(&[again; 20]).await;
    let http = builder(&fake).max_redirects(3).build().unwrap();
    let error = http.send(call(&http, Method::GET, &api.url)).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRedirects), "{error}");
    assert_eq!(api.seen().len(), 4);
    let http = builder(&fake).max_redirects(0).build().unwrap();
    let answer = http.send(call(&http, Method::GET, &api.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_bound_token_gets_a_proof_and_the_nonce_that_the_api_wants() {
    let demand = "401 Unauthorized\r\nwww-authenticate: DPoP error=\"use_dpop_nonce\"\r\ndpop-nonce: n1";
    let (api, fake) = (Api::start(&[demand]).await, Fake::new());
    fake.say(State::Token(v1::Token { proof_required: true, ..with_headers("a") }));
    let http = http(&fake);
    for _ in 0..2 {
        let answer = http.send(call(&http, Method::GET, &api.url)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(fake.nonces(), ["", "n1", "n1"]);
    let proof = format!("proof of get {}/", api.url);
    assert_eq!(api.all("dpop"), some(&[proof.as_str(); 3]));
    assert_eq!(fake.asked().len(), 0, "nothing is reported");
}

#[tokio::test]
async fn a_demand_for_a_nonce_that_does_not_end_is_the_answer() {
    let demand = "401 Unauthorized\r\nwww-authenticate: DPoP error=\"use_dpop_nonce\"\r\ndpop-nonce: n";
    let (api, fake) = (Api::start(&[demand; 9]).await, Fake::new());
    fake.say(State::Token(v1::Token { proof_required: true, ..with_headers("a") }));
    let http = http(&fake);
    let answer = http.send(call(&http, Method::GET, &api.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((api.seen().len(), fake.asked().len()), (2, 0));
}
