//! Documents that say what tests say.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bearerd::daemon::logging::MESSAGE_IDS;

#[test]
fn the_threat_model_names_tests_that_exist() {
    let document = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let known = tests();
    let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| M")).collect();
    assert!(rows.len() >= 15, "the table was not found");
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let named: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test in {row}");
        for name in named {
            assert!(known.contains(name), "there is no test `{name}`, of {}", &row[..6]);
        }
    }
}

#[test]
fn every_message_id_is_given_and_explained() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (catalog, handbook) = (read("systemd/bearerd.catalog"), read("docs/operations.md"));
    let without_tests =
        |path: PathBuf| fs::read_to_string(path).unwrap().split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    let code: String = sources(&root().join("src")).into_iter().map(without_tests).collect();
    for (name, id) in MESSAGE_IDS {
        assert_eq!(code.matches(&format!("name: \"{name}\"")).count(), used(name), "{name}");
        assert!(catalog.contains(&format!("\n-- {id}\nSubject: ")), "{name} is not in the catalog");
        assert!(handbook.contains(id), "{name} is not in docs/operations.md");
    }
    assert_eq!(catalog.lines().filter(|line| line.starts_with("-- ")).count(), MESSAGE_IDS.len());
}

/// How many lines of the code log an event of this name.
fn used(name: &str) -> usize {
    if name == "tokens-not-kept" { 2 } else { 1 }
}

/// The names of all test functions.
fn tests() -> BTreeSet<String> {
    let places = [root().join("src"), root().join("tests/it")];
    places.iter().flat_map(|place| sources(place)).flat_map(|path| tests_in(&path)).collect()
}

/// The Rust files below a directory.
fn sources(place: &Path) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![place.to_owned()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found
}

/// Functions in the lines after a `#[test]`, a `#[tokio::test…]` or inside of `proptest!`.
fn tests_in(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let marked = lines.windows(2).filter(|pair| pair[0].starts_with("#[test]") || pair[0].starts_with("#[tokio::test"));
    let name = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        rest.split('(').next().map(str::to_owned)
    };
    marked.filter_map(|pair| name(pair[1])).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
