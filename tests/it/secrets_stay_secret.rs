//! Secrets and tokens reach no log, no error text and no process list, however an issuer echoes them and whatever is
//! logged: the built daemon logs everything, libraries included, while the issuer returns what it was sent in every
//! notation; then all that anybody printed is searched for every notation of every piece of a secret.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what fails here fails the test")]

use std::{collections::HashMap, fs, process::Command, sync::mpsc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio_rustls::{TlsAcceptor, rustls};
use url::form_urlencoded;

use crate::support::{
    binary::{Daemon, Ended},
    daemon::{client, write_secret},
    idp::{Answer, Idp},
};

/// Reserved in forms, URLs, Basic credentials, JSON, HTML and `Debug`, or beyond ASCII; nothing else contains a piece
/// of it.
const SECRET: &str = "s3cr3t&p=+%:/\u{fc}~x\"Hq<k'9\\Zw Q7mB_vT4*!Rk2";
/// Visible ASCII, as a token must be, and reserved where it can be.
const TOKEN: &str = "tk.9Jq7+w/3~Vx_2-Zp=NbQ4r8Lm%Uc6&Wd1";
/// Of a proxy, in a URL.
const PASSWORD: &str = "Pr0xyW0rd-5hT7nB2kX";

// ---------------------------------------------------------------------------------------------------------------------
// The search.

/// Texts that give a piece of a secret away, by their first bytes.
struct Search {
    forms: HashMap<[u8; START], Vec<(String, String)>>,
    /// Whether any form begins with these two bytes: what makes it fast enough for megabytes.
    begun: Vec<bool>,
}

impl Search {
    fn of(secrets: &[&str]) -> Self {
        let mut forms = HashMap::<_, Vec<_>>::new();
        for piece in secrets.iter().flat_map(|secret| pieces(secret)) {
            for (kind, form) in forms_of(&piece) {
                let start: [u8; START] = form.as_bytes()[..START].try_into().unwrap();
                forms.entry(start).or_default().push((format!("{piece} as {kind}"), form));
            }
        }
        let mut begun = vec![false; 1 << 16];
        for start in forms.keys() {
            begun[usize::from(u16::from_be_bytes([start[0], start[1]]))] = true;
        }
        Self { forms, begun }
    }

    /// Each line with a piece of a secret, behind what it is.
    fn found_in(&self, text: &str) -> Vec<String> {
        text.lines().filter_map(|line| Some(format!("{}: {line}", self.found_in_line(line.as_bytes())?))).collect()
    }

    fn found_in_line(&self, line: &[u8]) -> Option<&str> {
        let mut two = 0;
        for (at, byte) in line.iter().enumerate() {
            two = two << 8 | u16::from(*byte);
            if self.begun[usize::from(two)] && at > 0 {
                let rest = &line[at - 1..];
                let forms = rest.first_chunk::<START>().and_then(|start| self.forms.get(start));
                let found = forms.into_iter().flatten().find(|(_, form)| rest.starts_with(form.as_bytes()));
                if let Some((name, _)) = found {
                    return Some(name);
                }
            }
        }
        None
    }
}

/// How many first bytes of a form are looked up; no form is shorter.
const START: usize = 4;

/// A text in pieces of about eleven characters, long enough to be nowhere by accident.
fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let count = characters.len() / 11;
    characters.chunks(characters.len().div_ceil(count)).map(|piece| piece.iter().collect()).collect()
}

