//! The facts about a calling process.

use std::fmt;

/// Who is calling, as the kernel says; never as the request says.
///
/// Fixed when the connection was made (`SO_PEERCRED`): a descriptor passed to another process keeps the
/// identity of the one that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective primary group id.
    pub gid: u32,
    /// Process id, for messages only: a number can be used again by another process.
    pub pid: Option<i32>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, gid {}", self.uid, self.gid)?;
        match self.pid {
            Some(pid) => write!(f, ", pid {pid}"),
            None => Ok(()),
        }
    }
}
