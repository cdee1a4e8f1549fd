//! `allow` of a client and `admins` of the server: who may have something.

use super::shared::{Lookup, Shared};
use crate::{
    access::{Policy, Rule},
    config::reader::{Keys, Node},
};

/// Reads a list of rules. Names become numbers here.
pub(super) fn check(node: &Node<'_>, shared: &mut Shared) -> Policy {
    let rules = node.items().iter().map(|item| rule(item, shared)).collect();
    shared.policy(rules)
}

fn rule(item: &Node<'_>, shared: &mut Shared) -> Rule {
    let table = item.table(&KEYS);
    if item.is_table() && table.is_empty() {
        table.problem("has no condition", r#"write one like { user = "NAME" }, or { any = true } for every process"#);
    }
    let (user, uid) = (table.key("user"), table.key("uid"));
    let (group, gid) = (table.key("group"), table.key("gid"));
    let any = table.key("any");
    let rule = Rule::All {
        uid: id(&user, &uid, "user", |name| shared.uid_of(name)),
        gid: id(&group, &gid, "group", |name| shared.gid_of(name)),
    };
    match any.flag() {
        None => rule,
        Some(false) => {
            any.problem("is false, which admits nobody", "write true or remove the key");
            rule
        }
        Some(true) => {
            if [user, uid, group, gid].iter().any(Node::is_set) {
                table.problem("has conditions beside any = true", "keep any = true alone, or only the conditions");
            }
            Rule::Any
        }
    }
}

/// The number that a name, a number or both of them give.
fn id(name: &Node<'_>, number: &Node<'_>, kind: &str, ask: impl FnOnce(&str) -> Lookup) -> Option<u32> {
    let numbered = number.whole(0..=u32::MAX - 1);
    let named = name.text().and_then(|text| match ask(text) {
        Ok(Some(id)) => Some(id),
        Ok(None) => {
            let message = format!("names a {kind} {text:?} that this system does not have");
            name.problem(&message, "create it, correct the name or write a number");
            None
        }
        Err(error) => {
            let message = format!("names a {kind} {text:?} that cannot be looked up: {}", error.desc());
            name.problem(&message, "repair the system's name service or write a number");
            None
        }
    });
    if named.is_some() && numbered.is_some() && named != numbered {
        number.problem(&format!("is not the number of the {kind} beside it"), "keep one of the two");
    }
    named.or(numbered)
}

pub(super) const KEYS: Keys = Keys {
    known: &["any", "gid", "group", "uid", "user"],
    planned: &[("cgroup", INSTEAD), ("exe", INSTEAD), ("slice", INSTEAD), ("unit", INSTEAD)],
};

/// Not "remove it": with one condition less the entry would let in more.
const INSTEAD: &str = "write an entry with user, uid, group or gid that is as narrow";