/// All notations of a text in which it is a substring of the notation of whatever surrounds it.
fn forms_of(text: &str) -> Vec<(&'static str, String)> {
    let bytes = text.as_bytes();
    let json = in_json(text);
    let form: String = form_urlencoded::byte_serialize(bytes).collect();
    let mut forms = vec![
        ("itself", text.to_owned()),
        ("JSON", json.clone()),
        ("JSON in JSON", in_json(&json)),
        ("JSON with \\/", json.replace('/', "\\/")),
        ("ASCII JSON", ascii_json(text)),
        ("Debug", inner(&format!("{text:?}"))),
        ("Debug of Debug", inner(&format!("{:?}", format!("{text:?}"))).replace("\\\"", "\"")),
        ("Debug of bytes::Bytes", inner(&format!("{:?}", Bytes::copy_from_slice(bytes))[1..])),
        ("escape_ascii", bytes.escape_ascii().to_string()),
        ("Debug of bytes", format!("{bytes:?}").trim_matches(['[', ']']).to_owned()),
        ("hex", bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        ("upper hex", bytes.iter().map(|byte| format!("{byte:02X}")).collect()),
        ("hex with blanks", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")),
        ("HTML", in_html(text, "&#39;")),
        ("HTML with &#x27;", in_html(text, "&#x27;")),
        ("form", form.clone()),
        ("form in JSON", in_json(&form)),
        ("form in a form", form_urlencoded::byte_serialize(form.as_bytes()).collect()),
    ];
    for (kind, kept) in [
        ("percent, all but unreserved", "-._~"),
        ("percent, all but those of forms", "-._*"),
        ("percent, encodeURIComponent", "-._!~*'()"),
        ("percent, all but those of paths", "-._~!$&'()*+,;=:@/%"),
        ("percent, all but those of queries", "-._~!$&()*+,;=:@/%?'\\"),
    ] {
        forms.push((kind, percent(bytes, |byte| byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte))));
    }
    forms.push(("percent, everything", percent(bytes, |_| false)));
    let encoded = |(kind, _): &&(&str, String)| kind.starts_with("form") || kind.starts_with("percent");
    let lower: Vec<_> = forms.iter().filter(encoded).map(|(_, form)| lower_hex(form)).collect();
    forms.extend(lower.into_iter().map(|form| ("lower-case percent", form)));
    // Of the text, and of the form that Basic credentials have it in.
    for (offset, bytes) in (0..3).flat_map(|offset| [(offset, bytes), (offset, form.as_bytes())]) {
        // What is the same whatever comes before (so many bytes too many for a group of three) and after.
        let whole = &bytes[offset..offset + (bytes.len() - offset) / 3 * 3];
        forms.push(("base64", STANDARD.encode(whole)));
        forms.push(("base64url", URL_SAFE.encode(whole)));
    }
    forms
}

fn in_json(text: &str) -> String {
    inner(&serde_json::to_string(text).unwrap())
}

fn ascii_json(text: &str) -> String {
    let escaped = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => format!("\\u{:04x}", u32::from(character)),
    };
    in_json(text).chars().map(escaped).collect()
}

/// Without the quotes around it.
fn inner(quoted: &str) -> String {
    quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned()
}

fn in_html(text: &str, apostrophe: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', apostrophe)
}

fn percent(bytes: &[u8], keep: impl Fn(u8) -> bool) -> String {
    bytes.iter().map(|byte| if keep(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (hex, rest) = part.split_at(part.len().min(2));
        format!("{text}%{}{rest}", hex.to_ascii_lowercase())
    })
}

#[test]
fn the_search_finds_every_notation() {
    let search = Search::of(&[SECRET, TOKEN]);
    for secret in [SECRET, TOKEN] {
        let id_and_secret = format!("id-of-post:{secret}");
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut texts = vec![
            secret.to_owned(),
            form.clone(),
            form.replace('+', "%20"),
            lower_hex(&form),
            format!("{secret:?}"),
            format!("{:?}", Some(format!("{secret:?}"))),
            format!("{:?}", Bytes::copy_from_slice(secret.as_bytes())),
            format!("{:?}", secret.as_bytes()),
            format!("Data {{ {:?} }}", secret.as_bytes().escape_ascii().to_string()),
            secret.bytes().map(|byte| format!("{byte:x}")).collect(),
            json!({ "a": secret }).to_string(),
            json!({ "a": json!({ "a": secret }).to_string() }).to_string(),
            url::Url::parse("https://a.example/").unwrap().join(&format!("./{secret}")).unwrap().to_string(),
            in_html(secret, "&#39;"),
        ];
        let mut query = url::Url::parse("https://a.example/").unwrap();
        query.query_pairs_mut().append_pair("client_secret", secret);
        texts.push(query.to_string());
        query.set_query(Some(secret));
        texts.push(query.to_string());
        for before in 0..4 {
            for after in 0..3 {
                for middle in [secret, &form, &id_and_secret] {
                    let around = format!("{}{middle}{}", &"abcd"[..before], &"efg"[..after]);
                    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                        texts.push(engine.encode(&around));
                    }
                }
            }
        }
        for text in texts {
            assert!(!search.found_in(&format!("line\nsome {text} more\n")).is_empty(), "{text}");
        }
        for piece in pieces(secret) {
            assert!(!search.found_in(&format!("[{piece}]")).is_empty(), "{piece}");
        }
    }
    let innocent = include_str!("secrets_stay_secret.rs").lines().filter(|line| !line.starts_with("const "));
    assert_eq!(search.found_in(&innocent.collect::<Vec<_>>().join("\n")), [""; 0]);
    assert_eq!(search.found_in("s3cr3t tk.9Jq7 [redacted] Bearer Basic aWQtb2YtcG9zdDo="), [""; 0]);
}

