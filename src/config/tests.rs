//! What single keys accept and refuse, and what they come to mean.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{ClientSettings, Environment, Sources, load};
use crate::{
    access::{Caller, Conditions, Fact, Id, Policy, Rule},
    oauth::{
        BasicEncoding, ClientAuth, Grant, Identity, LifetimeUnit, Place, ProxyChoice, Revocation,
        assertion::{Audience, Terms},
        client_auth::SecretMethod,
        discovery::Issuer,
        grant::{BearerAssertion, SubjectToken},
        jws::Algorithm,
    },
    secret::{Credential, SecretCommand, SecretFile, SecretSource},
    token::{HeaderValueRule, RefreshPolicy},
};

/// Loads a configuration with one client, which has these lines beside `client_id`; problems without their place.
fn client(lines: &str) -> Result<Arc<ClientSettings>, String> {
    only(&format!("client_id = \"a\"\n{lines}"))
}

/// The same with these lines alone.
fn only(lines: &str) -> Result<Arc<ClientSettings>, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("main.toml");
    fs::write(&file, format!("[clients.a]\n{lines}")).unwrap();
    let place = format!("{}: clients.a.", file.display());
    match load(&Sources { file, environment: Environment::default(), own_uid: 990 }) {
        Ok(config) => Ok(Arc::clone(config.clients.get("a").unwrap())),
        Err(problems) => Err(problems.to_string().replace(&place, "")),
    }
}

/// The same for a line beside all that is necessary.
fn also(line: &str) -> Result<Arc<ClientSettings>, String> {
    client(&format!("token_url = \"https://x.example/\"\nclient_secret = {{ env = \"X\" }}\n{line}"))
}

fn good(line: &str) -> Arc<ClientSettings> {
    also(line).unwrap_or_else(|problems| panic!("{line}: {problems}"))
}

/// That each of these values is refused for its key, with one problem at this key.
fn refuses(key: &str, values: &[&str]) {
    for value in values {
        let problems = also(&format!("{key} = {value}")).expect_err(value);
        assert!(problems.starts_with(key) && problems.lines().count() == 1, "{value}: {problems}");
    }
}

#[test]
fn server() {
    let load = |line: &str| also(&format!("[server]\n{line}"));
    let path = |length: usize| format!("socket = \"/{}\"", "x".repeat(length - 1));
    for good in [&*path(107), "mode = \"0600\"", "mode = \"777\"", "drain = 0", "limits = { connections = 1 }"] {
        assert!(load(good).is_ok(), "{good}: {:?}", load(good));
    }
    for bad in [&*path(108), "mode = \"0400\"", "mode = \"1777\"", "mode = 0o600", "mode = 600", "drain = 601"] {
        assert_eq!(load(bad).expect_err(bad).lines().count(), 1, "{bad}");
    }
    assert!(load("limits = { connections = 0 }").is_err());
    assert!(load("admins = [{ user = \"no-such-user\" }]").is_err());
}

#[test]
fn token_url() {
    let load = |lines: &str| client(&format!("client_secret = {{ env = \"X\" }}\n{lines}"));
    for url in [
        "https://issuer.example/oauth2/token?tenant=a",
        "https://[2001:db8::1]:8443/",
        "http://localhost:8080/token",
        "http://127.1.2.3/token",
        "http://[::1]:81/token",
    ] {
        let settings = load(&format!("token_url = \"{url}\"")).unwrap_or_else(|problems| panic!("{url}: {problems}"));
        assert_eq!(settings.endpoint.place.url().as_str(), url);
    }
    for url in [
        "http://localhost.example/",
        "http://10.0.0.1/",
        "http://[::2]/",
        "http://128.0.0.1/",
        "https:/issuer.example/",
        "https://",
        "https://issuer.example:99999/",
        "https://issuer .example/",
        " https://issuer.example/",
        "HTTP://issuer.example/",
        "ftp://issuer.example/",
        "https://id@issuer.example/",
        "https://:secret@issuer.example/",
        "https://issuer.example/#",
        "//issuer.example/",
        "",
    ] {
        let problems = load(&format!("token_url = \"{url}\"")).expect_err(url);
        assert!(problems.starts_with("token_url: ") && problems.lines().count() == 1, "{url}: {problems}");
    }
    assert!(load("token_url = \"http://issuer.example/\"\nallow_http = true").is_ok());
    assert!(load("token_url = \"http://issuer.example/\"\nallow_http = false").is_err());
}

