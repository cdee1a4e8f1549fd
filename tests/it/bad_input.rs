//! What people get wrong: files, configurations and places for the socket. Each is refused with the cause and the
//! remedy, nothing is overwritten, and who was there before goes on.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use crate::support::{
    binary::{Daemon, Ended, Process, bearerd, bearerd_as_nobody},
    daemon::{client, write_secret},
    idp::Idp,
};

/// One client that nobody asks for anything.
const GOOD: &str = r#"
[clients.one]
token_url = "https://issuer.example/token"
client_id = "id"
client_secret = { env = "SECRET" }
prefetch = false
"#;

/// A directory with this configuration in it.
fn directory(config: impl AsRef<[u8]>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bearerd.toml"), config).unwrap();
    dir
}

/// `bearerd run` with the directory's configuration and a socket in it.
fn daemon(dir: &Path, socket: &str) -> Command {
    let mut command = bearerd();
    command.arg("run").arg("--config").arg(dir.join("bearerd.toml")).arg("--socket").arg(dir.join(socket));
    command
}

/// What becomes of a daemon that must not start.
fn refused(dir: &Path, socket: &str) -> Ended {
    Ended::of(daemon(dir, socket).output().unwrap()).plain(dir)
}

fn fails(code: i32, text: &str) -> Ended {
    Ended::new(code, "", &format!("bearerd: {text}\n"))
}

/// `run` and `check` refuse this configuration alike.
fn bad_configuration(config: impl AsRef<[u8]>, problems: &[&str]) {
    let dir = directory(config);
    let count = if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
    let lines: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
    let expected = fails(78, &format!("the configuration has {count}:{lines}"));
    assert_eq!(refused(dir.path(), "b.sock"), expected);
    let check = bearerd().arg("check").arg("--config").arg(dir.path().join("bearerd.toml")).output().unwrap();
    assert_eq!(Ended::of(check).plain(dir.path()), expected);
    assert!(!dir.path().join("b.sock").exists());
}

#[test]
fn unknown_keys_are_named_with_what_was_probably_meant() {
    bad_configuration(
        format!("[sever]\nmode = \"0600\"\n[server]\nsockte = \"/x\"\n{GOOD}scopes = \"a\"\ntls.ca = \"/x\"\n"),
        &[
            "DIR/bearerd.toml: clients.one.scopes: is not a known key; did you mean \"scope\"?",
            "DIR/bearerd.toml: clients.one.tls.ca: is not a known key; known here: ca_file, certificate_file, \
             key_file",
            "DIR/bearerd.toml: server.sockte: is not a known key; did you mean \"socket\"?",
            "DIR/bearerd.toml: sever: is not a known key; did you mean \"server\"?",
        ],
    );
}

#[test]
fn wrong_types_are_named_with_what_to_write() {
    bad_configuration(
        "server = []\n[clients.one]\ntoken_url = 1\nclient_id = true\nclient_secret = \"hunter2\"\nallow = \"all\"\n\
         prefetch = \"yes\"\ntimeouts.connect = \"3 parsecs\"\nbudget.per_day = -1\nrefresh.earliest = \"a\"\n",
        &[
            "DIR/bearerd.toml: clients.one.allow: is a string, not a list; write [ … ]",
            "DIR/bearerd.toml: clients.one.budget.per_day: is not a whole number from 1 to 1000000; write one, without \
             quotes",
            "DIR/bearerd.toml: clients.one.client_id: is a boolean, not a string; write one string in quotes",
            "DIR/bearerd.toml: clients.one.client_secret: holds the secret itself; put it elsewhere and write { file = \
             \"/path/to/secret\" } or { env = \"VARIABLE\" }",
            "DIR/bearerd.toml: clients.one.prefetch: is not a boolean; write true or false, without quotes",
            "DIR/bearerd.toml: clients.one.refresh.earliest: is not a number from 0.01 to 0.95; write one, without \
             quotes",
            "DIR/bearerd.toml: clients.one.timeouts.connect: is not a duration from 100ms to 2m; write one like \
             \"30s\", \"5m\" or \"1h 30m\"",
            "DIR/bearerd.toml: clients.one.token_url: is a number, not a string; write one string in quotes",
            "DIR/bearerd.toml: server: is a list, not a table; write { key = value } or a [table] of its own",
        ],
    );
}

#[test]
fn a_syntax_error_has_a_place_and_shows_nothing_of_the_line() {
    bad_configuration(
        "[clients.one]\nclient_secret = hunter2\n",
        &["DIR/bearerd.toml: is not TOML: line 2, column 17: string values must be quoted, expected literal string; \
           correct the syntax there"],
    );
}