// ---------------------------------------------------------------------------------------------------------------------
// What an issuer can say.

/// The secret in every notation that error pages, logs and frameworks have, the credentials, and the whole request.
fn likely_echoes(id: &str) -> Vec<String> {
    let form: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let upper = [
        form.clone(),
        form.replace('+', "%20"),
        percent(SECRET.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        // JavaScript, .NET, Go and PHP, Python.
        percent(SECRET.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"-._!~*'()".contains(&byte)),
        percent(SECRET.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"-._!*()".contains(&byte))
            .replace("%20", "+"),
        percent(SECRET.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).replace("%20", "+"),
        percent(SECRET.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)),
        format!("grant_type=client_credentials&client_id={id}&client_secret={form}"),
    ];
    let mut echoes: Vec<String> = upper.iter().map(|text| lower_hex(text)).chain(upper.clone()).collect();
    echoes.extend([SECRET.to_owned(), in_json(SECRET), ascii_json(SECRET), in_json(SECRET).replace('/', "\\/")]);
    echoes.extend(["&#39;", "&#x27;", "&#039;", "'"].map(|apostrophe| in_html(SECRET, apostrophe)));
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        echoes.push(engine.encode(SECRET));
        echoes.push(engine.encode(format!("{id}:{SECRET}")));
        echoes.push(format!("Basic {}", engine.encode(format!("{id}:{form}"))));
    }
    echoes
}

/// Notations of notations, and base64 of more than the secret.
fn unlikely_echoes() -> Vec<String> {
    let form: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let json = json!({ "client_secret": SECRET }).to_string();
    vec![
        in_json(&in_json(SECRET)),
        in_json(&form),
        in_html(&in_json(SECRET), "&#39;"),
        form_urlencoded::byte_serialize(form.as_bytes()).collect(),
        form_urlencoded::byte_serialize(in_json(SECRET).as_bytes()).collect(),
        percent(SECRET.as_bytes(), |_| false),
        percent(SECRET.as_bytes(), |byte| byte.is_ascii_graphic() && byte != b'%' && byte != b'"'),
        SECRET.escape_default().to_string(),
        format!("{:?}", Bytes::from_static(SECRET.as_bytes())),
        SECRET.bytes().map(|byte| format!("{byte:02x}")).collect(),
        STANDARD.encode(format!("grant_type=client_credentials&client_id=id-of-post&client_secret={form}")),
        STANDARD.encode(json),
        STANDARD.encode(format!("another-id:{SECRET}")),
        URL_SAFE_NO_PAD.encode(format!("x{SECRET}")),
    ]
}

/// The echo in every place of an answer in which something is read.
fn answers(echo: &str) -> Vec<Answer> {
    let fits = echo.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%+*=!'()".contains(&byte));
    let encoded = form_urlencoded::byte_serialize(echo.as_bytes()).collect();
    let in_url = if fits { echo.to_owned() } else { encoded };
    let redirect = |location: String| Answer::new(302, "").header("location", &location);
    vec![
        Answer::json(401, &json!({ "error": "invalid_client", "error_description": format!("got {echo}, sorry") })),
        Answer::json(400, &json!({ "error": echo })),
        Answer::new(500, format!("<html><body>Cannot handle <b>{echo}</b></body></html>")),
        Answer::json(200, &json!({ "error": "server_error", "message": echo, "access_token": TOKEN })),
        Answer::json(200, &json!({ echo: TOKEN, "expires_in": echo })),
        redirect(format!("https://other.example/{in_url}/token?secret={in_url}#{in_url}")),
    ]
}