#[test]
fn a_loopback_url_is_no_excuse_to_tell_a_proxy_the_secret() {
    let load =
        |lines: &str| client(&format!("client_secret = {{ env = \"X\" }}\ntoken_url = \"http://localhost/\"\n{lines}"));
    for proxy in ["http://p.example:3128", "https://127.0.0.1", "socks5://p.example", "environment"] {
        assert_eq!(
            load(&format!("proxy = \"{proxy}\"")).unwrap_err(),
            "token_url: sends the secret unencrypted to the proxy; remove proxy, or write allow_http = true if nobody \
             can listen on the way"
        );
        assert!(load(&format!("proxy = \"{proxy}\"\nallow_http = true")).is_ok(), "{proxy}");
    }
    assert!(load("proxy = \"none\"").is_ok());
}

#[test]
fn authorities_are_needed_unless_nothing_is_encrypted() {
    let plain = |url: &str, lines: &str| {
        let secret = "client_secret = { env = \"X\" }\nallow_http = true";
        client(&format!("token_url = \"{url}\"\n{secret}\n{lines}")).unwrap().endpoint.transport.plain
    };
    for proxy in ["none", "http://p.example", "socks5://p.example", "socks5h://p.example"] {
        assert!(plain("http://x.example/", &format!("proxy = \"{proxy}\"")), "{proxy}");
    }
    assert!(plain("http://localhost/", ""));
    for proxy in ["https://p.example", "environment"] {
        assert!(!plain("http://x.example/", &format!("proxy = \"{proxy}\"")), "{proxy}");
    }
    assert!(!plain("https://x.example/", "") && !plain("https://localhost/", "proxy = \"http://p.example\""));
}