#[test]
fn empty_files_and_files_without_clients_are_told_apart() {
    for empty in ["", " \n\n", "\u{feff}"] {
        bad_configuration(empty, &["DIR/bearerd.toml: is empty; write a configuration or remove the file"]);
    }
    for none in ["# nothing yet\n", "[server]\nmode = \"0600\"\n"] {
        bad_configuration(
            none,
            &["DIR/bearerd.toml: clients: no client is configured; add a [clients.NAME] table with token_url, \
               client_id and client_secret"],
        );
    }
}

#[test]
fn what_is_no_text_is_no_configuration() {
    for binary in [&b"\x7fELF\x02\x01\x01\0\0\0"[..], b"a = \"\xff\"\n", b"\xff\xfea\0"] {
        bad_configuration(binary, &["DIR/bearerd.toml: is not a text file; write TOML in UTF-8"]);
    }
}

#[test]
fn a_damaged_certificate_authority_is_named_before_it_is_needed() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    let good = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    fs::write(ca.path(), format!("{good}-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n"))
        .unwrap();
    bad_configuration(
        format!("{GOOD}tls.ca_file = \"{}\"\n", ca.path().display()),
        &[
            "DIR/bearerd.toml: clients.one.tls.ca_file: names a file that is damaged: certificate number 2 in it cannot \
             be read; name a file with one or more PEM certificates",
        ],
    );
}

#[test]
fn a_missing_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let expected = "the configuration has 1 problem:\nDIR/bearerd.toml: does not exist; create it or correct the path";
    assert_eq!(refused(dir.path(), "b.sock"), fails(78, expected));
}

#[test]
fn directories_and_pipes_are_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bearerd.toml")).unwrap();
    let expected = "the configuration has 1 problem:\nDIR/bearerd.toml: is a directory; name a file";
    assert_eq!(refused(dir.path(), "b.sock"), fails(78, expected));
    let dir = tempfile::tempdir().unwrap();
    // Opened, it would wait for a writer for ever.
    mkfifo(&dir.path().join("bearerd.toml"), Mode::S_IRUSR).unwrap();
    let expected = "the configuration has 1 problem:\nDIR/bearerd.toml: is not a regular file; name a regular file";
    assert_eq!(refused(dir.path(), "b.sock"), fails(78, expected));
}

#[test]
fn a_bad_file_in_conf_d_is_named_beside_the_others() {
    let dir = directory(GOOD);
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/10.toml"), "clients.one.colour = 1\n").unwrap();
    fs::write(dir.path().join("conf.d/20.toml"), "=").unwrap();
    fs::write(dir.path().join("conf.d/30.toml~"), "= left alone").unwrap();
    assert_eq!(
        refused(dir.path(), "b.sock").replace("line 1, column 1: .*;", "line 1, column 1: REASON;"),
        fails(
            78,
            "the configuration has 2 problems:\n\
             DIR/conf.d/10.toml: clients.one.colour: is not a known key; known here: allow, allow_http, \
             assertion_audience, assertion_claims, assertion_file, assertion_typ, assumed_lifetime, audience, \
             auth_method, basic_encoding, budget, client_assertion_file, client_assertion_type, client_id, \
             client_secret, concurrency, dpop, expires_at_field, expires_in_unit, grant, idle_after, issuer, key_id, \
             parameters, prefetch, private_key, proxy, refresh, request_headers, required, resource, \
             revocation_url, revoke_on_stop, scope, signing_algorithm, \
             subject, subject_token_file, subject_token_type, timeouts, tls, token_type, token_url\n\
             DIR/conf.d/20.toml: is not TOML: line 1, column 1: REASON; correct the syntax there"
        )
    );
}