/// Answers that hold a token, or what may be one, and cannot be used.
fn spoiled_tokens() -> Vec<Answer> {
    let url: String = form_urlencoded::byte_serialize(TOKEN.as_bytes()).collect();
    vec![
        Answer::new(200, TOKEN),
        Answer::new(200, format!("{{\"access_token\":\"{TOKEN}\"")),
        Answer::new(200, format!("{{\"access_token\":\"{TOKEN}\",}}")),
        Answer::new(200, format!("<token><access_token>{TOKEN}</access_token></token>")),
        Answer::new(500, format!("{{\"access_token\":\"{TOKEN}\"}}")),
        Answer::new(403, format!("token_type=bearer&access_token={url}")),
        Answer::json(200, &json!({ "data": { "access_token": TOKEN } })),
        Answer::json(200, &json!({ "accessToken": TOKEN, "id_token": TOKEN })),
        Answer::json(200, &json!([TOKEN])),
        Answer::json(200, &json!({ "access_token": format!("{TOKEN} {TOKEN}") })),
        Answer::json(200, &json!({ "access_token": format!("{TOKEN}\n") })),
        Answer::token(TOKEN, 3_600).broken_off(),
    ]
}

/// Answers that hold what was sent where nobody expects it.
fn odd_places() -> Vec<Answer> {
    let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let mut answers: Vec<_> = ["content-encoding", "content-type", "date", "retry-after", "www-authenticate"]
        .into_iter()
        .flat_map(|name| {
            [Answer::new(200, "?").header(name, &encoded), Answer::error(503, "server_error").header(name, &encoded)]
        })
        .collect();
    for location in [
        format!("https://{encoded}:{encoded}@other.example/"),
        format!("/{encoded}"),
        format!("?{encoded}"),
        format!("mailto:{encoded}"),
        format!("https://{}.example/", URL_SAFE_NO_PAD.encode(SECRET).to_ascii_lowercase()),
    ] {
        answers.push(Answer::new(307, "").header("location", &location));
    }
    answers
}

// ---------------------------------------------------------------------------------------------------------------------
// The daemon, and everything that is printed.

/// A daemon that logs all there is, and what its clients have printed so far.
struct Watched {
    daemon: Daemon,
    printed: String,
}

impl Watched {
    fn start(config: &str, format: &str) -> Self {
        // The named target makes it a list of targets: a level alone is meant for our own lines.
        let words = ["--log", "trace,h2=trace,hyper_util=trace", "--log-format", format];
        let daemon = Daemon::start_with(config, &words, |command| {
            command.env("THE_SECRET", SECRET);
        });
        write_secret(&daemon.dir().join("secret"), SECRET);
        Self { daemon, printed: String::new() }
    }

    /// Runs a verb and keeps what it prints.
    fn run(&mut self, words: &[&str]) -> Ended {
        let ended = self.daemon.run(words);
        self.note(words[0], &ended.stderr);
        // These three are there to print the token.
        if !["token", "headers", "exec"].contains(&words[0]) {
            self.note(words[0], &ended.stdout);
        }
        ended
    }

    /// Lets each of these clients get this answer by every way that there is to get one.
    fn meet(&mut self, idp: &Idp, answer: &Answer, clients: &[&str]) {
        for client in clients {
            idp.next(answer.clone());
            self.run(&["refresh", client]);
        }
    }

    fn note(&mut self, what: &str, text: &str) {
        for line in text.lines() {
            self.printed.push_str(&format!("`bearerd {what}` printed: {line}\n"));
        }
    }

    /// Ends the daemon; all that was printed, its log included.
    fn end(mut self) -> String {
        self.daemon.signal(Signal::SIGTERM);
        let ended = self.daemon.ended();
        assert_eq!(ended.code, Some(0));
        assert!(ended.stderr.contains("FramedWrite"), "the libraries have logged");
        self.printed + &ended.stdout + &ended.stderr
    }
}

/// A client for each way to send the secret, and for each place to keep it.
fn configuration(idp: &Idp) -> String {
    let basic = "auth_method = \"client_secret_basic\"\nprefetch = false";
    [
        client("post", idp, "prefetch = false"),
        client("basic", idp, basic).replace("{ file = \"@DIR@/secret\" }", "{ env = \"THE_SECRET\" }"),
        client("raw", idp, &format!("{basic}\nbasic_encoding = \"raw\"")),
    ]
    .concat()
}

const CLIENTS: [&str; 3] = ["post", "basic", "raw"];

