//! `allow` of a client and `admins` of the server: who may have something.

use std::{fs, path::PathBuf};

use super::shared::{Lookup, Shared};
use crate::{
    access::{Conditions, Id, Policy, Rule, Subtree, UnitName},
    config::reader::{Keys, Node, Table},
};

/// Reads a list of rules. Names become numbers here.
pub(super) fn check(node: &Node<'_>, shared: &mut Shared) -> Policy {
    let rules = node.items().iter().map(|item| rule(item, shared)).collect();
    shared.policy(rules)
}

fn rule(item: &Node<'_>, shared: &mut Shared) -> Rule {
    let table = item.table(&KEYS);
    let any = table.key("any");
    let optional = table.key("optional");
    let set = KEYS.known.iter().filter(|key| table.key(key).is_set()).count();
    let conditions = set - usize::from(any.is_set()) - usize::from(optional.is_set());
    if item.is_table() && conditions == 0 && !any.is_set() && !table.has_unknown() {
        table.problem("has no condition", r#"write one like { user = "NAME" }, or { any = true } for every process"#);
    }
    let rule = conditions_of(&table, optional.flag().unwrap_or(false), shared);
    match any.flag() {
        None => rule,
        Some(false) => {
            any.problem("is false, which admits nobody", "write true or remove the key");
            rule
        }
        Some(true) => {
            if conditions > 0 {
                table.problem("has conditions beside any = true", "keep any = true alone, or only the conditions");
            }
            Rule::Any
        }
    }
}

fn conditions_of(table: &Table<'_>, optional: bool, shared: &mut Shared) -> Rule {
    let (user, uid) = (table.key("user"), table.key("uid"));
    let (group, gid) = (table.key("group"), table.key("gid"));
    let user = id(&user, &uid, optional, ("user", |name| shared.uid_of(name)));
    let group = id(&group, &gid, optional, ("group", |name| shared.gid_of(name)));
    let conditions = Conditions {
        unit: unit(&table.key("unit")),
        user_unit: unit(&table.key("user_unit")),
        slice: slice(&table.key("slice")),
        cgroup: cgroup(&table.key("cgroup")),
        exe: program(&table.key("exe"), optional),
        user: user.clone().ok().flatten(),
        group: group.clone().ok().flatten(),
    };
    warn_of_weak(table, &conditions);
    // Without a condition that cannot be resolved the rule would be wider than what was written.
    if user.is_err() || group.is_err() { Rule::Nobody } else { Rule::All(conditions) }
}

/// Says what is easily taken for more than it is.
fn warn_of_weak(table: &Table<'_>, conditions: &Conditions) {
    let Conditions { user, group, unit, user_unit, slice, cgroup, exe } = conditions;
    let somebody = user.is_some() || group.is_some() || unit.is_some() || slice.is_some() || cgroup.is_some();
    if exe.is_some() && !somebody && user_unit.is_none() {
        table.key("exe").warning(
            "lets in every user: anybody can start this program with LD_PRELOAD, or under a debugger",
            "name a user or a unit beside it",
        );
    }
    if user_unit.is_some() && user.is_none() {
        table
            .key("user_unit")
            .warning("lets in every user: each can have a unit of this name", "name the user beside it");
    }
}

/// A user or group; an error: nobody, because it is optional and this system does not have it.
type Somebody = Result<Option<Id>, ()>;

/// The number that a name, a number or both of them give.
fn id(
    name: &Node<'_>,
    number: &Node<'_>,
    optional: bool,
    (kind, ask): (&str, impl FnOnce(&str) -> Lookup),
) -> Somebody {
    let numbered = number.whole(0..=u32::MAX - 1);
    let Some(text) = name.text() else { return Ok(numbered.map(|number| Id { number, name: None })) };
    let named = match ask(text) {
        Ok(Some(id)) => id,
        Ok(None) if optional => {
            let message = format!("names a {kind} {text:?} that this system does not have; the entry admits nobody");
            name.warning(&message, "create it and reload");
            return Err(());
        }
        Ok(None) => {
            let message = format!("names a {kind} {text:?} that this system does not have");
            name.problem(&message, "create it, correct the name, write a number or add optional = true");
            return Ok(None);
        }
        Err(error) => {
            let message = format!("names a {kind} {text:?} that cannot be looked up: {}", error.desc());
            name.problem(&message, "repair the system's name service or write a number");
            return Ok(None);
        }
    };
    if numbered.is_some_and(|number| number != named) {
        number.problem(&format!("is not the number of the {kind} beside it"), "keep one of the two");
    }
    Ok(Some(Id { number: named, name: Some(text.into()) }))
}

fn unit(node: &Node<'_>) -> Option<UnitName> {
    let text = node.text()?;
    let unit = UnitName::parse(text);
    if unit.is_none() {
        let remedy = "write it with its type, like billing.service, or like worker@.service for all instances";
        node.problem("is not the name of a unit that has processes", remedy);
    }
    unit
}

fn slice(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    if text.strip_suffix(".slice").is_none_or(|stem| stem.is_empty() || stem.contains('/')) {
        node.problem("is not the name of a slice", "write it with its type, like payments.slice");
        return None;
    }
    Some(text.into())
}

fn cgroup(node: &Node<'_>) -> Option<Subtree> {
    let text = node.text()?;
    let group = Subtree::parse(text);
    if group.is_none() {
        let remedy = "write it from the root, like /system.slice/a.service, or with /* at its end for all below it";
        node.problem("is not the path of a control group", remedy);
    }
    group
}

/// The file that a path names, without symbolic links, as the kernel names it.
fn program(node: &Node<'_>, optional: bool) -> Option<Box<str>> {
    let path: PathBuf = node.absolute_path()?;
    match fs::canonicalize(&path) {
        Ok(found) => found.to_str().map(Box::from),
        Err(error) if optional => {
            node.warning(&format!("names a program that cannot be found: {error}"), "install it and reload");
            path.to_str().map(Box::from)
        }
        Err(error) => {
            node.problem(
                &format!("names a program that cannot be found: {error}"),
                "install it, correct the path or add optional = true",
            );
            None
        }
    }
}

pub(super) const KEYS: Keys = Keys {
    known: &["any", "cgroup", "exe", "gid", "group", "optional", "slice", "uid", "unit", "user", "user_unit"],
    planned: &[],
};
