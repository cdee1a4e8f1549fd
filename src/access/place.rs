//! Where a process is in the tree of control groups, and which systemd unit that is.
//!
//! systemd puts each unit into a group of its own name below its slices; only systemd can, and a unit can make groups
//! only below its own. So the first name on the way down that is not a slice is the unit, and nothing below it says
//! anything. A user manager is such a unit (`user@1000.service`); what it makes below itself, units of the user's own
//! naming, is kept apart from the system's units.

use std::fmt;

/// Where a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The path of its control group, from the root of the hierarchy.
    pub path: Box<str>,
    /// The slices of the system manager on the way, from the root on.
    pub slices: Vec<Box<str>>,
    /// The unit of the system manager.
    pub unit: Option<Box<str>>,
    /// The unit of a user's manager.
    pub user_unit: Option<UserUnit>,
    /// The id of a container, as its engine named the group.
    pub container: Option<Box<str>>,
}

/// A unit of a user's manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUnit {
    /// The user whose manager it is.
    pub uid: u32,
    /// The unit's name, of the user's own choosing.
    pub name: Box<str>,
}

impl Place {
    /// What the path of a control group says.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(unescaped).peekable();
        let mut place = Self { path: path.into(), container: container(path), ..Self::default() };
        while let Some(slice) = parts.next_if(|part| is_slice(part)) {
            place.slices.push(slice.into());
        }
        let unit = parts.next().filter(|part| is_unit(part));
        let manager = unit.and_then(|unit| unit.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok());
        place.unit = unit.map(Box::from);
        if let Some(uid) = manager {
            let name = parts.find(|part| !is_slice(part)).filter(|part| is_unit(part));
            place.user_unit = name.map(|name| UserUnit { uid, name: name.into() });
        }
        place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.user_unit, &self.unit) {
            (Some(unit), _) => write!(f, "unit {} of the manager of uid {}", unit.name, unit.uid)?,
            (None, Some(unit)) => write!(f, "unit {unit}")?,
            (None, None) => write!(f, "in no unit")?,
        }
        match &self.container {
            Some(container) => write!(f, ", container {container}"),
            None => Ok(()),
        }
    }
}

fn is_slice(part: &str) -> bool {
    part.len() > SLICE.len() && part.ends_with(SLICE)
}

/// The kinds of units that have processes.
fn is_unit(part: &str) -> bool {
    let kinds = [".service", ".scope", ".socket", ".mount", ".swap"];
    kinds.iter().any(|kind| part.len() > kind.len() && part.ends_with(kind))
}

/// systemd puts an underscore before a name that could be taken for a file of the kernel's.
fn unescaped(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

/// The last part of the path that is an engine's name for a container: 64 hexadecimal digits, alone or as in
/// `docker-….scope`, `crio-….scope` or `libpod-….scope`.
fn container(path: &str) -> Option<Box<str>> {
    let id = |part: &str| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit_once('-').map_or(part, |(_, id)| id);
        let is_id = id.len() == CONTAINER_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Box::from(id))
    };
    path.rsplit('/').find_map(id)
}

const SLICE: &str = ".slice";
const CONTAINER_ID: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(path: &str) -> (Vec<String>, Option<String>, Option<(u32, String)>) {
        let place = Place::of_path(path);
        let slices = place.slices.iter().map(ToString::to_string).collect();
        (slices, place.unit.map(String::from), place.user_unit.map(|unit| (unit.uid, unit.name.to_string())))
    }

    #[test]
    fn units_are_told_from_what_they_make_below_themselves() {
        let slices = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let unit = |name: &str| Some(name.to_owned());
        for (path, expected) in [
            ("/system.slice/billing.service", (slices(&["system.slice"]), unit("billing.service"), None)),
            ("/billing.service", (slices(&[]), unit("billing.service"), None)),
            ("/init.scope", (slices(&[]), unit("init.scope"), None)),
            (
                "/payments.slice/payments-eu.slice/worker@3.service/any/other.service",
                (slices(&["payments.slice", "payments-eu.slice"]), unit("worker@3.service"), None),
            ),
            ("/system.slice/_cgroup.service", (slices(&["system.slice"]), unit("cgroup.service"), None)),
            ("/system.slice/mine/billing.service", (slices(&["system.slice"]), None, None)),
            ("/", (slices(&[]), None, None)),
            ("", (slices(&[]), None, None)),
            (
                "/user.slice/user-1000.slice/session-2.scope",
                (slices(&["user.slice", "user-1000.slice"]), unit("session-2.scope"), None),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.slice/billing.service/below.service",
                (
                    slices(&["user.slice", "user-1000.slice"]),
                    unit("user@1000.service"),
                    Some((1000, "billing.service".to_owned())),
                ),
            ),
            (
                "/user.slice/user@1000.service/init.scope",
                (slices(&["user.slice"]), unit("user@1000.service"), Some((1000, "init.scope".to_owned()))),
            ),
        ] {
            assert_eq!(told(path), expected, "{path}");
        }
    }

    #[test]
    fn a_users_unit_never_passes_for_one_of_the_system() {
        let place = Place::of_path("/user.slice/user-7.slice/user@7.service/system.slice/billing.service");
        assert_eq!(place.unit.as_deref(), Some("user@7.service"));
        assert!(!place.slices.iter().any(|slice| &**slice == "system.slice"));
    }

    #[test]
    fn containers_are_named_by_their_engines() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/docker/{id}"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{id}.scope"),
        ] {
            assert_eq!(Place::of_path(&path).container.as_deref(), Some(id.as_str()), "{path}");
        }
        assert_eq!(Place::of_path("/system.slice/docker.service").container, None);
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in ".{0,200}") {
            let place = Place::of_path(&path);
            prop_assert_eq!(&*place.path, path.as_str());
            prop_assert!(place.user_unit.is_none() || place.unit.is_some());
        }
    }
}