/// A client for each other place that a secret comes from, and for each other use of one.
fn other_configuration(idp: &Idp) -> String {
    let secret = "client_secret = { file = \"@DIR@/secret\" }";
    let file = "auth_method = \"client_assertion_file\"\nclient_assertion_file = \"@DIR@/secret\"\nprefetch = false";
    let exchange = "grant = \"token_exchange\"\nsubject_token_file = \"@DIR@/secret\"\nprefetch = false";
    [
        client("assertion", idp, file).replace(secret, ""),
        client("exchange", idp, exchange),
        client("command", idp, "prefetch = false").replace(
            "{ file = \"@DIR@/secret\" }",
            "[{ file = \"@DIR@/gone\" }, { command = [\"/bin/cat\", \"@DIR@/secret\"] }]",
        ),
    ]
    .concat()
}

const OTHER_CLIENTS: [&str; 3] = ["assertion", "exchange", "command"];

fn assert_nothing_leaked(printed: &str) {
    let leaks = Search::of(&[SECRET, TOKEN, PASSWORD]).found_in(printed);
    let shown: Vec<String> = leaks.iter().take(20).map(|leak| leak.chars().take(400).collect()).collect();
    assert!(leaks.is_empty(), "{} lines give something away, among them\n{}", leaks.len(), shown.join("\n"));
}

/// These echoes, with the log in this format. Each is in the most likely place of an answer to one of the clients, and
/// in one of the other places for each other client.
fn echo(format: &str, clients: &[&str], echoes: impl Fn(&str) -> Vec<String>) {
    let idp = Idp::start();
    let configuration = if clients == OTHER_CLIENTS { other_configuration(&idp) } else { configuration(&idp) };
    let mut watched = Watched::start(&configuration, format);
    for (turn, client) in clients.iter().enumerate() {
        for (number, echo) in echoes(&format!("id-of-{client}")).iter().enumerate() {
            let answers = answers(echo);
            let place = if number % 3 == turn { 0 } else { 1 + (number + turn) % (answers.len() - 1) };
            watched.meet(&idp, &answers[place], &[client]);
        }
        watched.run(&["status"]);
        watched.run(&["status", client, "--json"]);
    }
    assert_nothing_leaked(&watched.end());
}

#[test]
fn an_echoed_secret_reaches_no_text() {
    echo("text", &CLIENTS, likely_echoes);
}

#[test]
fn an_echoed_assertion_or_token_of_somebody_else_reaches_no_text() {
    echo("text", &OTHER_CLIENTS, likely_echoes);
}

#[test]
fn what_is_signed_and_the_key_reach_nothing() {
    let idp = Idp::start();
    let keys = "issuer = \"https://issuer.example\"\nprefetch = false";
    let signed = format!("auth_method = \"private_key_jwt\"\nprivate_key = {{ file = \"@DIR@/key\" }}\n{keys}");
    let config = client("signed", &idp, &signed).replace("client_secret = { file = \"@DIR@/secret\" }", "")
        + &client("coded", &idp, &format!("auth_method = \"client_secret_jwt\"\n{keys}"));
    let mut watched = Watched::start(&config, "text");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    write_secret(&watched.daemon.dir().join("key"), &key);
    idp.judge(|request, number| {
        let assertion = request.field("client_assertion").unwrap();
        let (_, signature) = assertion.rsplit_once('.').unwrap();
        match number % 3 {
            0 => Answer::json(401, &json!({ "error": "invalid_client", "error_description": assertion })),
            1 => Answer::new(500, format!("<p>{assertion}</p>")),
            _ => Answer::json(
                400,
                &json!({ "error": "invalid_request", "error_description": format!("bad {signature}") }),
            ),
        }
    });
    for client in ["signed", "coded"].repeat(3) {
        watched.run(&["refresh", client]);
        watched.run(&["status", client]);
    }
    let requests = idp.requests();
    assert_eq!(requests.len(), 6);
    let assertions = requests.iter().map(|request| request.field("client_assertion").unwrap());
    // Claims and signature; the header is the same for everybody.
    let signed = assertions.flat_map(|assertion| assertion.split('.').skip(1));
    let hidden: Vec<_> = key.lines().filter(|line| !line.starts_with('-')).chain(signed).collect();
    let printed = watched.end();
    for part in hidden.iter().flat_map(|part| part.as_bytes().chunks_exact(16)) {
        let part = std::str::from_utf8(part).unwrap();
        let leak = printed.lines().find(|line| line.contains(part));
        assert_eq!(leak, None, "{part}");
    }
    assert_nothing_leaked(&printed);
}