#[test]
fn a_configuration_that_may_not_be_read_is_named() {
    let dir = directory(GOOD);
    let path = dir.path().join("bearerd.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let expected = "the configuration has 1 problem:\nDIR/bearerd.toml: cannot be read by this user; let the user \
                    that the daemon runs as read it";
    let mut command = bearerd_as_nobody(dir.path()).unwrap_or_else(bearerd);
    command.arg("run").arg("--config").arg(&path).arg("--socket").arg(dir.path().join("b.sock"));
    assert_eq!(Ended::of(command.output().unwrap()).plain(dir.path()), fails(78, expected));
}

#[test]
fn an_unreadable_secret_stops_nobody_else() {
    let idp = Idp::start();
    let config = [
        client("good", &idp, "prefetch = false"),
        client("missing", &idp, "prefetch = false").replace("@DIR@/secret", "@DIR@/missing"),
        client("directory", &idp, "prefetch = false").replace("@DIR@/secret", "@DIR@"),
        client("variable", &idp, "prefetch = false").replace("{ file = \"@DIR@/secret\" }", "{ env = \"NOT_SET\" }"),
    ];
    let daemon = Daemon::start(&config.concat(), &[]);
    for (name, reason) in [
        ("missing", "secret file DIR/missing: does not exist; write the secret to it"),
        ("directory", "secret file DIR: is not a regular file; name the file that holds the secret"),
        ("variable", "environment variable NOT_SET: is not set; set it for the daemon and restart it"),
    ] {
        let ended = daemon.run(&["token", name]).plain(daemon.dir()).replace("next try in 3[0-3]s", "next try in 3?s");
        let remedy = "it is read again when it has changed; next try in 3?s [SECRET_UNREADABLE]";
        assert_eq!(ended, fails(69, &format!("no usable token for `{name}`: {reason}; {remedy}")));
        let status = daemon.run(&["status", name]).plain(daemon.dir());
        let lines: Vec<_> = status.stdout.lines().collect();
        assert_eq!(status.code, Some(0));
        assert_eq!(lines[1], "state:             REJECTED: no usable token; the credentials need a person");
        assert!(lines.contains(&format!("last failure:      SECRET_UNREADABLE: {reason}").as_str()), "{lines:#?}");
    }
    assert_eq!(daemon.run(&["token", "good"]), Ended::new(0, "tok-1\n", ""));
    assert_eq!(idp.request_count(), 1);
}

#[test]
fn a_secret_that_the_daemon_may_not_read_is_named() {
    let idp = Idp::start();
    let dir = tempfile::tempdir().unwrap();
    let config = client("demo", &idp, "prefetch = false").replace("@DIR@", dir.path().to_str().unwrap());
    fs::write(dir.path().join("bearerd.toml"), config).unwrap();
    write_secret(&dir.path().join("secret"), "hunter2");
    fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let own = || bearerd_as_nobody(dir.path()).unwrap_or_else(bearerd);
    let mut command = own();
    command.arg("run").arg("--config").arg(dir.path().join("bearerd.toml"));
    let daemon = Process::spawn(command.arg("--socket").arg(dir.path().join("b.sock")));
    daemon.wait_for_stderr(" serving ");
    let ended = own().args(["refresh", "demo", "--socket"]).arg(dir.path().join("b.sock")).output().unwrap();
    assert_eq!(
        Ended::of(ended).plain(dir.path()),
        fails(
            69,
            "demo: not renewed: secret file DIR/secret: cannot be read by the user bearerd runs as; change its owner \
             or mode [SECRET_UNREADABLE]"
        )
    );
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = directory(GOOD);
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("file"), "precious").unwrap();
    symlink("file", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    mkfifo(&path("pipe"), Mode::S_IRUSR).unwrap();
    for (name, what) in [
        ("folder", "a directory"),
        ("file", "a file"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("pipe", "a file"),
    ] {
        let expected = format!(
            "DIR/{name}: there is {what}, not a socket; it is left alone: remove it, or choose another --socket"
        );
        assert_eq!(refused(dir.path(), name), fails(69, &expected));
    }
    assert!(path("folder").is_dir());
    assert_eq!(fs::read_to_string(path("link")).unwrap(), "precious");
    assert_eq!(fs::read_link(path("dangling")).unwrap(), Path::new("nowhere"));
    assert!(fs::symlink_metadata(path("pipe")).unwrap().file_type().is_fifo());
    assert!(!path("nowhere").exists());
}

#[test]
fn a_link_to_a_living_socket_is_left_alone_too() {
    let idp = Idp::start();
    let living = Daemon::start(&client("demo", &idp, "prefetch = false"), &[]);
    symlink("b.sock", living.dir().join("link")).unwrap();
    assert_eq!(
        refused(living.dir(), "link"),
        fails(
            69,
            "DIR/link: there is a symbolic link, not a socket; it is left alone: remove it, or choose another --socket"
        )
    );
    assert_eq!(living.run(&["token", "demo"]), Ended::new(0, "tok-1\n", ""));
}

#[test]
fn the_socket_of_a_living_daemon_stays_its_own() {
    let idp = Idp::start();
    let living = Daemon::start(&client("demo", &idp, "prefetch = false"), &[]);
    let pid = living.pid();
    let ended = Ended::of(daemon(living.dir(), "b.sock").output().unwrap());
    assert_eq!(
        ended.replace(living.dir().to_str().unwrap(), "DIR"),
        fails(
            69,
            &format!("DIR/b.sock: a living daemon with pid {pid} listens here; stop it, or choose another --socket")
        )
    );
    let dev = bearerd().args(["dev", "--socket"]).arg(living.socket()).output().unwrap();
    assert_eq!(Ended::of(dev).code, Some(69));
    assert_eq!(living.run(&["token", "demo"]), Ended::new(0, "tok-1\n", ""));
}

#[test]
fn a_stale_socket_is_replaced() {
    let dir = directory(GOOD);
    let path = dir.path().join("b.sock");
    drop(UnixListener::bind(&path).unwrap());
    let living = Process::spawn(&mut daemon(dir.path(), "b.sock"));
    living.wait_for_stderr(" serving ");
    let ended = bearerd().args(["health", "--socket"]).arg(&path).output().unwrap();
    assert_eq!(Ended::of(ended), Ended::new(0, "ok: every required client has a usable token or is idle\n", ""));
}

#[test]
fn a_socket_that_somebody_else_put_there_is_not_removed_at_the_end() {
    let idp = Idp::start();
    let mut living = Daemon::start(&client("demo", &idp, "prefetch = false"), &[]);
    fs::remove_file(living.socket()).unwrap();
    let _other = UnixListener::bind(living.socket()).unwrap();
    living.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(living.ended().code, Some(0));
    assert!(fs::symlink_metadata(living.socket()).unwrap().file_type().is_socket());
}

#[test]
fn a_directory_that_others_can_write_is_no_place_for_the_socket() {
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        let dir = directory(GOOD);
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        let uid = nix::unistd::geteuid();
        assert_eq!(
            refused(dir.path(), "open/b.sock"),
            fails(
                69,
                &format!(
                    "DIR/open/b.sock: the directory DIR/open (owner uid {uid}, mode {mode:04o}) can be written by other \
                     users, who could put a socket of their own there; use a directory that only root or the daemon's \
                     user can write"
                )
            )
        );
        assert!(!open.join("b.sock").exists());
    }
}

#[test]
fn a_missing_directory_is_made_but_not_its_parents() {
    let dir = directory(GOOD);
    let living = Process::spawn(&mut daemon(dir.path(), "new/b.sock"));
    living.wait_for_stderr(" serving ");
    assert_eq!(fs::metadata(dir.path().join("new")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(
        refused(dir.path(), "no/such/b.sock"),
        fails(
            69,
            "DIR/no/such/b.sock: the directory DIR/no/such cannot be used: No such file or directory (os error 2); \
             create it for the daemon's user"
        )
    );
    assert!(!dir.path().join("no").exists());
    assert_eq!(
        refused(dir.path(), "bearerd.toml/b.sock"),
        fails(69, "DIR/bearerd.toml/b.sock: the socket cannot be looked at: Not a directory (os error 20)")
    );
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_everywhere() {
    let name = "x".repeat(108);
    let dir = directory(GOOD);
    let text = format!("DIR/{name}: a socket's path has at most 107 bytes; choose a shorter one");
    assert_eq!(refused(dir.path(), &name), fails(69, &text));
    let client = bearerd().args(["status", "--socket"]).arg(dir.path().join(&name)).output().unwrap();
    assert_eq!(Ended::of(client).plain(dir.path()), fails(69, &text));
    bad_configuration(
        format!("[server]\nsocket = \"/run/{name}\"\n{GOOD}"),
        &["DIR/bearerd.toml: server.socket: is longer than 107 bytes; choose a shorter path"],
    );
}

#[test]
fn a_place_where_the_daemon_may_not_write_is_named() {
    let dir = directory(GOOD);
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = bearerd_as_nobody(dir.path()).unwrap_or_else(bearerd);
    command.arg("run").arg("--config").arg(dir.path().join("bearerd.toml"));
    let ended = Ended::of(command.arg("--socket").arg(closed.join("b.sock")).output().unwrap());
    assert_eq!(
        ended.plain(dir.path()),
        fails(69, "DIR/closed/b.sock: the socket cannot be bound: Permission denied (os error 13)")
    );
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
}

#[test]
fn clients_say_what_is_there_instead_of_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "precious").unwrap();
    for (name, what) in [("file", "a file"), ("", "a directory")] {
        let ended = bearerd().args(["status", "--socket"]).arg(dir.path().join(name)).output().unwrap();
        let path = format!("DIR/{name}");
        assert_eq!(
            Ended::of(ended).plain(dir.path()),
            fails(
                69,
                &format!(
                    "{path}: there is {what}, not a socket; set BEARERD_SOCKET to the path of the daemon's socket"
                )
            )
        );
    }
}

#[test]
fn a_peer_that_hangs_up_is_an_error_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("b.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let hangs_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let ended = Ended::of(bearerd().args(["status", "--socket"]).arg(&socket).output().unwrap());
    hangs_up.join().unwrap();
    // How far the client came before it noticed is chance, and with it the words.
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.lines().count()), (Some(69), "", 1), "{ended:?}");
    assert!(ended.stderr.starts_with("bearerd: "), "{ended:?}");
}
