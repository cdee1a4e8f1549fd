//! One predicate over a caller.

use std::fmt;

use super::{Caller, Fact, Needs, Process};

/// One entry of an `allow` list: every condition in it must hold.
///
/// Names were resolved to numbers when the configuration was read; numbers are what is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `{ any = true }`: every local process.
    Any,
    /// At least one condition is set.
    All(Conditions),
    /// An optional entry that names somebody whom this system does not have: it admits nobody.
    Nobody,
}

/// What must hold of a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conditions {
    /// Effective user id.
    pub user: Option<Id>,
    /// Effective primary group id, or one of the supplementary ones.
    pub group: Option<Id>,
    /// Unit of the system manager.
    pub unit: Option<UnitName>,
    /// Unit of the manager of the caller's own user.
    pub user_unit: Option<UnitName>,
    /// A slice of the system manager that the caller is in, directly or further down.
    pub slice: Option<Box<str>>,
    /// Control group.
    pub cgroup: Option<Subtree>,
    /// Program, by its path without symbolic links.
    pub exe: Option<Box<str>>,
}

/// A user or group id, and the name it was configured by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// What is compared.
    pub number: u32,
    /// What is shown.
    pub name: Option<Box<str>>,
}

/// The name of a unit, or of a template (`worker@.service`), which stands for all its instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnitName(Box<str>);

impl UnitName {
    /// A unit's name with its type, as `systemctl` shows it; `None` if it is not one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (stem, kind) = name.rsplit_once('.')?;
        let known = ["mount", "scope", "service", "socket", "swap"].contains(&kind);
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        (known && !stem.is_empty() && name.len() <= LONGEST_UNIT && name.bytes().all(inside)).then(|| Self(name.into()))
    }

    fn is(&self, unit: &str) -> bool {
        let instance = || {
            let (stem, kind) = self.0.split_once("@.")?;
            let instance = unit.strip_prefix(stem)?.strip_prefix('@')?.strip_suffix(kind)?.strip_suffix('.')?;
            Some(!instance.is_empty())
        };
        unit == &*self.0 || instance().unwrap_or(false)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One control group, or (written with `/*` at its end) all below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subtree(Box<str>);

impl Subtree {
    /// A path from the root of the hierarchy; `None` if it is not one.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let plain = path.strip_suffix("/*").unwrap_or(path);
        let good = path.starts_with('/') && !plain.ends_with('/') && !plain.split('/').any(|part| part == "..");
        (good && !plain.is_empty()).then(|| Self(path.into()))
    }

    fn contains(&self, path: &str) -> bool {
        match self.0.strip_suffix("/*") {
            Some(above) => path.strip_prefix(above).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/')),
            None => path == &*self.0,
        }
    }
}

/// Why a rule does not admit a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// This does not hold.
    Condition(String),
    /// All else holds, but this cannot be told of the caller.
    Fact(Box<str>),
}

impl Rule {
    /// Whether the rule lets this caller in. A rule without a condition lets nobody in.
    ///
    /// # Errors
    /// What is missing. Conditions on what every caller has come first, so that a caller who has nothing to do with the
    /// rule is not called unidentified for it.
    pub fn admits(&self, caller: &Caller) -> Result<(), Lacks> {
        match self {
            Self::Any => Ok(()),
            Self::All(conditions) if *conditions == Conditions::default() => lacks("any condition"),
            Self::All(conditions) => conditions.hold(caller),
            Self::Nobody => lacks("a user or group that this system does not have"),
        }
    }

    /// Which facts it asks for.
    #[must_use]
    pub fn needs(&self) -> Needs {
        match self {
            Self::All(conditions) => conditions.needs(),
            Self::Any | Self::Nobody => Needs::default(),
        }
    }
}

impl Conditions {
    fn needs(&self) -> Needs {
        // Taken apart by name, so that a new condition cannot be forgotten here.
        let Self { user: _, group, unit, user_unit, slice, cgroup, exe } = self;
        let process = unit.is_some() || user_unit.is_some() || slice.is_some() || cgroup.is_some() || exe.is_some();
        Needs { groups: group.is_some(), process }
    }