#[test]
fn an_echoed_secret_reaches_no_json() {
    // The same words in another dress, so one of the clients will do.
    echo("json", &["post"], likely_echoes);
}

#[test]
fn an_echo_in_a_notation_of_a_notation_reaches_nothing() {
    echo("text", &CLIENTS, |_| unlikely_echoes());
}

#[test]
fn echoes_in_odd_places_and_spoiled_tokens_reach_nothing() {
    let idp = Idp::start();
    let mut watched = Watched::start(&configuration(&idp), "text");
    for answer in odd_places().into_iter().chain(spoiled_tokens()) {
        watched.meet(&idp, &answer, &["post", "basic"]);
        watched.run(&["status", "post"]);
    }
    assert_nothing_leaked(&watched.end());
}

#[test]
fn the_online_check_shows_neither() {
    let idp = Idp::start();
    let mut watched = Watched::start(&configuration(&idp), "journal");
    let config = watched.daemon.dir().join("bearerd.toml");
    let check = ["check", "--online", "--config", config.to_str().unwrap()];
    let odd = json!({ "access_token": TOKEN, "token_type": "MAC", "expires_in": "soon", "scope": SECRET });
    let answers: Vec<_> =
        answers(SECRET).into_iter().chain([Answer::json(200, &odd), Answer::token(TOKEN, 5)]).collect();
    for answer in answers {
        for words in [&check[..], &[&check[..], &["--json"]].concat()] {
            // The secret is in the environment of the daemon, not of this.
            idp.next(answer.clone());
            idp.next(answer.clone());
            assert!(watched.run(words).stdout.contains("post"));
        }
    }
    watched.run(&["health"]);
    assert_nothing_leaked(&watched.end());
}

/// A life without failures: good tokens, reported tokens, every verb.
fn all_is_well(format: &str) {
    let idp = Idp::start();
    idp.otherwise(|_| Answer::token(TOKEN, 3_600));
    let mut watched = Watched::start(&configuration(&idp), format);
    for client in CLIENTS {
        assert_eq!(watched.run(&["token", client]), Ended::new(0, &format!("{TOKEN}\n"), ""));
        let json = watched.run(&["token", client, "--json"]).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        for rejected in [json["id"].as_str().unwrap(), "00000000000000aa-1", TOKEN] {
            watched.run(&["token", client, "--rejected", rejected]);
        }
        watched.run(&["token", client, "--min-validity", "2h"]);
        watched.run(&["headers", client]);
        watched.run(&["headers", client, "--set", "Undeclared=1"]);
        watched.run(&["exec", client, "--", "true"]);
        watched.run(&["exec", client, "--", "no-such-command-at-all"]);
        watched.run(&["status", client]);
        watched.run(&["health", client]);
    }
    let config = configuration(&idp);
    watched.daemon.write_config(&config.replace("prefetch = false", "allow = [{ any = true }]"));
    for words in [&["status"][..], &["status", "--json"], &["health"], &["reload"], &["reload", "--json"]] {
        assert_eq!(watched.run(words).code, Some(0));
    }
    watched.daemon.write_config(&config.replace("client_id", "client_secret"));
    assert_eq!(watched.run(&["reload"]).code, Some(78));
    assert_nothing_leaked(&watched.end());
}

#[test]
fn good_tokens_reach_no_text() {
    all_is_well("text");
}

#[test]
fn good_tokens_reach_no_json() {
    all_is_well("json");
}

#[test]
fn the_password_of_a_proxy_stays_between_the_two() {
    let idp = Idp::start();
    let proxy = format!("proxy = \"http://user:{PASSWORD}@{}\"\nallow_http = true\nprefetch = false", idp.address());
    let config = client("demo", &idp, &proxy).replace(&idp.token_url(), "http://127.0.0.1:1/token");
    let mut watched = Watched::start(&config, "text");
    for answer in [Answer::new(407, "no"), Answer::close(), Answer::token(TOKEN, 3_600)] {
        watched.meet(&idp, &answer, &["demo"]);
        watched.run(&["status", "demo"]);
    }
    let expected = format!("Basic {}", STANDARD.encode(format!("user:{PASSWORD}")));
    assert_eq!(idp.requests()[0].header("proxy-authorization"), Some(expected.as_str()));
    assert_nothing_leaked(&watched.end());
}

