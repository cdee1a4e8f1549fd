//! The configuration as an operator meets it: through `bearerd::config::load`, from files in a directory of its own.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::PathBuf, sync::Arc, time::Duration};

use bearerd::{
    config::{ClientSettings, Config, Environment, Problems, Sources, known_keys, load},
    oauth::ClientAuth,
    secret::SecretSource,
    token::{ClientName, HeaderValueRule, RequestHeader},
};
use config::{FileFormat, Format, Value, ValueKind};
use tempfile::TempDir;

/// A configuration directory, and what the environment adds to it.
struct Setup {
    directory: TempDir,
    environment: Environment,
}

impl Setup {
    fn new(main: impl AsRef<[u8]>) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("main.toml"), main).unwrap();
        Self { directory, environment: Environment::default() }
    }

    fn drop_in(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.path("conf.d")).unwrap();
        fs::write(self.path("conf.d").join(name), text).unwrap();
        self
    }

    fn environment(self, variables: &[(&str, &str)]) -> Self {
        Self { environment: variables.iter().copied().collect(), ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self) -> Result<Config, Problems> {
        load(&Sources { file: self.path("main.toml"), environment: self.environment.clone(), own_uid: 990 })
    }

    /// The problems as they are printed, with `/etc` for the directory.
    fn problems(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        text.replace(&self.directory.path().display().to_string(), "/etc")
    }
}

