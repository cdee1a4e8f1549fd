//! The facts about a calling process.

use std::{fmt, sync::Arc};

use super::Place;

/// Who is calling, as the kernel says; never as the request says.
///
/// Fixed when the connection was made: a descriptor passed to another process keeps the identity of the one that
/// connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective primary group id.
    pub gid: u32,
    /// Process id, for messages only: a number can be used again by another process.
    pub pid: Option<i32>,
    /// Supplementary group ids.
    pub groups: Fact<Box<[u32]>>,
    /// What kind of process it is.
    pub process: Fact<Arc<Process>>,
}

/// Something about a caller that not every rule needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fact<T> {
    /// It is this.
    Known(T),
    /// No rule asked for it when the caller connected.
    #[default]
    Unasked,
    /// It cannot be told, and why. Whoever is not known is not let in.
    Unknown(Box<str>),
}

/// What kind of process a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Where it is in the tree of control groups, and what that says.
    pub place: Place,
    /// The program that it runs: a path that names the same file here, without symbolic links.
    pub exe: Fact<Box<str>>,
}

/// Which facts rules ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Caller::groups`].
    pub groups: bool,
    /// [`Caller::process`].
    pub process: bool,
}

impl Needs {
    /// What either asks for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { groups: self.groups || other.groups, process: self.process || other.process }
    }
}

impl Caller {
    /// A caller of whom only this much is known.
    #[must_use]
    pub fn of(uid: u32, gid: u32, pid: Option<i32>) -> Self {
        Self { uid, gid, pid, groups: Fact::Unasked, process: Fact::Unasked }
    }

    /// Whether it was asked for all of this when the caller connected.
    #[must_use]
    pub fn was_asked(&self, needs: Needs) -> bool {
        let groups = !needs.groups || self.groups != Fact::Unasked;
        groups && (!needs.process || self.process != Fact::Unasked)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, gid {}", self.uid, self.gid)?;
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        match &self.process {
            Fact::Known(process) => write!(f, ", {}", process.place),
            Fact::Unasked => Ok(()),
            Fact::Unknown(why) => write!(f, ", not identified: {why}"),
        }
    }
}
