//! How clients prove who they are, what happens while that changes, and that none of it is told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what fails here fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use bearerd_client::pb::v1::{
    ClientState, ClientStatus, GetTokenRequest, RefreshClientRequest, SignProofRequest, SignProofResponse,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::{Code, Response, Status};

use crate::support::{
    daemon::{ADMINS, ANYBODY, Refusal, Running, within, write_secret},
    idp::{Answer, Idp, Recorded},
};

/// A daemon with one client `demo`, which has these keys; `@DIR@` is the test's directory.
fn start(idp: &Idp, keys: &str) -> Running {
    Running::start(&format!(
        "{ADMINS}[clients.demo]\ntoken_url = \"{}\"\nclient_id = \"acme\"\n{ANYBODY}\n{keys}\n",
        idp.token_url()
    ))
}

/// Asks the issuer for another token, as an administrator can; the status afterwards.
async fn refresh(daemon: &Running) -> ClientStatus {
    let mut admin = daemon.connect().await.admin();
    let request = RefreshClientRequest { client: "demo".to_owned() };
    within(admin.refresh_client(request)).await.unwrap().into_inner().status.unwrap()
}

fn accepting(idp: &Idp, secrets: &'static [&'static str]) {
    idp.judge(move |request, number| match request.field("client_secret") {
        Some(secret) if secrets.contains(&secret) => Answer::token(&format!("tok-{number}"), 3_600),
        // As Keycloak says it.
        _ => Answer::error(401, "unauthorized_client"),
    });
}

const TWO: &str = "client_secret = [{ file = \"@DIR@/new\" }, { file = \"@DIR@/secret\" }]";

#[tokio::test]
async fn a_secret_is_replaced_under_load_without_a_failed_call() {
    let idp = Idp::start();
    accepting(&idp, &["old"]);
    let daemon = start(&idp, TWO);
    write_secret(&daemon.dir().join("secret"), "old");
    write_secret(&daemon.dir().join("new"), "new");
    daemon.get("demo").await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (channel, over) = (daemon.connect().await, Arc::clone(&over));
        callers.spawn(async move {
            let mut tokens = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let request = GetTokenRequest { client: "demo".to_owned(), ..GetTokenRequest::default() };
                let answer = channel.clone().broker().get_token(request).await.unwrap();
                tokens.insert(answer.into_inner().token.unwrap().id);
            }
            tokens
        });
    }
    let mut used = vec![daemon.status("demo").await.secret_in_use];
    for accepted in [&["old", "new"][..], &["new"]] {
        accepting(&idp, accepted);
        used.push(refresh(&daemon).await.secret_in_use);
    }
    // The old one is gone for good.
    fs::remove_file(daemon.dir().join("secret")).unwrap();
    let last = refresh(&daemon).await;
    over.store(true, Ordering::Relaxed);
    assert_eq!((used.as_slice(), last.secret_in_use, last.state()), (&[2, 1, 1][..], 1, ClientState::Fresh));
    assert!(last.warnings.iter().any(|warning| warning.contains("/secret: does not exist")), "{:?}", last.warnings);
    let tokens: BTreeSet<_> = within(callers.join_all()).await.into_iter().flatten().collect();
    assert!(tokens.len() >= 2, "callers saw it happen: {tokens:?}");
    let tried: Vec<_> =
        idp.requests().iter().map(|request| request.field("client_secret").unwrap().to_owned()).collect();
    assert_eq!(tried, ["new", "old", "new", "new", "new"], "in order, and no more than it takes");
}