fn load_text(text: &str) -> Config {
    Setup::new(text).load().unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// The reference file with the lines that have this mark uncommented; tables always are.
fn example(mark: &str) -> String {
    let lines = EXAMPLE.lines().map(|line| {
        let written =
            line.strip_prefix(mark).filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '"'));
        let assignment = written.filter(|rest| rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')));
        let table = [mark, "# "].iter().find_map(|mark| line.strip_prefix(mark).filter(|rest| rest.starts_with('[')));
        assignment.or(table).unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

const EXAMPLE: &str = include_str!("../../examples/config.toml");

#[test]
fn the_reference_file_loads() {
    let config = load_text(EXAMPLE);
    assert_eq!(config.clients.keys().map(ClientName::as_str).collect::<Vec<_>>(), ["paysway", "wawex"]);
    let wawex = config.clients.get("wawex").unwrap();
    assert_eq!(*secret_of(wawex), SecretSource::Env("WAWEX_CLIENT_SECRET".into()));
    let value = HeaderValueRule::PerCall { pattern: Some("[0-9]{1,20}".into()) };
    assert_eq!(*wawex.request_headers, [RequestHeader { name: "Requestor-ID".into(), value }]);
}

#[test]
fn every_default_in_the_reference_file_is_the_default() {
    let (plain, written) = (load_text(EXAMPLE), load_text(&example("# ")));
    assert_ne!(EXAMPLE, example("# "));
    assert_eq!(plain.server, written.server);
    assert_eq!(plain.clients, written.clients);
}

#[test]
fn every_key_is_in_the_reference_file() {
    let mut found = BTreeSet::new();
    for mark in ["# ", "#+ "] {
        let text = example(mark);
        let tree = FileFormat::Toml.parse(None, &text).unwrap_or_else(|error| panic!("{error}"));
        collect(&Value::new(None, tree), String::new(), &mut found);
    }
    let missing: Vec<String> = known_keys().into_iter().filter(|key| !found.contains(key)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_key_is_in_the_reference_prose() {
    let prose = include_str!("../../docs/configuration.md");
    for key in known_keys() {
        let name = key.rsplit('.').next().unwrap();
        let chosen = ["CLAIM", "HEADER", "PARAMETER"].contains(&name);
        let forms = ["`KEY`", "`KEY.", ".KEY`", "`KEY = ", "{ KEY = "].map(|form| form.replace("KEY", name));
        assert!(chosen || forms.iter().any(|form| prose.contains(form)), "{key}");
    }
}

/// Adds the path of everything in a tree, with `NAME` and the like for names that operators choose.
fn collect(value: &Value, path: String, found: &mut BTreeSet<String>) {
    match &value.kind {
        ValueKind::Table(entries) => {
            for (key, value) in entries {
                let key = match path.as_str() {
                    "clients" => "NAME",
                    "clients.NAME.assertion_claims" => "CLAIM",
                    "clients.NAME.parameters" => "PARAMETER",
                    "clients.NAME.request_headers" => "HEADER",
                    _ => key,
                };
                let inner = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                collect(value, inner, found);
            }
        }
        // A list of secrets is told apart from one by nothing.
        ValueKind::Array(items) if path.ends_with(".client_secret") => {
            items.iter().for_each(|item| collect(item, path.clone(), found));
        }
        ValueKind::Array(items) => items.iter().for_each(|item| collect(item, format!("{path}[]"), found)),
        _ => {}
    }
    found.insert(path);
}

/// A configuration in which one key, as [`known_keys`] names it, has this value.
fn with(key: &str, value: &str) -> String {
    let path = written(key);
    let mut lines: Vec<String> =
        ["token_url = \"https://a.example/\"", "client_id = \"a\"", "client_secret = { env = \"A\" }"]
            .iter()
            .map(|line| format!("clients.a.{line}"))
            .filter(|line| !path.starts_with(line.split(' ').next().unwrap()))
            .collect();
    lines.push(match path.split_once("[0].") {
        Some((table, key)) => format!("{table} = [{{ {key} = {value} }}]"),
        None => format!("{path} = {value}"),
    });
    lines.join("\n")
}

/// The path of a key in the configuration that [`with`] writes.
fn written(key: &str) -> String {
    key.replace("NAME", "a").replace("HEADER", "x").replace("PARAMETER", "x").replace("CLAIM", "x").replace("[]", "[0]")
}

#[test]
fn every_key_is_read() {
    for key in known_keys() {
        let problems = Setup::new(with(&key, "[[]]")).load().expect_err(&key);
        let path = written(&key);
        assert!(problems.as_slice().iter().any(|problem| problem.path.starts_with(&path)), "{key}: {problems}");
    }
}

#[test]
fn no_value_is_ever_repeated() {
    let secret = "hunter2 \\\"'{}[] hunter2";
    let values = [
        format!("{secret:?}"),
        format!("[{secret:?}]"),
        format!("{{ file = {secret:?} }}"),
        format!("{{ env = {secret:?}, value = {secret:?}, user = [{secret:?}] }}"),
        "'https://x:hunter2@[hunter2'\nhunter2 = 'hunter2".to_owned(),
    ];
    // Names of users and groups are repeated.
    let named = |key: &&String| !matches!(key.rsplit('.').next(), Some("user" | "group"));
    for key in known_keys().iter().filter(named) {
        for value in &values {
            if let Err(problems) = Setup::new(with(key, value)).load() {
                assert!(!problems.to_string().contains("hunter2"), "{key} = {value}: {problems}");
            }
        }
        let name = format!("BEARERD_{}", written(key).to_uppercase().replace('.', "__"));
        let setup = Setup::new(with(key, "[[]]")).environment(&[(&name, secret)]);
        assert!(!format!("{:?}", setup.environment).contains("hunter2"));
        if let Err(problems) = setup.load() {
            assert!(!problems.to_string().contains("hunter2"), "{name}: {problems}");
        }
    }
}

#[test]
fn broken_files_never_panic() {
    for end in (0..EXAMPLE.len()).step_by(61).filter(|end| EXAMPLE.is_char_boundary(*end)) {
        let _ = Setup::new(&EXAMPLE[..end]).load();
        let _ = Setup::new(EXAMPLE[..end].replace('=', "= [[").replace('"', "")).load();
    }
}

const VERY_BAD: &str = r#"
sever = 1
[server]
socket = "bearerd.sock"
mode = 438
admins = [{ user = "no such user" }]
drain = "1h"
limits = { connections = 0, conections = 5 }

[clients.Big]
token_url = "https://issuer.example/token"
client_id = "x"
client_secret = { env = "X" }

[clients.empty]

[clients."with.dots"]
token_url = "http://issuer.example/token#part"
token_uri = "https://issuer.example/token"
client_id = 7
client_secret = "hunter2"
auth_method = "client_secret"
basic_encoding = "rfc6479"
scope = ["a", "b c", ""]
audience = ["x"]
resource = ["relative/path", "https://api.example/#x"]
parameters = { grant_type = "password", n = 1 }
token_type = "two words"
expires_in_unit = "hours"
allow = [{ any = true, uid = 0 }, {}, { user = "root", uid = 1 }, { unit = "billing" }, "root", { any = false }]
required = "true"
prefetch = 1
idle_after = "5 parsecs"
assumed_lifetime = -1
proxy = "ftp://user:hunter2@proxy"
issuer = ["https://issuer.example"]
refresh = { earliest = 0.9, latest = 0.5, retry_cap = "1ms" }
timeouts = { connect = "30s", attempt = 3600 }
tls = { ca_file = "/does/not/exist" }
budget = { per_day = 0 }
[clients."with.dots".request_headers]
"Authorization" = { value = "x" }
"Bad Name" = { value = "x" }
"X-A" = { per_call = true, pattern = "(" }
"x-a" = { value = "line\nbreak" }
"X-B" = {}
"X-C" = { per_call = true, value = "x" }
"X-D" = { pattern = "x" }

[clients.secrets-1]
token_url = "https://user:hunter2@issuer.example/"
client_id = "x"
client_secret = { file = "hunter2", env = "1 2" }
[clients.secrets-2]
token_url = "issuer.example"
client_id = "ü"
client_secret = { command = ["pass", "show"] }
[clients.secrets-3]
token_url = "https://issuer.example/"
client_id = "x"
client_secret = {}
"#;

/// One problem on each line; a line that goes on is indented here.
const ALL_THAT_IS_WRONG: &str = r#"
/etc/main.toml: clients."with.dots".allow[0]: has conditions beside any = true; keep any = true alone, or only
    the conditions
/etc/main.toml: clients."with.dots".allow[1]: has no condition; write one like { user = "NAME" }, or { any =
    true } for every process
/etc/main.toml: clients."with.dots".allow[2].uid: is not the number of the user beside it; keep one of the two
/etc/main.toml: clients."with.dots".allow[3].unit: is not the name of a unit that has processes; write it with its
    type, like billing.service, or like worker@.service for all instances
/etc/main.toml: clients."with.dots".allow[4]: is a string, not a table; write { key = value } or a [table] of
    its own
/etc/main.toml: clients."with.dots".allow[5].any: is false, which admits nobody; write true or remove the key
/etc/main.toml: clients."with.dots".assumed_lifetime: is not a duration from 1s to 30days; write one like "30s",
    "5m" or "1h 30m"
/etc/main.toml: clients."with.dots".audience: is a list, not a string; write one string in quotes
/etc/main.toml: clients."with.dots".auth_method: is none of client_assertion_file, client_secret_basic, client_secret_jwt,
    client_secret_post, none, private_key_jwt, self_signed_tls_client_auth, tls_client_auth; did you mean
    "client_secret_jwt"?
/etc/main.toml: clients."with.dots".basic_encoding: is none of raw, rfc6749; did you mean "rfc6749"?
/etc/main.toml: clients."with.dots".budget.per_day: is not a whole number from 1 to 1000000; write one, without
    quotes
/etc/main.toml: clients."with.dots".client_id: is a number, not a string; write one string in quotes
/etc/main.toml: clients."with.dots".client_secret: holds the secret itself; put it elsewhere and write { file =
    "/path/to/secret" } or { env = "VARIABLE" }
/etc/main.toml: clients."with.dots".expires_in_unit: is none of milliseconds, seconds; write one of these
/etc/main.toml: clients."with.dots".idle_after: is not a duration from 1s to 30days; write one like "30s", "5m"
    or "1h 30m"
/etc/main.toml: clients."with.dots".issuer: is a list, not a string; write one string in quotes
/etc/main.toml: clients."with.dots".parameters.grant_type: is a form field that bearerd sets itself; write the
    client's key grant
/etc/main.toml: clients."with.dots".parameters.n: is a number, not a string; write one string in quotes
/etc/main.toml: clients."with.dots".prefetch: is not a boolean; write true or false, without quotes
/etc/main.toml: clients."with.dots".proxy: is not an http, https, socks5 or socks5h URL; write "none", "environment"
    or a URL like "http://proxy.example:3128"
/etc/main.toml: clients."with.dots".refresh.earliest: makes earliest later than latest; write earliest <= latest
    (defaults 0.7 and 0.8)
/etc/main.toml: clients."with.dots".refresh.retry_cap: is not a duration from 1s to 1h; write one like "30s",
    "5m" or "1h 30m"
/etc/main.toml: clients."with.dots".request_headers."Bad Name": is not the name of a header; write letters,
    digits and hyphens
/etc/main.toml: clients."with.dots".request_headers.Authorization: is a header that is not for you to set;
    remove it: bearerd or the HTTP client sets it
/etc/main.toml: clients."with.dots".request_headers.X-A.pattern: is not a regular expression; write one that the
    whole value must match, like "[0-9]{1,20}"
/etc/main.toml: clients."with.dots".request_headers.X-B: has no value; write { value = "…" } or { per_call =
    true, pattern = "…" }
/etc/main.toml: clients."with.dots".request_headers.X-C: has a value and also leaves it to the caller; write {
    value = "…" } or { per_call = true, pattern = "…" }
/etc/main.toml: clients."with.dots".request_headers.X-D: has a pattern, but nobody gives the value; add per_call
    = true
/etc/main.toml: clients."with.dots".request_headers.x-a: is here twice: upper and lower case are the same in a
    header's name; keep one of them
/etc/main.toml: clients."with.dots".request_headers.x-a.value: is not the value of a header; write printable
    ASCII, no space at either end
/etc/main.toml: clients."with.dots".required: is not a boolean; write true or false, without quotes
/etc/main.toml: clients."with.dots".resource[0]: is not an absolute URI without a fragment (RFC 8707); write one
    like "https://api.example/"
/etc/main.toml: clients."with.dots".resource[1]: is not an absolute URI without a fragment (RFC 8707); write one
    like "https://api.example/"
/etc/main.toml: clients."with.dots".scope[1]: is not a scope (RFC 6749 section 3.3); write printable ASCII
    without " and \, with a space between scopes or each in a string of its own
/etc/main.toml: clients."with.dots".scope[2]: is empty; write a value or remove the key
/etc/main.toml: clients."with.dots".timeouts.attempt: is not a duration from 100ms to 2m; write one like "30s",
    "5m" or "1h 30m"
/etc/main.toml: clients."with.dots".timeouts.connect: makes connect longer than attempt, which includes it;
    write connect <= attempt (defaults "3s" and "10s")
/etc/main.toml: clients."with.dots".tls.ca_file: names a file that does not exist; create it or correct the path
/etc/main.toml: clients."with.dots".token_type: is not an authentication scheme (RFC 9110 section 11.1); write
    one word, like "Bearer"
/etc/main.toml: clients."with.dots".token_uri: is not a known key; did you mean "token_url"?
/etc/main.toml: clients."with.dots".token_url: has a fragment (#…), which is never sent; remove the fragment
/etc/main.toml: clients."with.dots".token_url: sends the secret unencrypted; write https://, or allow_http =
    true if nobody can listen on the way
/etc/main.toml: clients.Big: is not the name of a client; a client name starts with a lower-case letter or digit
    and has at most 63 of a-z, 0-9, '.', '_' and '-'
/etc/main.toml: clients.empty.client_id: is missing; add client_id = "…"
/etc/main.toml: clients.empty.client_secret: is missing; add client_secret = { file = "/path/to/secret" } or {
    env = "VARIABLE" }
/etc/main.toml: clients.empty.token_url: is missing; add token_url = "https://…"
/etc/main.toml: clients.secrets-1.client_secret: says in more than one way where the secret is; keep one
    of them
/etc/main.toml: clients.secrets-1.client_secret.env: is not the name of a variable; write a name of letters,
    digits and underscores
/etc/main.toml: clients.secrets-1.client_secret.file: is not an absolute path; write a path that begins with /
/etc/main.toml: clients.secrets-1.token_url: holds a user name or password; write client_id and client_secret
    instead
/etc/main.toml: clients.secrets-2.client_id: is not printable ASCII (RFC 6749 appendix A.1); write what the
    issuer gave you
/etc/main.toml: clients.secrets-2.client_secret.command: does not begin with the absolute path of a program;
    write one; no shell looks for it
/etc/main.toml: clients.secrets-2.token_url: is not an https:// URL; write one like
    "https://issuer.example/oauth2/token"
/etc/main.toml: clients.secrets-3.client_secret: does not say where the secret is; write { file =
    "/path/to/secret" } or { env = "VARIABLE" }
/etc/main.toml: server.admins[0].user: names a user "no such user" that this system does not have; create it,
    correct the name, write a number or add optional = true
/etc/main.toml: server.drain: is not a duration from 0s to 10m; write one like "30s", "5m" or "1h 30m"
/etc/main.toml: server.limits.conections: is not a known key; did you mean "connections"?
/etc/main.toml: server.limits.connections: is not a whole number from 1 to 1000000; write one, without quotes
/etc/main.toml: server.mode: is not a file mode; write three octal digits in quotes, like "0660"
/etc/main.toml: server.socket: is not an absolute path; write a path that begins with /
/etc/main.toml: sever: is not a known key; did you mean "server"?
"#;

#[test]
fn all_problems_are_reported_at_once() {
    assert_eq!(Setup::new(VERY_BAD).problems(), ALL_THAT_IS_WRONG.trim().replace("\n    ", " "));
}

#[test]
fn later_sources_win_key_by_key() {
    let setup = Setup::new(one("paysway"))
        .drop_in("20-b.toml", "clients.paysway.client_id = \"from 20-b\"\nclients.paysway.scope = [\"b\"]")
        .drop_in("10-a.toml", "clients.paysway.client_id = \"from 10-a\"\nclients.paysway.audience = \"from 10-a\"")
        .drop_in("B.toml", "[server]\ndrain = 7")
        .drop_in("a.toml", "[server]\ndrain = 8\nmode = \"0600\"")
        .drop_in(".hidden.toml", "not read")
        .drop_in("a.toml.bak", "not read")
        .environment(&[
            ("BEARERD_SERVER__MODE", "0660"),
            ("BEARERD_MODE", "x"),
            ("BEARERD_CLIENTS__NEW__CLIENT_ID", "new"),
        ])
        .drop_in("c.toml", &one("new"));
    let config = setup.load().unwrap();
    let paysway = &config.clients.get("paysway").unwrap().endpoint;
    assert_eq!(&*paysway.client_id, "from 20-b");
    assert_eq!(paysway.audience.as_deref(), Some("from 10-a"));
    assert_eq!(paysway.scope.as_deref(), Some("b"));
    assert_eq!(*secret_of(&config.clients["paysway"]), SecretSource::File(PathBuf::from("/secrets/paysway").into()));
    assert_eq!(&*config.clients.get("new").unwrap().endpoint.client_id, "new");
    assert_eq!((config.server.drain, config.server.mode), (Duration::from_secs(8), 0o660));
    let names =
        ["main.toml", "conf.d/10-a.toml", "conf.d/20-b.toml", "conf.d/B.toml", "conf.d/a.toml", "conf.d/c.toml"];
    assert_eq!(config.files, names.map(|name| setup.path(name)));
}

#[test]
fn the_environment_is_read_as_the_type_that_is_wanted() {
    let config = Setup::new("[server]\n")
        .environment(&[
            ("BEARERD_SERVER__DRAIN", "7"),
            ("BEARERD_SERVER__LIMITS__CONNECTIONS", "77"),
            ("BEARERD_CLIENTS__E__TOKEN_URL", "http://localhost:1/token"),
            ("BEARERD_CLIENTS__E__CLIENT_ID", "7"),
            ("BEARERD_CLIENTS__E__CLIENT_SECRET__ENV", "E_SECRET"),
            ("BEARERD_CLIENTS__E__REQUIRED", "false"),
            ("BEARERD_CLIENTS__E__SCOPE", "a b"),
            ("BEARERD_CLIENTS__E__REFRESH__EARLIEST", "0.5"),
            ("BEARERD_CLIENTS__E__REFRESH__RETRY_CAP", "2m"),
            ("BEARERD_CLIENTS__E__BUDGET__PER_DAY", "7"),
        ])
        .load()
        .unwrap();
    let client = config.clients.get("e").unwrap();
    assert_eq!((config.server.drain, config.server.limits.connections), (Duration::from_secs(7), 77));
    assert_eq!((&*client.endpoint.client_id, client.endpoint.scope.as_deref()), ("7", Some("a b")));
    assert_eq!((client.required, client.refresh.budget_per_day), (false, Some(7)));
    assert_eq!((client.refresh.earliest, client.refresh.retry_cap), (0.5, Duration::from_secs(120)));
}

#[test]
fn the_environment_is_blamed_for_what_it_says() {
    let variables = [
        ("BEARERD_CLIENTS__A__CLIENT_SECRET", "hunter2"),
        ("BEARERD_CLIENTS__A__REQUIRED", "maybe"),
        ("BEARERD_CLIENTS__A__TOKENURL", "x"),
        ("BEARERD_SERVER__DRAIN__X", "x"),
        ("BEARERD_SEVER__SOCKET", "x"),
    ];
    assert_eq!(
        Setup::new(one("a")).environment(&variables).problems(),
        "the environment: clients.a.client_secret: holds the secret itself; put it elsewhere and write \
         { file = \"/path/to/secret\" } or { env = \"VARIABLE\" }\n\
         the environment: clients.a.required: is not a boolean; write true or false, without quotes\n\
         the environment: clients.a.tokenurl: is not a known key; did you mean \"token_url\"?\n\
         the environment: server.drain: is not a duration from 0s to 10m; write one like \"30s\", \"5m\" or \
         \"1h 30m\"\n\
         the environment: sever: is not a known key; did you mean \"server\"?"
    );
}

#[test]
fn problems_name_the_file_that_has_them() {
    let setup = Setup::new(one("a"))
        .drop_in("1.toml", "[clients.b]\n[clients.a]\nscope = \"\"")
        .drop_in("2.toml", "[client.c]\nx = 1\n[clients.a.tls]\ncafile = \"/x\"");
    assert_eq!(
        setup.problems(),
        "/etc/conf.d/1.toml: clients.a.scope: is empty; write a value or remove the key\n\
         /etc/conf.d/1.toml: clients.b.client_id: is missing; add client_id = \"…\"\n\
         /etc/conf.d/1.toml: clients.b.client_secret: is missing; add client_secret = { file = \"/path/to/secret\" } \
         or { env = \"VARIABLE\" }\n\
         /etc/conf.d/1.toml: clients.b.token_url: is missing; add token_url = \"https://…\"\n\
         /etc/conf.d/2.toml: client: is not a known key; did you mean \"clients\"?\n\
         /etc/conf.d/2.toml: clients.a.tls.cafile: is not a known key; did you mean \"ca_file\"?"
    );
}

#[test]
fn every_unreadable_file_is_named() {
    let setup = Setup::new("[clients.a]\nclient_secret = hunter2\n")
        .drop_in("1.toml", "  \n")
        .drop_in("2.toml", "a\0b")
        .drop_in("4.toml", "[clients.b]\n[clients.b]\n");
    fs::write(setup.path("conf.d/3.toml"), [b'a', 0xff]).unwrap();
    fs::create_dir(setup.path("conf.d/5.toml")).unwrap();
    symlink("/does/not/exist", setup.path("conf.d/6.toml")).unwrap();
    assert_eq!(
        setup.problems(),
        "/etc/conf.d/1.toml: is empty; write a configuration or remove the file\n\
         /etc/conf.d/2.toml: is not a text file; write TOML in UTF-8\n\
         /etc/conf.d/3.toml: is not a text file; write TOML in UTF-8\n\
         /etc/conf.d/4.toml: is not TOML: line 2, column 10: duplicate key; correct the syntax there\n\
         /etc/conf.d/5.toml: is a directory; name a file\n\
         /etc/conf.d/6.toml: does not exist; create it or correct the path\n\
         /etc/main.toml: is not TOML: line 2, column 17: string values must be quoted, expected literal string; \
         correct the syntax there"
    );
}

#[test]
fn a_main_file_is_necessary() {
    let setup = Setup::new("");
    assert_eq!(setup.problems(), "/etc/main.toml: is empty; write a configuration or remove the file");
    fs::remove_file(setup.path("main.toml")).unwrap();
    assert_eq!(setup.problems(), "/etc/main.toml: does not exist; create it or correct the path");
    fs::create_dir(setup.path("main.toml")).unwrap();
    assert_eq!(setup.problems(), "/etc/main.toml: is a directory; name a file");
    fs::write(setup.path("conf.d"), "").unwrap();
    assert!(setup.problems().starts_with("/etc/conf.d: cannot be read: Not a directory"), "{}", setup.problems());
}

#[test]
fn a_configuration_without_clients_is_none() {
    let expected = "/etc/main.toml: clients: no client is configured; add a [clients.NAME] table with token_url, \
                    client_id and client_secret";
    for text in ["# nothing\n", "[server]\n"] {
        assert_eq!(Setup::new(text).problems(), expected, "{text}");
    }
    let none_yet = Setup::new("[clients]\n").load().unwrap();
    assert!(none_yet.clients.is_empty());
    let warnings: String = none_yet.warnings.iter().map(ToString::to_string).collect();
    let warning =
        "clients: names no client yet; add a [clients.NAME] table with token_url, client_id and client_secret";
    assert!(warnings.ends_with(warning), "{warnings}");
    assert!(Setup::new("# nothing\n").drop_in("a.toml", &one("a")).load().is_ok());
}

#[test]
fn names_survive_as_they_are_written() {
    let text = "\u{feff}[clients.\"a.b-c_d\"]\r\ntoken_url = \"https://x.example/\"\r\nclient_id = \"X\"\r\n\
                client_secret = { env = \"Mixed_Case\" }\r\nparameters = { \"Weird.Field[0]\" = \"V\" }\r\n\
                request_headers = { \"X-UPPER.dot\" = { value = \"V\" } }\r\n";
    let config = load_text(text);
    let client = config.clients.get("a.b-c_d").unwrap();
    assert_eq!(*secret_of(client), SecretSource::Env("Mixed_Case".into()));
    assert_eq!(*client.endpoint.parameters, [("Weird.Field[0]".into(), "V".into())]);
    let value = HeaderValueRule::Fixed("V".into());
    assert_eq!(*client.request_headers, [RequestHeader { name: "X-UPPER.dot".into(), value }]);
}

#[test]
fn quoted_names_at_the_top_are_not_paths() {
    let text = format!("\"clients.a.scope\" = 1\n\"x[99999999999]\" = 1\n{}", one("a"));
    let problems = Setup::new(text).load().unwrap_err();
    let paths: Vec<&str> = problems.as_slice().iter().map(|problem| &*problem.path).collect();
    assert_eq!(paths, ["\"clients.a.scope\"", "\"x[99999999999]\""]);
}

#[test]
fn many_clients_share_what_is_equal() {
    let many: String = (0..2000).map(|index| one(&format!("c{index}"))).collect();
    let clients: Vec<_> = load_text(&many).clients.into_values().collect();
    assert_eq!(clients.len(), 2000);
    for pair in clients.windows(2) {
        assert!(Arc::ptr_eq(&pair[0].refresh, &pair[1].refresh));
        assert!(Arc::ptr_eq(&pair[0].request_headers, &pair[1].request_headers));
    }
}

/// Where the only secret of a client is.
fn secret_of(client: &ClientSettings) -> &SecretSource {
    match &client.endpoint.auth {
        ClientAuth::Secret { sources, .. } if sources.len() == 1 => &sources[0],
        other => panic!("{other:?}"),
    }
}

/// A client of this name that is right.
fn one(name: &str) -> String {
    format!(
        "[clients.{name}]\ntoken_url = \"https://issuer.example/token\"\nclient_id = \"id\"\n\
         client_secret = {{ file = \"/secrets/{name}\" }}\n"
    )
}
