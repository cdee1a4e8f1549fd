//! One predicate over a caller.

use std::fmt;

use super::Caller;

/// One entry of an `allow` list: every condition in it must hold.
///
/// Names were resolved to numbers when the configuration was read; numbers are what is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `{ any = true }`: every local process.
    Any,
    /// At least one of the conditions is set.
    All {
        /// Effective user id.
        uid: Option<u32>,
        /// Effective primary group id.
        gid: Option<u32>,
    },
}

impl Rule {
    /// Whether the rule lets this caller in. A rule without a condition lets nobody in.
    #[must_use]
    pub fn admits(&self, caller: &Caller) -> bool {
        match *self {
            Self::Any => true,
            Self::All { uid: None, gid: None } => false,
            Self::All { uid, gid } => {
                uid.is_none_or(|uid| uid == caller.uid) && gid.is_none_or(|gid| gid == caller.gid)
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any local process"),
            Self::All { uid: Some(uid), gid: Some(gid) } => write!(f, "uid {uid} with gid {gid}"),
            Self::All { uid: Some(uid), gid: None } => write!(f, "uid {uid}"),
            Self::All { uid: None, gid: Some(gid) } => write!(f, "gid {gid}"),
            Self::All { uid: None, gid: None } => f.write_str("nobody"),
        }
    }
}