#[tokio::test]
async fn when_no_secret_is_accepted_that_is_said_and_a_new_one_ends_the_wait() {
    let idp = Idp::start();
    accepting(&idp, &["good"]);
    let daemon = start(&idp, TWO);
    write_secret(&daemon.dir().join("secret"), "old");
    write_secret(&daemon.dir().join("new"), "new");
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let status = daemon.status("demo").await;
    let failure = status.last_failure.as_ref().unwrap();
    assert_eq!((status.state(), failure.reason.as_str()), (ClientState::Rejected, "CREDENTIALS_REFUSED"));
    assert_eq!(
        failure.text,
        "HTTP 401, unauthorized_client (check client_id, client_secret and auth_method); none of 2 secrets is accepted"
    );
    assert_eq!(idp.request_count(), 2);
    write_secret(&daemon.dir().join("secret"), "good");
    daemon.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    assert_eq!(daemon.status("demo").await.secret_in_use, 2);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_when_the_other_is_refused() {
    let idp = Idp::start();
    accepting(&idp, &[]);
    let daemon = start(&idp, TWO);
    write_secret(&daemon.dir().join("secret"), "old");
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let text = refresh(&daemon).await.last_failure.unwrap().text;
    assert!(text.contains("unauthorized_client") && text.contains("/new: does not exist"), "{text}");
}

#[tokio::test]
async fn another_failure_than_a_refusal_is_not_answered_with_the_other_secret() {
    let idp = Idp::start();
    idp.judge(|request, _| match request.field("client_secret") {
        Some("new") => Answer::error(503, "temporarily_unavailable"),
        _ => panic!("the other one was tried"),
    });
    let daemon = start(&idp, TWO);
    write_secret(&daemon.dir().join("secret"), "old");
    write_secret(&daemon.dir().join("new"), "new");
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    assert_eq!(daemon.status("demo").await.state(), ClientState::Unavailable);
}

/// Header, claims, what is signed and the signature.
fn parts(jwt: &str) -> (Value, Value, String, Vec<u8>) {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |part| serde_json::from_slice(&BASE64URL.decode(part).unwrap()).unwrap();
    (json(header), json(claims), signed.to_owned(), BASE64URL.decode(signature).unwrap())
}

fn write_key(path: &Path) -> rcgen::KeyPair {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    write_secret(path, &key.serialize_pem());
    key
}

fn verified(request: &Recorded, key: &rcgen::KeyPair) -> (Value, Value) {
    let assertion = request.field("client_assertion").unwrap();
    let (header, claims, signed, signature) = parts(assertion);
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key_raw());
    public.verify(signed.as_bytes(), &signature).unwrap();
    (header, claims)
}