#[test]
fn client_secret() {
    let load = |value: &str| client(&format!("token_url = \"https://x.example/\"\nclient_secret = {value}"));
    let secrets = |value: &str| match &load(value).unwrap().endpoint.auth {
        ClientAuth::Secret { method: SecretMethod::Post, sources } => sources.to_vec(),
        other => panic!("{other:?}"),
    };
    let (file, env) = (SecretSource::File(PathBuf::from("/a b").into()), SecretSource::Env("_A1".into()));
    assert_eq!(secrets(r#"{ file = "/a b" }"#), std::slice::from_ref(&file));
    assert_eq!(secrets(r#"{ env = "_A1" }"#), std::slice::from_ref(&env));
    assert_eq!(secrets(r#"[{ env = "_A1" }, { file = "/a b" }]"#), [env, file]);
    assert_eq!(secrets(r#"{ credential = "a" }"#), [SecretSource::Credential(Credential::named("a"))]);
    let command =
        |limit| SecretCommand::new("/bin/pass", ["show".into(), "".into()].into(), Duration::from_secs(limit));
    assert_eq!(secrets(r#"{ command = ["/bin/pass", "show", ""] }"#), [SecretSource::Command(command(4))]);
    let timed = secrets(r#"{ command = ["/bin/pass", "show", ""], timeout = "1s" }"#);
    assert_eq!(timed, [SecretSource::Command(command(1))]);
    for value in [
        r#""abc""#,
        "123",
        "[]",
        "{}",
        r#"{ file = "a" }"#,
        r#"{ file = "" }"#,
        r#"{ file = "/a", env = "A" }"#,
        r#"{ env = "1A" }"#,
        r#"{ env = "A=B" }"#,
        r#"{ credential = "../a" }"#,
        r#"{ command = ["a"] }"#,
        r#"{ command = "/bin/pass show" }"#,
        "{ command = [] }",
        r#"{ env = "A", timeout = "1s" }"#,
        r#"[{ env = "A" }, { env = "B" }, { env = "C" }]"#,
        r#"[{ env = "A" }, "b"]"#,
        r#"{ path = "/a" }"#,
    ] {
        let problems = load(value).expect_err(value);
        assert!(problems.starts_with("client_secret") && problems.lines().count() == 1, "{value}: {problems}");
    }
}

#[test]
fn authentication() {
    let method = |lines: &str| match good(lines).endpoint.auth.clone() {
        ClientAuth::Secret { method, .. } => method,
        other => panic!("{other:?}"),
    };
    assert_eq!(method(""), SecretMethod::Post);
    assert_eq!(method("auth_method = \"client_secret_post\""), SecretMethod::Post);
    let basic = "auth_method = \"client_secret_basic\"";
    assert_eq!(method(basic), SecretMethod::Basic(BasicEncoding::Rfc6749));
    assert_eq!(method(&format!("{basic}\nbasic_encoding = \"raw\"")), SecretMethod::Basic(BasicEncoding::Raw));
    refuses("auth_method", &["\"private_key\"", "\"basic\"", "1", "[]"]);
}

/// A client without a secret.
fn other(lines: &str) -> Result<Arc<ClientSettings>, String> {
    only(&format!("token_url = \"https://x.example/t\"\nclient_id = \"me\"\n{lines}"))
}

fn key(path: &str) -> SecretSource {
    SecretSource::File(SecretFile::at(Path::new(path)))
}

fn assertion(path: &str) -> SecretSource {
    SecretSource::File(SecretFile::readable_by_all(Path::new(path)))
}

#[test]
fn signed_assertions() {
    let signed = "auth_method = \"private_key_jwt\"\nprivate_key = { file = \"/k\" }";
    let terms = |lines: &str| match other(&format!("{signed}\n{lines}")).unwrap().endpoint.auth.clone() {
        ClientAuth::PrivateKeyJwt { key: found, terms } if found == key("/k") => *terms,
        other => panic!("{other:?}"),
    };
    let usual = Terms {
        key_id: None,
        algorithm: None,
        audience: Audience::Issuer("https://x.example/".into()),
        typ: "client-authentication+jwt".into(),
    };
    assert_eq!(terms("issuer = \"https://x.example/\""), usual);
    let old = "assertion_audience = \"token_endpoint\"\nassertion_typ = \"JWT\"\nkey_id = \"k1\"\n\
               signing_algorithm = \"PS256\"";
    let expected = Terms {
        key_id: Some("k1".into()),
        algorithm: Some(Algorithm::Ps256),
        audience: Audience::TokenEndpoint,
        typ: "JWT".into(),
    };
    assert_eq!(terms(old), expected);
    let problem = |lines: &str| other(lines).unwrap_err();
    assert!(problem(signed).starts_with("issuer: is missing, and assertions are made for it"));
    let issuer = "issuer = \"https://x.example\"";
    assert!(problem(&format!("auth_method = \"private_key_jwt\"\n{issuer}")).starts_with("private_key: is missing"));
    assert!(problem(&format!("{signed}\n{issuer}\nsigning_algorithm = \"HS256\"")).starts_with("signing_algorithm"));
    assert!(
        problem(&format!("{signed}\n{issuer}\nclient_secret = {{ env = \"A\" }}"))
            .starts_with("client_secret: is not used by this auth_method")
    );
}

#[test]
fn other_proofs() {
    let auth = |lines: &str| other(lines).unwrap().endpoint.auth.clone();
    let file = "auth_method = \"client_assertion_file\"\nclient_assertion_file = \"/run/token\"";
    let expected = |kind: &str| ClientAuth::AssertionFile { file: assertion("/run/token"), kind: kind.into() };
    assert_eq!(auth(file), expected("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    assert_eq!(auth(&format!("{file}\nclient_assertion_type = \"urn:x\"")), expected("urn:x"));
    assert_eq!(auth("auth_method = \"none\""), ClientAuth::Id);
    let tls = "auth_method = \"tls_client_auth\"\ntls = { certificate_file = \"/c\", key_file = \"/k\" }";
    let settings = other(tls).unwrap();
    assert_eq!(settings.endpoint.auth, ClientAuth::Id);
    assert_eq!(*settings.endpoint.identity.clone().unwrap(), Identity { certificate: assertion("/c"), key: key("/k") });
    let plain = only(&format!("token_url = \"http://127.0.0.1/\"\nclient_id = \"me\"\n{tls}")).unwrap_err();
    assert!(plain.starts_with("token_url: is not encrypted, and auth_method proves"), "{plain}");
    let slow = "client_secret = [{ command = [\"/a\"], timeout = \"6s\" }, { command = [\"/b\"] }]";
    assert!(
        other(slow).unwrap_err().starts_with("timeouts: leaves no time for the request: its commands may take 10s")
    );
    for (lines, problem) in [
        ("auth_method = \"self_signed_tls_client_auth\"", "tls.certificate_file: is missing"),
        ("auth_method = \"none\"\ntls = { key_file = \"/k\" }", "tls.certificate_file: is missing"),
        ("auth_method = \"client_assertion_file\"", "client_assertion_file: is missing"),
        ("auth_method = \"none\"\nclient_assertion_file = \"/a\"", "client_assertion_file: is not used"),
    ] {
        let problems = other(lines).unwrap_err();
        assert!(problems.starts_with(problem) && problems.lines().count() == 1, "{problems}");
    }
}

#[test]
fn grants() {
    let endpoint = |lines: &str| Arc::clone(&other(lines).unwrap().endpoint);
    assert_eq!(good("").endpoint.grant, Grant::ClientCredentials);
    let bearer = endpoint(
        "grant = \"jwt_bearer\"\nprivate_key = { file = \"/k\" }\nassertion_audience = \"token_endpoint\"\n\
         subject = \"her\"\nassertion_claims = { scope = \"a b\" }",
    );
    assert_eq!(bearer.auth, ClientAuth::Nothing, "the assertion says who asks");
    let terms = Terms { key_id: None, algorithm: None, audience: Audience::TokenEndpoint, typ: "JWT".into() };
    let signed = BearerAssertion::Signed {
        key: key("/k"),
        terms,
        subject: Some("her".into()),
        claims: [("scope".into(), "a b".into())].into(),
    };
    assert_eq!(bearer.grant, Grant::JwtBearer(Box::new(signed)));
    let named = "grant = \"jwt_bearer\"\nauth_method = \"none\"\nassertion_file = \"/a\"";
    assert_eq!(endpoint(named).auth, ClientAuth::Id, "it is said that the id is to be sent");
    let both = endpoint(
        "grant = \"jwt_bearer\"\nauth_method = \"private_key_jwt\"\nprivate_key = { file = \"/k\" }\n\
         issuer = \"https://x.example\"",
    );
    let typs = match (&both.auth, &both.grant) {
        (ClientAuth::PrivateKeyJwt { terms, .. }, Grant::JwtBearer(bearer)) => match &**bearer {
            BearerAssertion::Signed { terms: grant, .. } => [terms.typ.clone(), grant.typ.clone()],
            other @ BearerAssertion::File(_) => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(typs, ["client-authentication+jwt".into(), "JWT".into()], "each as its standard wants it");
    let from_file = endpoint("grant = \"jwt_bearer\"\nassertion_file = \"/a\"");
    assert_eq!(from_file.grant, Grant::JwtBearer(Box::new(BearerAssertion::File(assertion("/a")))));
    let exchange = endpoint("grant = \"token_exchange\"\nsubject_token_file = \"/t\"\nclient_secret = { env = \"A\" }");
    let subject = SubjectToken { file: assertion("/t"), kind: "urn:ietf:params:oauth:token-type:jwt".into() };
    assert_eq!(exchange.grant, Grant::TokenExchange(Box::new(subject)));
    for (lines, problem) in [
        ("auth_method = \"none\"\nsubject = \"x\"", "subject: says something of another grant"),
        ("auth_method = \"none\"\ngrant = \"token_exchange\"", "subject_token_file: is missing"),
        ("auth_method = \"none\"\ngrant = \"password\"", "grant: is none of"),
        (
            "grant = \"jwt_bearer\"\nprivate_key = { file = \"/k\" }\nassertion_audience = \"a\"\n\
             assertion_claims = { iss = \"x\" }",
            "assertion_claims.iss: is a claim that bearerd sets itself",
        ),
    ] {
        let problems = other(lines).unwrap_err();
        assert!(problems.starts_with(problem) && problems.lines().count() == 1, "{problems}");
    }
}

#[test]
fn revocation() {
    let revocation = |lines: &str| good(lines).endpoint.revocation.clone();
    assert_eq!(revocation("revocation_url = \"https://x.example/r\""), None, "only if it is wanted");
    let at = Revocation::At(Box::new("https://x.example/r".parse().unwrap()));
    assert_eq!(revocation("revoke_on_stop = true\nrevocation_url = \"https://x.example/r\""), Some(at));
    let discovered = only(
        "issuer = \"https://x.example\"\nclient_id = \"me\"\nclient_secret = { env = \"A\" }\nrevoke_on_stop = true",
    );
    assert_eq!(discovered.unwrap().endpoint.revocation, Some(Revocation::Discovered));
    refuses("revocation_url", &["\"http://x.example/\"", "\"x\"", "1"]);
    let problem = |lines: &str| other(&format!("auth_method = \"none\"\nrevoke_on_stop = true\n{lines}")).unwrap_err();
    assert!(problem("").starts_with("revocation_url: is missing"));
    assert!(
        problem("revocation_url = \"https://x.example/r\"\nconcurrency = \"exclusive\"")
            .starts_with("revoke_on_stop: would end a token that others use")
    );
}

#[test]
fn an_issuer_is_asked_where_its_endpoint_is_unless_that_is_known() {
    let place = |lines: &str| {
        only(&format!("client_id = \"me\"\nclient_secret = {{ env = \"A\" }}\n{lines}"))
            .map(|client| client.endpoint.place.clone())
    };
    let issuer = Issuer { text: "https://x.example/a".into(), url: "https://x.example/a".parse().unwrap() };
    assert_eq!(place("issuer = \"https://x.example/a\""), Ok(Place::Discovered(issuer)));
    let known = Place::TokenUrl("https://t.example/".parse().unwrap());
    assert_eq!(place("issuer = \"https://x.example/a\"\ntoken_url = \"https://t.example/\""), Ok(known));
    for (lines, problem) in [
        ("", "token_url: is missing"),
        ("issuer = \"http://x.example\"", "issuer: sends the secret unencrypted"),
        ("issuer = \"https://x.example/?a\"", "issuer: has a query"),
        ("issuer = \"x.example\"", "issuer: is not an https:// URL"),
    ] {
        let problems = place(lines).unwrap_err();
        assert!(problems.starts_with(problem) && problems.lines().count() == 1, "{problems}");
    }
}

#[test]
fn an_id_with_a_colon_does_not_fit_into_raw_basic_credentials() {
    let load = |lines: &str| {
        let rest = "token_url = \"https://x.example/\"\nclient_secret = { env = \"X\" }";
        only(&format!("client_id = \"urn:a\"\n{rest}\n{lines}"))
    };
    assert_eq!(
        load("auth_method = \"client_secret_basic\"\nbasic_encoding = \"raw\"").unwrap_err(),
        "client_id: has a colon, where raw Basic credentials end the id (RFC 7617 section 2); write basic_encoding = \
         \"rfc6749\" or auth_method = \"client_secret_post\""
    );
    assert!(load("auth_method = \"client_secret_basic\"").is_ok());
    assert!(load("basic_encoding = \"raw\"").is_ok(), "not used for the form");
}

#[test]
fn request_fields() {
    let scope = |line: &str| good(line).endpoint.scope.clone();
    assert_eq!(scope(""), None);
    assert_eq!(scope("scope = \" a  b \"").as_deref(), Some("a b"));
    assert_eq!(
        scope("scope = [\"b\", \"https://x.example/.default\"]").as_deref(),
        Some("b https://x.example/.default")
    );
    refuses(
        "scope",
        &["\"\"", "\" \"", "[]", "[\"a b\"]", "[\"\"]", "\"ä\"", "'a\"'", "'a\\b'", "\"a\\tb\"", "1", "[1]"],
    );
    let resource = |line: &str| good(line).endpoint.resource.clone();
    assert_eq!(*resource("resource = \"https://x.example\""), ["https://x.example".into()], "kept as written");
    assert_eq!(*resource("resource = [\"urn:a:b\", \"https://x\"]"), ["urn:a:b".into(), "https://x".into()]);
    refuses("resource", &["\"/a\"", "\"a\"", "\"https://x/#\"", "\"https://x/ y\"", "[]", "[\"\"]", "{}"]);
    let parameters = good("parameters = { b = \"2\", a = \"\" }").endpoint.parameters.clone();
    assert_eq!(*parameters, [("a".into(), "".into()), ("b".into(), "2".into())]);
    refuses("parameters", &["{ scope = \"a\" }", "{ client_secret = \"a\" }", "{ a = 1 }", "{ \"\" = \"a\" }", "[]"]);
    refuses("audience", &["\"\"", "\"a\\nb\"", "[\"a\"]"]);
}

#[test]
fn answer_fields() {
    let endpoint = |line: &str| good(line).endpoint.clone();
    assert_eq!(endpoint("expires_in_unit = \"milliseconds\"").expires_in_unit, LifetimeUnit::Milliseconds);
    assert_eq!(endpoint("expires_at_field = \"expires_on\"").expires_at_field.as_deref(), Some("expires_on"));
    assert_eq!(endpoint("token_type = \"DPoP\"").token_type.as_deref(), Some("DPoP"));
    refuses("expires_in_unit", &["\"minutes\"", "\"\"", "1"]);
    refuses("token_type", &["\"Bearer \"", "\"\"", "\"Bearer:\""]);
}

#[test]
fn allow() {
    let allows = |value: &str, uid, gid| {
        let caller = Caller { groups: Fact::Known([].into()), ..Caller::of(uid, gid, None) };
        good(&format!("allow = {value}")).policy.allows(&caller)
    };
    assert!(allows("[]", 0, 5) && allows("[]", 990, 5) && !allows("[]", 5, 5));
    assert!(allows("[{ uid = 5 }]", 5, 9) && !allows("[{ uid = 5 }]", 6, 5));
    assert!(allows("[{ uid = 5, gid = 7 }]", 5, 7) && !allows("[{ uid = 5, gid = 7 }]", 5, 8));
    assert!(allows("[{ uid = 5 }, { gid = 8 }]", 6, 8));
    assert!(allows("[{ any = true }]", 7, 7));
    assert!(allows("[{ group = \"root\" }]", 7, 0) && allows("[{ user = \"root\", uid = 0 }]", 0, 9));
    let root = || Some(Id { number: 0, name: Some("root".into()) });
    let both = [Rule::All(Conditions { user: root(), group: root(), ..Conditions::default() })];
    assert_eq!(good("allow = [{ user = \"root\", group = \"root\" }]").policy, Policy::new(990, both));
    refuses(
        "allow",
        &[
            "true",
            "{ uid = 1 }",
            "[\"root\"]",
            "[{}]",
            "[{ any = false }]",
            "[{ any = true, uid = 1 }]",
            "[{ uid = -1 }]",
            "[{ uid = 4294967295 }]",
            "[{ uid = \"1\" }]",
            "[{ user = \"no-such-user\" }]",
            "[{ group = \"no-such-group\" }]",
            "[{ user = \"root\", uid = 1 }]",
            "[{ group = \"root\", gid = 1 }]",
            "[{ optional = true }]",
            "[{ any = true, optional = 1 }]",
            "[{ unit = \"billing\" }]",
            "[{ unit = \"a.timer\" }]",
            "[{ slice = \"payments\" }]",
            "[{ cgroup = \"system.slice\" }]",
            "[{ exe = \"bearerd\" }]",
            "[{ exe = \"/no/such/program\" }]",
            "[{ users = \"root\" }]",
        ],
    );
}

#[test]
fn refresh_numbers() {
    assert_eq!(*good("").refresh, RefreshPolicy::default());
    let settings = good(
        "prefetch = false\nidle_after = \"1h\"\nassumed_lifetime = 60\nbudget = { per_day = 9 }\n\
         refresh = { earliest = 0.5, latest = 0.5, min_validity = 0, retry_cap = 1, retry_cap_without_token = 2, \
         refused_cap = \"1m 3s\", retry_after_cap = \"4s\" }",
    );
    let expected = RefreshPolicy {
        earliest: 0.5,
        latest: 0.5,
        min_validity: Duration::ZERO,
        assumed_lifetime: Duration::from_secs(60),
        retry_cap: Duration::from_secs(1),
        retry_cap_without_token: Duration::from_secs(2),
        refused_cap: Duration::from_secs(63),
        retry_after_cap: Duration::from_secs(4),
        prefetch: false,
        idle_after: Some(Duration::from_secs(3600)),
        budget_per_day: Some(9),
    };
    assert_eq!(*settings.refresh, expected);
    refuses("refresh.earliest", &["0.0", "0", "-0.5", "0.96", "nan", "inf", "\"0.5\"", "0.81"]);
    refuses("refresh.latest", &["0.96", "1.0", "0.69"]);
    refuses("refresh.retry_cap", &["0", "\"999ms\"", "\"2h\"", "\"5\"", "1.5", "true", "9223372036854775807"]);
    refuses("budget.per_day", &["0", "-1", "1.0", "\"5\"", "1000001"]);
    refuses("assumed_lifetime", &["0", "\"31d\"", "\"\""]);
    let prefetch = |lines: &str| good(lines).refresh.prefetch;
    assert!(prefetch("concurrency = \"overlap\""));
    assert!(!prefetch("concurrency = \"exclusive\""), "a new token would end somebody's");
    assert!(prefetch("concurrency = \"exclusive\"\nprefetch = true"));
    refuses("concurrency", &["\"one\"", "1"]);
}

#[test]
fn connection() {
    let endpoint = |line: &str| good(line).endpoint.clone();
    let plain = endpoint("");
    assert_eq!(
        (plain.transport.connect_timeout, plain.attempt_timeout),
        (Duration::from_secs(3), Duration::from_secs(10))
    );
    assert_eq!(endpoint("proxy = \"none\"").transport.proxy, ProxyChoice::None);
    assert_eq!(endpoint("proxy = \"environment\"").transport.proxy, ProxyChoice::Environment);
    for url in ["http://p.example:3128", "https://u:p@p.example/", "socks5://[::1]:1080", "socks5h://p.example"] {
        assert!(matches!(endpoint(&format!("proxy = \"{url}\"")).transport.proxy, ProxyChoice::Url(_)), "{url}");
    }
    refuses("proxy", &["\"p.example:3128\"", "\"ftp://p\"", "\"http://p/path\"", "\"http://\"", "\"\"", "false"]);
    refuses("timeouts.connect", &["\"99ms\"", "\"11s\"", "\"3m\""]);
    refuses("timeouts.attempt", &["\"2s\"", "121"]);
    assert!(also("timeouts = { connect = 20, attempt = 20 }").is_ok());
    refuses("tls.ca_file", &["\"a.pem\"", "\"/\"", "\"/dev/null\"", "\"/proc/self/status\"", "\"/does/not/exist\""]);
    refuses("tls.client_key", &["\"/a\""]);
}

#[test]
fn certificate_authorities_are_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let line = format!("tls = {{ ca_file = {:?} }}", ca.display().to_string());
    let place = "tls.ca_file: names a file that ";
    fs::write(&ca, "no PEM").unwrap();
    assert_eq!(
        also(&line).unwrap_err(),
        format!("{place}holds no certificate in PEM form; name a file with one or more PEM certificates")
    );
    let good_one = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    // Well-formed PEM around something else, and PEM without its end.
    for bad_one in
        ["-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAA"]
    {
        fs::write(&ca, format!("{good_one}{bad_one}")).unwrap();
        assert_eq!(
            also(&line).unwrap_err(),
            format!(
                "{place}is damaged: certificate number 2 in it cannot be read; name a file with one or more PEM \
                 certificates"
            )
        );
    }
    fs::write(&ca, good_one).unwrap();
    let first = good(&line);
    assert!(first.endpoint.transport.ca.is_some());
    assert_eq!(first, good(&line));
    fs::write(&ca, rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem()).unwrap();
    assert_ne!(first, good(&line), "a changed file is a changed setting");
}

#[test]
fn request_headers() {
    let headers = |value: &str| good(&format!("request_headers = {value}")).request_headers.clone();
    let found =
        headers(r#"{ b = { per_call = true }, A = { value = "x y" }, c = { per_call = true, pattern = "a|b" } }"#);
    let rules: Vec<_> = found.iter().map(|header| (&*header.name, header.value.clone())).collect();
    let per_call = |pattern: Option<&str>| HeaderValueRule::PerCall { pattern: pattern.map(Box::from) };
    let fixed = HeaderValueRule::Fixed("x y".into());
    assert_eq!(rules, [("A", fixed), ("b", per_call(None)), ("c", per_call(Some("a|b")))]);
    refuses(
        "request_headers",
        &[
            "{ host = { value = \"x\" } }",
            "{ AUTHORIZATION = { per_call = true } }",
            "{ TE = { value = \"x\" } }",
            "{ \"a b\" = { value = \"x\" } }",
            "{ \"\" = { value = \"x\" } }",
            "{ a = { value = \"x\" }, A = { value = \"x\" } }",
            "{ a = \"x\" }",
            "{ a = {} }",
            "{ a = { value = \"\" } }",
            "{ a = { value = \" x\" } }",
            "{ a = { value = \"x\\ny\" } }",
            "{ a = { per_call = false } }",
            "{ a = { pattern = \"x\" } }",
            "{ a = { per_call = true, value = \"x\" } }",
            "{ a = { per_call = true, pattern = \"a)|(b\" } }",
            "{ a = { per_call = true, pattern = \"(?x)a #\" } }",
        ],
    );
}
