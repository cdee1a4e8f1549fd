//! What the clients of one configuration have in common, kept once: a hundred thousand of them may be configured.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    unistd::{Group, User},
};

use crate::{
    access::{Policy, Rule},
    config::file::{self, Unreadable},
    oauth::CaBundle,
    token::{RefreshPolicy, RequestHeader},
};

/// Values that equal settings share, and answers of the system that need not be asked for twice.
pub(super) struct Shared {
    policies: HashMap<Vec<Rule>, Policy>,
    own_uid: u32,
    users: HashMap<Box<str>, Lookup>,
    groups: HashMap<Box<str>, Lookup>,
    bundles: HashMap<PathBuf, Result<CaBundle, Unreadable>>,
    refresh: HashMap<Numbers, Arc<RefreshPolicy>>,
    no_headers: Arc<[RequestHeader]>,
}

/// The number of a user or group; `None` if there is none of that name.
pub(super) type Lookup = Result<Option<u32>, Errno>;

/// The numbers of a refresh policy in a form that can be compared for equality.
type Numbers = ([u64; 2], [Duration; 6], bool, Option<Duration>, Option<u32>);

impl Shared {
    pub(super) fn new(own_uid: u32) -> Self {
        Self {
            policies: HashMap::new(),
            own_uid,
            users: HashMap::new(),
            groups: HashMap::new(),
            bundles: HashMap::new(),
            refresh: HashMap::new(),
            no_headers: Arc::from([]),
        }
    }

    /// A policy of these rules.
    pub(super) fn policy(&mut self, rules: Vec<Rule>) -> Policy {
        let own_uid = self.own_uid;
        self.policies.entry(rules).or_insert_with_key(|rules| Policy::new(own_uid, rules.as_slice())).clone()
    }

    pub(super) fn uid_of(&mut self, name: &str) -> Lookup {
        lookup(&mut self.users, name, |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
    }

    pub(super) fn gid_of(&mut self, name: &str) -> Lookup {
        lookup(&mut self.groups, name, |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
    }

    /// The certificate authorities in a file, which is read once.
    pub(super) fn ca_bundle(&mut self, path: PathBuf) -> Result<CaBundle, Unreadable> {
        self.bundles.entry(path).or_insert_with_key(|path| read_bundle(path)).clone()
    }

    /// The one policy with these numbers.
    pub(super) fn refresh(&mut self, policy: RefreshPolicy) -> Arc<RefreshPolicy> {
        Arc::clone(self.refresh.entry(numbers(&policy)).or_insert_with(|| Arc::new(policy)))
    }

    pub(super) fn headers(&self, headers: Vec<RequestHeader>) -> Arc<[RequestHeader]> {
        if headers.is_empty() { Arc::clone(&self.no_headers) } else { headers.into() }
    }
}

fn lookup(cache: &mut HashMap<Box<str>, Lookup>, name: &str, ask: impl Fn(&str) -> Lookup) -> Lookup {
    if let Some(known) = cache.get(name) {
        return *known;
    }
    let answer = match ask(name) {
        // Ways in which name services say that there is no such name, see getpwnam(3).
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        answer => answer,
    };
    cache.insert(name.into(), answer);
    answer
}

fn read_bundle(path: &Path) -> Result<CaBundle, Unreadable> {
    let pem = file::read(path, LARGEST_BUNDLE)?;
    CaBundle::parse(&pem)
        .map_err(|message| Unreadable { message, remedy: "name a file with one or more PEM certificates" })
}

fn numbers(policy: &RefreshPolicy) -> Numbers {
    // Taken apart by name, so that a new field cannot be forgotten here.
    let RefreshPolicy {
        earliest,
        latest,
        min_validity,
        assumed_lifetime,
        retry_cap,
        retry_cap_without_token,
        refused_cap,
        retry_after_cap,
        prefetch,
        idle_after,
        budget_per_day,
    } = *policy;
    let durations = [min_validity, assumed_lifetime, retry_cap, retry_cap_without_token, refused_cap, retry_after_cap];
    ([earliest.to_bits(), latest.to_bits()], durations, prefetch, idle_after, budget_per_day)
}

/// Several times what a system's whole list of authorities takes.
const LARGEST_BUNDLE: u64 = 4 * 1024 * 1024;