#[tokio::test]
async fn a_signed_assertion_is_as_rfc_10070_has_it_and_never_the_same() {
    let idp = Idp::start();
    let keys = "auth_method = \"private_key_jwt\"\nprivate_key = { file = \"@DIR@/key\" }\n\
                issuer = \"https://issuer.example/\"\nkey_id = \"k1\"";
    let daemon = start(&idp, keys);
    let key = write_key(&daemon.dir().join("key"));
    within(daemon.until_client("demo", |snapshot| snapshot.token.is_some())).await;
    // A new key takes its place.
    let other = write_key(&daemon.dir().join("key"));
    assert_eq!(refresh(&daemon).await.state(), ClientState::Fresh);
    let requests: Vec<_> =
        idp.requests().into_iter().filter(|request| request.field("client_assertion").is_some()).collect();
    let [first, second] = &requests[..] else { panic!("{} requests", requests.len()) };
    let fields: Vec<_> = first.form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fields, ["grant_type", "client_id", "client_assertion_type", "client_assertion"]);
    assert_eq!(first.field("client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    let (header, mut claims) = verified(first, &key);
    assert_eq!(header, json!({ "alg": "ES256", "kid": "k1", "typ": "client-authentication+jwt" }));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let number = |claim: &Value| claim.as_u64().unwrap();
    let (iat, exp) = (number(&claims["iat"].take()), number(&claims["exp"].take()));
    assert_eq!(exp - iat, 65, "a minute from now, said five seconds ago");
    assert!((now - 60..=now).contains(&iat));
    let jti = claims["jti"].take();
    assert_eq!(
        claims,
        json!({ "iss": "acme", "sub": "acme", "aud": "https://issuer.example/", "iat": null, "exp": null, "jti": null })
    );
    assert_ne!(jti, verified(second, &other).1["jti"]);
}

#[tokio::test]
async fn the_issuers_clock_decides_when_an_assertion_is_made() {
    let idp = Idp::start();
    let ahead = SystemTime::now() + Duration::from_secs(3_000);
    let date = httpdate::fmt_http_date(ahead);
    idp.judge(move |request, _| {
        let claims = parts(request.field("client_assertion").unwrap()).1;
        let then = ahead.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let answer = if claims["exp"].as_u64().unwrap() > then {
            Answer::token("tok", 3_600)
        } else {
            Answer::error(401, "invalid_client")
        };
        answer.header("date", &date)
    });
    let keys = "auth_method = \"client_secret_jwt\"\nissuer = \"https://issuer.example\"\n\
                client_secret = { file = \"@DIR@/secret\" }";
    let daemon = start(&idp, keys);
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    assert_eq!(refresh(&daemon).await.state(), ClientState::Fresh);
}

#[tokio::test]
async fn an_assertion_that_others_make_is_read_anew_and_not_sent_when_it_is_over() {
    let idp = Idp::start();
    let daemon = start(
        &idp,
        "auth_method = \"client_assertion_file\"\nclient_assertion_file = \"@DIR@/assertion\"\n\
         client_assertion_type = \"urn:ietf:params:oauth:client-assertion-type:jwt-spiffe\"",
    );
    let path = daemon.dir().join("assertion");
    let write = |ends_in: i64| {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let assertion = format!("e30.{}.c2ln", BASE64URL.encode(json!({ "exp": now + ends_in }).to_string()));
        fs::write(&path, &assertion).unwrap();
        // As Kubernetes makes them.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assertion
    };
    let good = write(3_600);
    daemon.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    let sent = idp.requests();
    assert_eq!(sent[0].field("client_assertion"), Some(good.as_str()));
    assert_eq!(sent[0].field("client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"));
    let over = write(-600);
    let status = refresh(&daemon).await;
    let failure = status.last_failure.as_ref().unwrap();
    assert_eq!((status.state(), failure.reason.as_str()), (ClientState::Degraded, "SECRET_UNREADABLE"));
    assert!(failure.text.contains("holds an assertion that expired 60"), "{}", failure.text);
    assert!(!failure.text.contains(&over) && idp.request_count() == 1);
}

#[tokio::test]
async fn the_other_grants_send_what_they_rest_on() {
    let idp = Idp::start();
    let exchange = start(
        &idp,
        "grant = \"token_exchange\"\nsubject_token_file = \"@DIR@/secret\"\n\
         client_secret = { file = \"@DIR@/secret\" }\nparameters = { requested_token_type = \"urn:x\" }",
    );
    let opaque = "opaque-subject-token";
    write_secret(&exchange.dir().join("secret"), opaque);
    exchange.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    let bearer = start(
        &idp,
        "grant = \"jwt_bearer\"\nprivate_key = { file = \"@DIR@/key\" }\nsubject = \"her\"\n\
         assertion_audience = \"token_endpoint\"\nassertion_claims = { scope = \"a b\" }",
    );
    write_key(&bearer.dir().join("key"));
    bearer.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    let requests = idp.requests();
    assert_eq!(
        requests[0].form,
        [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "acme"),
            ("client_secret", opaque),
            ("subject_token", opaque),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("requested_token_type", "urn:x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let sent = &requests[1];
    assert_eq!(sent.form.len(), 2, "nothing but the grant and its assertion");
    assert_eq!(sent.field("grant_type"), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let (header, claims, ..) = parts(sent.field("assertion").unwrap());
    assert_eq!(header["typ"], "JWT");
    let told = ["iss", "sub", "aud", "scope"].map(|claim| claims[claim].as_str().unwrap().to_owned());
    assert_eq!(told, ["acme".to_owned(), "her".to_owned(), idp.token_url(), "a b".to_owned()]);
}

/// A daemon whose client `demo` knows its issuer only.
fn discovering(idp: &Idp) -> Running {
    let issuer = idp.token_url().replace("/token", "");
    Running::start(&format!(
        "{ADMINS}[clients.demo]\nissuer = \"{issuer}\"\nclient_id = \"acme\"\n{ANYBODY}\n\
         client_secret = {{ file = \"@DIR@/secret\" }}\n"
    ))
}

fn described(idp: &Idp, issuer: &str) {
    let (issuer, token_url) = (issuer.to_owned(), idp.token_url());
    idp.judge(move |request, number| match request.target.path() {
        "/token" => Answer::token(&format!("tok-{number}"), 3_600),
        "/.well-known/openid-configuration" => {
            Answer::json(200, &json!({ "issuer": issuer, "token_endpoint": token_url }))
        }
        _ => Answer::new(404, "no"),
    });
}

#[tokio::test]
async fn an_issuer_is_asked_once_where_its_endpoint_is() {
    let idp = Idp::start();
    described(&idp, &idp.token_url().replace("/token", ""));
    let daemon = discovering(&idp);
    daemon.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    assert_eq!(refresh(&daemon).await.state(), ClientState::Fresh);
    let asked: Vec<_> = idp.requests().iter().map(|request| request.target.path().to_owned()).collect();
    assert_eq!(
        asked,
        ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/token", "/token"]
    );
}

#[tokio::test]
async fn another_issuers_description_gets_no_secret() {
    let idp = Idp::start();
    described(&idp, "https://other.example");
    let daemon = discovering(&idp);
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let failure = daemon.status("demo").await.last_failure.unwrap();
    assert_eq!(failure.reason, "ISSUER_ANSWER_INVALID");
    assert!(failure.text.contains("names another issuer; write issuer exactly as"), "{}", failure.text);
    assert!(idp.requests().iter().all(|request| request.body.is_empty()), "the secret was sent");
}

#[tokio::test]
async fn a_gateway_that_fails_at_one_place_for_descriptions_does_not_hide_the_other() {
    let idp = Idp::start();
    let (issuer, token_url) = (idp.token_url().replace("/token", ""), idp.token_url());
    idp.judge(move |request, _| match request.target.path() {
        "/token" => Answer::token("tok", 3_600),
        "/.well-known/openid-configuration" => {
            Answer::json(200, &json!({ "issuer": issuer, "token_endpoint": token_url }))
        }
        _ => Answer::new(502, "bad gateway"),
    });
    let daemon = discovering(&idp);
    daemon.until_client("demo", |snapshot| snapshot.token.is_some()).await;
}

#[tokio::test]
async fn an_issuer_that_cannot_describe_itself_now_is_given_the_time_it_asks_for() {
    let idp = Idp::start();
    idp.otherwise(|_| Answer::new(503, "").header("retry-after", "600"));
    let daemon = discovering(&idp);
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let status = daemon.status("demo").await;
    let failure = status.last_failure.unwrap();
    assert_eq!(failure.reason, "ISSUER_BUSY");
    let wait = status.next_attempt_at.unwrap().seconds - failure.at.unwrap().seconds;
    assert!((595..=605).contains(&wait), "{wait}");
}

#[tokio::test]
async fn what_an_issuer_said_before_counts_while_it_hangs_when_asked_again() {
    let idp = Idp::start();
    described(&idp, &idp.token_url().replace("/token", ""));
    let daemon = discovering(&idp);
    daemon.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    // Something is wrong with the token endpoint, so the issuer is to be asked where it is, and does not answer.
    idp.otherwise(|_| Answer::new(200, "<html>"));
    assert_eq!(refresh(&daemon).await.state(), ClientState::Degraded);
    idp.judge(|request, number| match request.target.path() {
        "/token" => Answer::token(&format!("again-{number}"), 3_600),
        _ => Answer::never(),
    });
    assert_eq!(refresh(&daemon).await.state(), ClientState::Fresh);
}

#[tokio::test]
async fn a_certificate_is_read_anew_and_what_is_wrong_with_it_is_told() {
    let idp = Idp::start_tls();
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(ca.path(), idp.ca_pem()).unwrap();
    let daemon = start(
        &idp,
        &format!(
            "auth_method = \"self_signed_tls_client_auth\"\ntls = {{ ca_file = \"{}\", \
             certificate_file = \"@DIR@/cert\", key_file = \"@DIR@/key\" }}",
            ca.path().display()
        ),
    );
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let missing = daemon.status("demo").await.last_failure.unwrap();
    assert!(missing.text.contains("/cert: does not exist"), "{}", missing.text);
    let key = write_key(&daemon.dir().join("key"));
    let certificate = rcgen::CertificateParams::new(vec!["acme".to_owned()]).unwrap().self_signed(&key).unwrap();
    write_secret(&daemon.dir().join("cert"), "no certificate");
    let status = refresh(&daemon).await;
    let unusable = status.last_failure.unwrap();
    assert_eq!(unusable.reason, "SECRET_UNREADABLE");
    assert!(unusable.text.contains("the client certificate cannot be used"), "{}", unusable.text);
    write_secret(&daemon.dir().join("cert"), &certificate.pem());
    daemon.until_client("demo", |snapshot| snapshot.token.is_some()).await;
    assert_eq!(idp.requests().pop().unwrap().field("client_id"), Some("acme"));
}

/// Header and claims of a proof by the key in it (RFC 9449 section 4.3), and that key.
fn opened(proof: &str) -> (Value, Value) {
    let (header, claims, signed, signature) = parts(proof);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
    assert_eq!(header["jwk"].as_object().unwrap().len(), 4, "the public half only");
    let coordinate = |name| BASE64URL.decode(header["jwk"][name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).unwrap();
    (header["jwk"].clone(), claims)
}

async fn prove(daemon: &Running, client: &str, method: &str, url: &str) -> Result<SignProofResponse, Status> {
    let [client, method, url, nonce] = [client, method, url, "of-the-api"].map(str::to_owned);
    let mut broker = daemon.connect().await.broker();
    within(broker.sign_proof(SignProofRequest { client, method, url, nonce })).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_bound_token_comes_with_proofs_for_its_calls() {
    let idp = Idp::start();
    idp.judge(|request, number| {
        let (_, claims) = opened(request.header("dpop").unwrap());
        let token = json!({ "access_token": format!("tok-{number}"), "token_type": "DPoP", "expires_in": 3_600 });
        let answer = match claims["nonce"].as_str() {
            Some("of-the-issuer") => Answer::json(200, &token),
            _ => Answer::error(400, "use_dpop_nonce"),
        };
        answer.header("dpop-nonce", "of-the-issuer")
    });
    let daemon = start(&idp, "dpop = true\nclient_secret = { file = \"@DIR@/secret\" }");
    let token = daemon.get("demo").await.unwrap();
    assert_eq!((token.authorization.as_str(), token.proof_required), ("DPoP tok-2", true));
    let requests = idp.requests();
    assert_eq!(requests.len(), 2, "the second with the nonce");
    let proofs: Vec<_> = requests.iter().map(|request| opened(request.header("dpop").unwrap())).collect();
    let told = ["htm", "htu"].map(|claim| proofs[1].1[claim].as_str().unwrap().to_owned());
    assert_eq!(told, ["POST".to_owned(), idp.token_url()]);
    assert_ne!(proofs[0].1["jti"], proofs[1].1["jti"]);
    let answer = prove(&daemon, "demo", "GET", "https://api.example/a?b=c#d").await.unwrap();
    let (key, mut claims) = opened(&answer.proof);
    assert_eq!((&key, &answer.token.unwrap()), (&proofs[0].0, &token), "one key for the token and its calls");
    claims.as_object_mut().unwrap().retain(|name, _| !["jti", "iat"].contains(&name.as_str()));
    let hash = ring::digest::digest(&ring::digest::SHA256, b"tok-2");
    assert_eq!(
        claims,
        json!({ "htm": "GET", "htu": "https://api.example/a", "nonce": "of-the-api", "ath": BASE64URL.encode(hash) })
    );
    for (method, url) in [("GET", "ftp://x"), ("GET", "/a"), ("G T", "https://x"), ("", "https://x")] {
        let refused = prove(&daemon, "demo", method, url).await.unwrap_err();
        assert_eq!(Refusal::of(&refused).reason, "REQUEST_INVALID", "{method} {url}");
    }
    let refreshed = refresh(&daemon).await;
    assert_eq!((refreshed.state(), idp.request_count()), (ClientState::Fresh, 3), "the nonce is kept");
    assert!(refreshed.warnings.is_empty(), "{:?}", refreshed.warnings);
}

#[tokio::test]
async fn an_issuer_that_does_not_bind_is_not_believed() {
    let idp = Idp::start();
    let daemon = start(&idp, "dpop = true\nclient_secret = { file = \"@DIR@/secret\" }");
    daemon.until_client("demo", |snapshot| snapshot.failure.is_some()).await;
    let failure = daemon.status("demo").await.last_failure.unwrap();
    assert_eq!(failure.reason, "ISSUER_ANSWER_INVALID");
    assert!(failure.text.contains("not bound to the key (its token_type is not DPoP)"), "{}", failure.text);
}

#[tokio::test]
async fn a_proof_is_for_bound_tokens_only() {
    let idp = Idp::start();
    let daemon = Running::with_demo(&idp);
    let refused = prove(&daemon, "demo", "GET", "https://api.example/").await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::FailedPrecondition, "PROOF_NOT_NEEDED"));
    let unknown = prove(&daemon, "dem", "GET", "https://api.example/").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_token_is_revoked_when_the_daemon_stops_if_that_is_wanted() {
    let idp = Idp::start();
    let revocation = idp.token_url().replace("/token", "/revoke");
    let daemon = start(&idp, &format!("{TWO}\nrevoke_on_stop = true\nrevocation_url = \"{revocation}\""));
    accepting(&idp, &["old"]);
    write_secret(&daemon.dir().join("new"), "new");
    write_secret(&daemon.dir().join("secret"), "old");
    daemon.get("demo").await.unwrap();
    idp.judge(|request, _| match request.field("client_secret") {
        Some("old") => Answer::new(200, ""),
        _ => Answer::error(401, "invalid_client"),
    });
    within(daemon.stop()).await;
    let requests = idp.requests();
    let revoked: Vec<_> = requests.iter().filter(|request| request.target.path() == "/revoke").collect();
    let fields: Vec<_> = revoked[0].form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        fields,
        [("token", "tok-2"), ("token_type_hint", "access_token"), ("client_id", "acme"), ("client_secret", "new")]
    );
    assert_eq!((revoked.len(), revoked[1].field("client_secret")), (2, Some("old")));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_keeps_nobody_from_stopping() {
    let idp = Idp::start();
    let daemon = start(
        &idp,
        &format!(
            "client_secret = {{ file = \"@DIR@/secret\" }}\nrevoke_on_stop = true\nrevocation_url = \"{}\"\n\
             timeouts = {{ attempt = \"200ms\", connect = \"100ms\" }}",
            idp.token_url()
        ),
    );
    daemon.get("demo").await.unwrap();
    idp.otherwise(|_| Answer::never());
    within(daemon.stop()).await;
    assert_eq!(idp.request_count(), 2);
}
