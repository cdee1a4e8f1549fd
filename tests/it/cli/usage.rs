//! What needs no daemon: help, completions, manual pages, and words that make no sense.

use std::fs;

use super::{fails, prints};
use crate::support::binary::{Ended, bearerd};

const VERBS: [&str; 13] = [
    "run",
    "dev",
    "check",
    "token",
    "headers",
    "exec",
    "credential",
    "status",
    "health",
    "refresh",
    "reload",
    "completions",
    "man",
];

fn run(words: &[&str]) -> Ended {
    Ended::of(bearerd().args(words).output().unwrap())
}

#[test]
fn the_help_is_this() {
    let expected = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cli/help.txt")).unwrap();
    assert_eq!(run(&["--help"]), prints(&expected));
    assert_eq!(run(&["-h"]), prints(&expected));
    for verb in VERBS {
        assert!(expected.contains(&format!("\n  {verb:<11}  ")), "{verb}");
    }
}

#[test]
fn every_verb_explains_itself() {
    for verb in VERBS {
        let ended = run(&[verb, "--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{verb}");
        assert!(ended.stdout.contains(&format!("Usage: bearerd {verb}")), "{verb}: {}", ended.stdout);
        assert!(ended.stdout.contains("--socket <PATH>"), "{verb}: {}", ended.stdout);
    }
}

#[test]
fn the_version_is_the_packages() {
    let expected = format!("bearerd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((run(&["--version"]), run(&["-V"])), (prints(&expected), prints(&expected)));
}

#[test]
fn nothing_to_do_shows_the_help_as_an_error() {
    let help = run(&["--help"]).stdout;
    assert_eq!(run(&[]), fails(2, &help));
}

#[test]
fn words_that_make_no_sense_are_wrong_usage() {
    for (words, expected) in [
        (
            &["tokens"][..],
            "error: unrecognized subcommand 'tokens'\n\n  tip: a similar subcommand exists: 'token'\n\n\
                           Usage: bearerd [OPTIONS] <COMMAND>\n",
        ),
        (
            &["token"],
            "error: the following required arguments were not provided:\n  <CLIENT>\n\n\
                      Usage: bearerd token <CLIENT>\n",
        ),
        (
            &["exec", "demo"],
            "error: the following required arguments were not provided:\n  <COMMAND>...\n\n\
                             Usage: bearerd exec <CLIENT> -- <COMMAND>...\n",
        ),
        (
            &["token", "demo", "--min-validity", "soon"],
            "error: invalid value 'soon' for '--min-validity <DURATION>': \
                                                        expected number at 0\n",
        ),
        (
            &["run", "--log", "loud"],
            "error: invalid value 'loud' for '--log <FILTER>': `loud` is neither off, error, \
                                     warn, info, debug, trace nor a list such as info,bearerd=debug\n",
        ),
        (
            &["run", "--log-format", "xml"],
            "error: invalid value 'xml' for '--log-format <FORMAT>'\n  \
                                           [possible values: auto, journal, json, text]\n",
        ),
        (&["status", "--socket", ""], "error: a value is required for '--socket <PATH>' but none was supplied\n"),
    ] {
        let expected = format!("{expected}\nFor more information, try '--help'.\n");
        assert_eq!(run(words), fails(2, &expected), "{words:?}");
    }
}

#[test]
fn completions_know_every_verb() {
    for (shell, mark) in
        [("bash", "complete -F _bearerd"), ("zsh", "#compdef bearerd"), ("fish", "complete -c bearerd")]
    {
        let ended = run(&["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ended.stdout.contains(mark), "{shell}: {}", ended.stdout);
        for word in VERBS.into_iter().chain(["min-validity", "log-format", "online"]) {
            assert!(ended.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn the_manual_has_a_page_for_the_command_and_for_each_verb() {
    let page = run(&["man"]);
    assert_eq!((page.code, page.stderr.as_str()), (Some(0), ""));
    assert!(page.stdout.contains(".TH bearerd 1"), "{}", page.stdout);
    for verb in VERBS {
        assert!(page.stdout.contains(&format!("bearerd\\-{verb}(1)")), "{verb}: {}", page.stdout);
        let own = run(&["man", verb]);
        assert_eq!((own.code, own.stderr.as_str()), (Some(0), ""), "{verb}");
        assert!(own.stdout.contains(&format!(".TH bearerd-{verb} 1")), "{verb}: {}", own.stdout);
    }
    assert_eq!(
        run(&["man", "token", "--json"]).stderr.lines().next(),
        Some("error: unexpected argument '--json' found")
    );
    assert_eq!(run(&["man", "cat"]), fails(2, &format!("bearerd: no verb `cat`; there are {}\n", VERBS.join(", "))));
}
