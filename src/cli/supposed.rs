//! `bearerd check --as`: who would get what, and why.

use std::{ffi::CString, sync::Arc};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use serde_json::{Value, json};

use super::{Exit, Outcome, Trouble, args, output};
use crate::{
    access::{Caller, Decision, Fact, Place, Policy, Process, UnitName, rule::Lacks},
    config::Config,
};

/// Prints what the rules of this configuration say of a supposed caller.
pub(super) fn check(config: &Config, supposed: &args::SupposedArgs, as_json: bool) -> Outcome {
    let Some(user) = &supposed.user else { return Ok(()) };
    let unit = supposed.unit.as_deref();
    if let Some(unit) = unit.filter(|unit| UnitName::parse(unit).is_none()) {
        let text =
            format!("--unit {unit}: is not the name of a unit that has processes; write one like billing.service");
        return Err(Trouble::new(Exit::Usage, text));
    }
    let caller = caller(user, unit)?;
    let clients = config.clients.iter().map(|(name, settings)| (name.as_str(), &settings.policy));
    let answers: Vec<_> = clients.map(|(name, policy)| Answer::of(name, policy, &caller)).collect();
    let administers = Answer::of("administration", &config.server.admins, &caller);
    if as_json {
        let clients: Vec<_> = answers.iter().map(Answer::as_value).collect();
        let admin = administers.as_value();
        return output::json(&json!({ "caller": caller.to_string(), "clients": clients, "administration": admin }));
    }
    let mut text = format!("as {user} ({caller}):\n");
    text.extend(answers.iter().chain([&administers]).map(Answer::in_words));
    output::print(text.as_bytes())
}

/// What is said of one thing that can be allowed.
struct Answer {
    what: String,
    /// `None`: that depends on what is not supposed.
    allowed: Option<bool>,
    why: String,
}

impl Answer {
    fn of(what: &str, policy: &Policy, caller: &Caller) -> Self {
        let (allowed, why) = match policy.decide(caller) {
            Decision::AllowedAsOwner => (Some(true), "root and the daemon's own user always may".to_owned()),
            Decision::AllowedBy(place, rule) => (Some(true), format!("rule {place}: {rule}")),
            Decision::Denied { unidentified } => (unidentified.is_none().then_some(false), why_not(policy, caller)),
        };
        Self { what: what.to_owned(), allowed, why }
    }

    fn in_words(&self) -> String {
        let may = match self.allowed {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        format!("{may:<3} {}: {}\n", self.what, self.why)
    }

    fn as_value(&self) -> Value {
        json!({ "name": self.what, "allowed": self.allowed, "why": self.why })
    }
}

fn why_not(policy: &Policy, caller: &Caller) -> String {
    let missing = policy.lacks(caller).map(|(place, _, lacks)| match lacks {
        Lacks::Condition(what) => format!("rule {place} wants {what}"),
        Lacks::Fact(why) => format!("rule {place}: {why}"),
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { "no rule, so only root and the daemon's own user".to_owned() } else { missing.join("; ") }
}

/// A process of this user as it would be if it connected now.
fn caller(user: &str, unit: Option<&str>) -> Result<Caller, Trouble> {
    let found = match user.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)).map(|user| (uid, user)),
        Err(_) => User::from_name(user).map(|user| (user.as_ref().map_or(0, |user| user.uid.as_raw()), user)),
    };
    let unknown = |why: &str| Trouble::new(Exit::Usage, format!("--as {user}: {why}"));
    let (uid, account) = found.map_err(|error| unknown(&format!("cannot be looked up: {error}")))?;
    let Some(account) = account else {
        if user.parse::<u32>().is_err() {
            return Err(unknown("this system has no such user; name one, or write a number"));
        }
        return Ok(with_process(Caller::of(uid, uid, None), unit));
    };
    let mut caller = Caller::of(uid, account.gid.as_raw(), None);
    let name = CString::new(account.name).map_err(|_| unknown("is no name"))?;
    let groups = getgrouplist(&name, account.gid).map_err(|error| unknown(&format!("has no groups: {error}")))?;
    caller.groups = Fact::Known(groups.into_iter().map(Gid::as_raw).collect());
    Ok(with_process(caller, unit))
}

/// In that unit of the system manager, or in none; which program it runs is not supposed.
fn with_process(mut caller: Caller, unit: Option<&str>) -> Caller {
    let path = unit.map_or_else(|| "/".to_owned(), |unit| format!("/system.slice/{unit}"));
    let exe = Fact::Unknown("which program it runs is not known".into());
    caller.process = Fact::Known(Arc::new(Process { place: Place::of_path(&path), exe }));
    if caller.groups == Fact::Unasked {
        caller.groups = Fact::Known([].into());
    }
    caller
}
