//! The import table of ARCHITECTURE.md, kept true: who may use whom, and what the innermost storey may not touch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Module, and what of ours it may import: modules, and the crate of the clients.
const TABLE: &[(&str, &[&str])] = &[
    ("access", &[]),
    (
        "cli",
        &[
            "access",
            "bearerd_client",
            "clock",
            "config",
            "daemon",
            "dev",
            "json",
            "oauth",
            "secret",
            "sensitive",
            "server",
            "systemd",
            "token",
        ],
    ),
    ("clock", &["moment"]),
    ("config", &["access", "oauth", "secret", "server", "token"]),
    (
        "daemon",
        &[
            "access",
            "clock",
            "config",
            "lifecycle",
            "moment",
            "oauth",
            "refresh",
            "sensitive",
            "server",
            "systemd",
            "token",
        ],
    ),
    ("dev", &["clock", "sensitive"]),
    ("json", &["pb"]),
    ("lib", &[]),
    ("lifecycle", &[]),
    ("main", &[]),
    ("moment", &[]),
    ("oauth", &["clock", "moment", "secret", "sensitive", "token"]),
    ("pb", &["bearerd_client"]),
    ("peer", &["access"]),
    ("refresh", &["access", "clock", "moment", "token"]),
    ("secret", &["sensitive", "systemd"]),
    ("sensitive", &[]),
    ("server", &["access", "clock", "json", "lifecycle", "moment", "pb", "peer", "refresh", "sensitive", "token"]),
    ("systemd", &[]),
    ("token", &["moment", "sensitive"]),
];

/// Modules that hold values and rules only.
const INNERMOST: &[&str] = &["access", "moment", "sensitive", "token"];

/// What those may not mention: time comes in as an argument, and nothing goes out.
const FORBIDDEN: &[&str] = &["tokio", "std::fs", "std::net", "std::env", "SystemTime::now", "Instant::now", "async fn"];

/// A file longer than this, without its tests, has more than one subject.
const LONGEST: usize = 350;

#[test]
fn imports_point_downward() {
    let table: BTreeMap<_, _> = TABLE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let allowed = table.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the table"));
        for used in imports(&text) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not in the table:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_allows_nothing_that_is_not_used() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        used.entry(module_of(&path)).or_default().extend(imports(&text));
    }
    for (module, allowed) in TABLE {
        for other in *allowed {
            assert!(used[*module].contains(*other), "{module} does not use {other} any more");
        }
    }
}

#[test]
fn the_innermost_storey_touches_nothing() {
    for (path, text) in sources() {
        if INNERMOST.contains(&module_of(&path).as_str()) {
            for word in FORBIDDEN {
                let line = text.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(word));
                assert_eq!(line, None, "{}: {word}", path.display());
            }
        }
    }
}

#[test]
fn files_have_one_subject() {
    let generated = root().join("clients/rust/src/pb");
    let clients = below(root().join("clients/rust/src"));
    for (path, text) in sources().into_iter().chain(clients).filter(|(path, _)| !path.starts_with(&generated)) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines without its tests", path.display());
    }
}

#[test]
fn the_table_is_the_one_in_the_documentation() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (module, allowed) in TABLE.iter().filter(|(module, _)| !["lib", "main"].contains(module)) {
        let names: Vec<_> = allowed.iter().map(|name| format!("`{name}`")).collect();
        let cell = if names.is_empty() { "nothing of ours".to_owned() } else { names.join(" ") };
        let row = format!("| `{module}` | {cell} |");
        assert!(document.contains(&row), "ARCHITECTURE.md lacks the row\n{row}");
    }
}

/// Every source file with its text up to its tests; files that hold only tests are left out.
fn sources() -> Vec<(PathBuf, String)> {
    let found = below(root().join("src"));
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// The same of a folder.
fn below(folder: PathBuf) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut left = vec![folder];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.file_name().unwrap() != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let end =
                text.find("#[cfg(test)]\nmod tests {").or_else(|| text.find("#[cfg(test)]\npub(crate) mod tests {"));
            found.push((path, text[..end.unwrap_or(text.len())].to_owned()));
        }
    }
    found
}

/// The module at the top of the tree that a file belongs to.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The top modules that a text names as `crate::…`, alone or inside braces, and the clients' crate.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(names_in_group(group));
        } else {
            found.insert(name(rest));
        }
    }
    if code.contains("bearerd_client::") {
        found.insert("bearerd_client".to_owned());
    }
    found
}

/// The first name of each item of a `{…}` group at its outermost level.
fn names_in_group(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut names = Vec::new();
    let mut fresh = true;
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            char if fresh && !char.is_whitespace() => {
                names.push(name(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn name(text: &str) -> String {
    text.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