#[test]
fn a_secret_in_the_wrong_place_of_the_configuration_is_not_repeated() {
    let quoted = toml_text(SECRET);
    let url = format!("https://id:{PASSWORD}@issuer.example/");
    let good = "client_id = \"id\"\nclient_secret = { env = \"X\" }\n";
    for (what, config) in [
        (
            "secret",
            format!("[clients.a]\ntoken_url = \"https://a.example/\"\nclient_id = \"id\"\nclient_secret = {quoted}\n"),
        ),
        ("no quotes", format!("[clients.a]\nclient_secret = {PASSWORD}\n")),
        ("a file", format!("[clients.a]\nclient_secret = {{ file = {quoted} }}\n")),
        ("a variable", format!("[clients.a]\nclient_secret = {{ env = {quoted} }}\n")),
        ("a method", format!("[clients.a]\nauth_method = {quoted}\n{good}")),
        ("a table", format!("[clients.a]\n{good}[clients.a.client_secret.file]\nvalue = {quoted}\n")),
        ("a URL", format!("[clients.a]\ntoken_url = \"{url}\"\n{good}")),
        ("a proxy", format!("[clients.a]\nproxy = \"{url}path\"\n{good}")),
        ("a parameter", format!("[clients.a]\nparameters = {{ client_secret = {quoted} }}\n{good}")),
        ("a header", format!("[clients.a]\nrequest_headers = {{ Authorization = {{ value = {quoted} }} }}\n{good}")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bearerd.toml");
        fs::write(&path, &config).unwrap();
        for verb in [&["check"][..], &["check", "--json"], &["run", "--log", "trace,a=trace"]] {
            let mut command = crate::support::binary::bearerd();
            let ended = Ended::of(command.args(verb).arg("--config").arg(&path).output().unwrap());
            assert_eq!(ended.code, Some(78), "{what}: {ended:?}");
            assert_nothing_leaked(&(ended.stdout + &ended.stderr));
        }
    }
}

fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

// ---------------------------------------------------------------------------------------------------------------------
// The process list.

/// What everybody can see of a process in the process list, and its user in its environment.
fn seen_from_outside(pid: &str) -> (String, String) {
    let read = |what: &str| String::from_utf8(fs::read(format!("/proc/{pid}/{what}")).unwrap()).unwrap();
    (read("cmdline"), read("environ"))
}

#[test]
fn the_process_list_shows_nothing() {
    let idp = Idp::start();
    idp.otherwise(|_| Answer::token(TOKEN, 3_600));
    let mut watched = Watched::start(&configuration(&idp), "text");
    let look = "cat /proc/$$/cmdline /proc/$PPID/cmdline; echo; cat /proc/$$/environ";
    for client in CLIENTS {
        let seen = watched.run(&["exec", client, "--env", "MINE", "--", "sh", "-c", look]).stdout;
        let (command_lines, environment) = seen.split_once('\n').unwrap();
        assert!(command_lines.starts_with("sh\0-c\0"), "{command_lines:?}");
        assert_eq!(Search::of(&[SECRET, TOKEN]).found_in(command_lines), [""; 0]);
        assert_eq!(Search::of(&[SECRET]).found_in(environment), [""; 0]);
        assert!(environment.split('\0').any(|variable| variable == format!("MINE={TOKEN}")), "{environment:?}");
    }
    let (command_line, environment) = seen_from_outside(&watched.daemon.pid().to_string());
    assert_eq!(Search::of(&[SECRET, TOKEN]).found_in(&command_line), [""; 0]);
    assert_eq!(Search::of(&[TOKEN]).found_in(&environment), [""; 0]);
    assert!(!Search::of(&[SECRET]).found_in(&environment).is_empty(), "the one that was put there is found");
    let listed = Command::new("ps").args(["-ww", "-o", "args", "-p", &watched.daemon.pid().to_string()]).output();
    // Not every machine has it; it shows what /proc does.
    if let Ok(listed) = listed {
        assert_eq!(Search::of(&[SECRET, TOKEN]).found_in(&String::from_utf8_lossy(&listed.stdout)), [""; 0]);
    }
    assert_nothing_leaked(&watched.end());
}

#[test]
fn a_secret_in_a_file_is_in_no_environment() {
    let idp = Idp::start();
    let daemon = Daemon::start(&client("post", &idp, "prefetch = false"), &[]);
    write_secret(&daemon.dir().join("secret"), SECRET);
    assert_eq!(daemon.run(&["token", "post"]), Ended::new(0, "tok-1\n", ""));
    assert_eq!(idp.requests()[0].field("client_secret"), Some(SECRET));
    let (command_line, environment) = seen_from_outside(&daemon.pid().to_string());
    assert_eq!(Search::of(&[SECRET]).found_in(&(command_line + &environment)), [""; 0]);
}

// ---------------------------------------------------------------------------------------------------------------------
// An issuer that speaks HTTP/2, whose library logs what it reads and writes.

/// Serves one connection after the other and echoes what it was sent; passes on what each request was.
struct Http2Issuer {
    port: u16,
    ca_pem: String,
    asked: mpsc::Receiver<(Version, Option<String>, Bytes)>,
    runtime: tokio::runtime::Runtime,
}

impl Http2Issuer {
    fn start() -> Self {
        let (ca_pem, acceptor) = tls();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, asked) = mpsc::channel();
        runtime.spawn(async move {
            loop {
                let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
                let service = service_fn(|request: Request<Incoming>| {
                    let tell = tell.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let credentials =
                            head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
                        let good = head.uri.path() == "/good";
                        let echo =
                            format!("{}, {}", credentials.clone().unwrap_or_default(), String::from_utf8_lossy(&body));
                        tell.send((head.version, credentials, body)).unwrap();
                        let (status, body) = if good {
                            (200, json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 3_600 }))
                        } else {
                            (400, json!({ "error": "invalid_request", "error_description": echo }))
                        };
                        let response = Response::builder().status(status).header("x-echo", echo);
                        hyper::Result::Ok(response.body(Full::new(Bytes::from(body.to_string()))).unwrap())
                    }
                });
                let http = http2::Builder::new(TokioExecutor::new());
                // Ends when the client closes the connection, in whatever way.
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            }
        });
        Self { port, ca_pem, asked, runtime }
    }
}