    fn hold(&self, caller: &Caller) -> Result<(), Lacks> {
        if let Some(user) = &self.user
            && user.number != caller.uid
        {
            return lacks(&format!("user {user}"));
        }
        if let Some(group) = &self.group
            && group.number != caller.gid
            && !known(&caller.groups, "its supplementary groups")?.contains(&group.number)
        {
            return lacks(&format!("group {group}"));
        }
        if !self.needs().process {
            return Ok(());
        }
        self.hold_of_process(caller.uid, known(&caller.process, "what kind of process it is")?)
    }

    fn hold_of_process(&self, uid: u32, process: &Process) -> Result<(), Lacks> {
        let place = &process.place;
        if let Some(unit) = &self.unit
            && !place.unit.as_deref().is_some_and(|name| unit.is(name))
        {
            return lacks(&format!("unit {unit}"));
        }
        if let Some(unit) = &self.user_unit
            && !place.user_unit.as_ref().is_some_and(|own| own.uid == uid && unit.is(&own.name))
        {
            return lacks(&format!("user unit {unit}"));
        }
        if let Some(slice) = &self.slice
            && !place.slices.contains(slice)
        {
            return lacks(&format!("slice {slice}"));
        }
        if let Some(cgroup) = &self.cgroup
            && !cgroup.contains(&place.path)
        {
            return lacks(&format!("cgroup {}", cgroup.0));
        }
        match &self.exe {
            Some(exe) if known(&process.exe, "its program")? != exe => lacks(&format!("program {exe}")),
            _ => Ok(()),
        }
    }
}

fn lacks(what: &str) -> Result<(), Lacks> {
    Err(Lacks::Condition(what.to_owned()))
}

fn known<'a, T>(fact: &'a Fact<T>, what: &str) -> Result<&'a T, Lacks> {
    match fact {
        Fact::Known(fact) => Ok(fact),
        Fact::Unasked => Err(Lacks::Fact(format!("nobody asked for {what} when it connected").into())),
        Fact::Unknown(why) => Err(Lacks::Fact(why.clone())),
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = match self {
            Self::Any => return f.write_str("any local process"),
            Self::Nobody => return f.write_str("nobody"),
            Self::All(conditions) => conditions,
        };
        let Conditions { user, group, unit, user_unit, slice, cgroup, exe } = conditions;
        let parts = [
            user.as_ref().map(|user| format!("user {user}")),
            group.as_ref().map(|group| format!("group {group}")),
            unit.as_ref().map(|unit| format!("unit {unit}")),
            user_unit.as_ref().map(|unit| format!("user unit {unit}")),
            slice.as_ref().map(|slice| format!("slice {slice}")),
            cgroup.as_ref().map(|cgroup| format!("cgroup {}", cgroup.0)),
            exe.as_ref().map(|exe| format!("program {exe}")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&if parts.is_empty() { "nobody".to_owned() } else { parts.join(" and ") })
    }
}