/// The certificate of an authority, and a server with a certificate by it that speaks HTTP/2 only.
fn tls() -> (String, TlsAcceptor) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config =
        rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (ca_pem, TlsAcceptor::from(std::sync::Arc::new(config)))
}

#[test]
fn http2_to_the_issuer_logs_neither() {
    let issuer = Http2Issuer::start();
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(ca.path(), &issuer.ca_pem).unwrap();
    let one = |name: &str, path: &str, more: &str| {
        format!(
            "[clients.{name}]\ntoken_url = \"https://127.0.0.1:{}/{path}\"\nclient_id = \"id-of-{name}\"\n\
             client_secret = {{ file = \"@DIR@/secret\" }}\ntls.ca_file = \"{}\"\nprefetch = false\n{more}\n",
            issuer.port,
            ca.path().display()
        )
    };
    let basic = "auth_method = \"client_secret_basic\"";
    let config = [
        one("post", "bad", ""),
        one("basic", "bad", basic),
        one("raw", "bad", &format!("{basic}\nbasic_encoding = \"raw\"")),
        one("good-post", "good", ""),
        one("good-basic", "good", basic),
    ];
    for format in ["text", "json"] {
        let mut watched = Watched::start(&config.concat(), format);
        for client in CLIENTS {
            assert_eq!(watched.run(&["refresh", client]).code, Some(69));
            let (version, credentials, body) = issuer.asked.recv().unwrap();
            assert_eq!(version, Version::HTTP_2);
            let sent = credentials.unwrap_or_default() + std::str::from_utf8(&body).unwrap();
            assert!(!Search::of(&[SECRET]).found_in(&sent).is_empty(), "{sent}");
        }
        for client in ["good-post", "good-basic"] {
            assert_eq!(watched.run(&["token", client]).stdout, format!("{TOKEN}\n"));
            issuer.asked.recv().unwrap();
        }
        watched.run(&["status"]);
        let printed = watched.end();
        let this_side = if format == "json" { r#""peer":"Client""# } else { "peer=Client" };
        assert!(printed.contains(this_side), "the library has logged what the daemon says to the issuer");
        assert_nothing_leaked(&printed);
    }
    issuer.runtime.shutdown_background();
}