/// `systemd.unit(5)`.
const LONGEST_UNIT: usize = 255;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::Place;

    pub(crate) fn id(number: u32) -> Id {
        Id { number, name: None }
    }

    pub(crate) fn of_user(number: u32) -> Rule {
        Rule::All(Conditions { user: Some(id(number)), ..Conditions::default() })
    }

    fn at(path: &str, exe: Fact<Box<str>>) -> Caller {
        let process = Process { place: Place::of_path(path), exe };
        Caller {
            groups: Fact::Known([7, 8].into()),
            process: Fact::Known(Arc::new(process)),
            ..Caller::of(1000, 100, None)
        }
    }

    fn admits(conditions: Conditions, caller: &Caller) -> bool {
        Rule::All(conditions).admits(caller).is_ok()
    }

    #[test]
    fn groups_are_the_primary_one_and_the_supplementary_ones() {
        let group = |number| Conditions { group: Some(id(number)), ..Conditions::default() };
        let caller = at("/", Fact::Unasked);
        assert_eq!([100, 7, 8, 9].map(|number| admits(group(number), &caller)), [true, true, true, false]);
    }

    #[test]
    fn units_match_by_name_and_templates_by_instance() {
        let unit = |name: &str| Conditions { unit: UnitName::parse(name), ..Conditions::default() };
        let caller = at("/system.slice/worker@3.service", Fact::Unasked);
        for (name, expected) in [
            ("worker@3.service", true),
            ("worker@.service", true),
            ("worker@4.service", false),
            ("worke@.service", false),
            ("worker@.socket", false),
            ("worker.service", false),
        ] {
            assert_eq!(admits(unit(name), &caller), expected, "{name}");
        }
        assert!(!admits(unit("a.service"), &at("/user.slice/user@1000.service/a.service", Fact::Unasked)));
        for bad in ["", "billing", ".service", "a/b.service", "a.timer", "b illing.service"] {
            assert_eq!(UnitName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn user_units_belong_to_the_callers_own_manager() {
        let unit = Conditions { user_unit: UnitName::parse("a.service"), ..Conditions::default() };
        let below = |uid: u32| at(&format!("/user.slice/user@{uid}.service/app.slice/a.service"), Fact::Unasked);
        assert!(admits(unit.clone(), &below(1000)));
        assert!(!admits(unit, &below(1001)), "a manager of somebody else");
    }

    #[test]
    fn slices_and_groups_contain_what_is_below() {
        let caller = at("/payments.slice/payments-eu.slice/a.service/sub", Fact::Unasked);
        let slice = |name: &str| Conditions { slice: Some(name.into()), ..Conditions::default() };
        assert!(admits(slice("payments.slice"), &caller) && admits(slice("payments-eu.slice"), &caller));
        assert!(!admits(slice("payments-us.slice"), &caller));
        let cgroup = |path: &str| Conditions { cgroup: Subtree::parse(path), ..Conditions::default() };
        for (path, expected) in [
            ("/payments.slice/payments-eu.slice/a.service/sub", true),
            ("/payments.slice/payments-eu.slice/a.service", false),
            ("/payments.slice/*", true),
            ("/payments.slice/payments-eu.slice/a.service/sub/*", false),
            ("/pay/*", false),
        ] {
            assert_eq!(admits(cgroup(path), &caller), expected, "{path}");
        }
        for bad in ["", "/", "a", "/a/", "/a/../b", "/*"] {
            assert_eq!(Subtree::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_is_not_known_is_not_let_in() {
        let program = Conditions { user: Some(id(1000)), exe: Some("/usr/bin/a".into()), ..Conditions::default() };
        let rule = Rule::All(program);
        let replaced = Fact::Unknown("its program was replaced".into());
        assert!(rule.admits(&at("/", Fact::Known("/usr/bin/a".into()))).is_ok());
        assert_eq!(rule.admits(&at("/", replaced.clone())), Err(Lacks::Fact("its program was replaced".into())));
        assert!(matches!(rule.admits(&Caller::of(1000, 100, None)), Err(Lacks::Fact(_))), "nobody asked");
        let other = Caller { uid: 1001, ..at("/", replaced) };
        assert_eq!(rule.admits(&other), Err(Lacks::Condition("user 1000".to_owned())), "nothing to do with the rule");
    }

    #[test]
    fn rules_read_as_they_are_meant() {
        let rule = Rule::All(Conditions {
            user: Some(Id { number: 1000, name: Some("billing".into()) }),
            unit: UnitName::parse("report.service"),
            ..Conditions::default()
        });
        assert_eq!(rule.to_string(), "user billing (1000) and unit report.service");
        assert_eq!(rule.needs(), Needs { groups: false, process: true });
        assert_eq!(
            (Rule::Any.to_string().as_str(), Rule::Nobody.to_string().as_str()),
            ("any local process", "nobody")
        );
    }
}
