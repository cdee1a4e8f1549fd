//! Rules together: deny by default, and say why.

use std::sync::Arc;

use super::{Caller, Rule};

/// Who may have something: root, the daemon's own user, and whoever a rule admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    own_uid: u32,
    rules: Arc<[Rule]>,
}

/// What a [`Policy`] says about a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The caller is root or the daemon's own user.
    AllowedAsOwner,
    /// This rule admits it.
    AllowedBy(&'a Rule),
    /// No rule does.
    Denied,
}

impl Policy {
    /// A policy for a daemon that runs as `own_uid`. Without rules only root and that user are let in.
    #[must_use]
    pub fn new(own_uid: u32, rules: impl Into<Arc<[Rule]>>) -> Self {
        Self { own_uid, rules: rules.into() }
    }

    /// The user that the daemon runs as.
    #[must_use]
    pub fn own_uid(&self) -> u32 {
        self.own_uid
    }

    /// Decides, and names the rule that decided.
    #[must_use]
    pub fn decide(&self, caller: &Caller) -> Decision<'_> {
        if caller.uid == 0 || caller.uid == self.own_uid {
            return Decision::AllowedAsOwner;
        }
        match self.rules.iter().find(|rule| rule.admits(caller)) {
            Some(rule) => Decision::AllowedBy(rule),
            None => Decision::Denied,
        }
    }

    /// Whether the caller is let in.
    #[must_use]
    pub fn allows(&self, caller: &Caller) -> bool {
        self.decide(caller) != Decision::Denied
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn caller(uid: u32, gid: u32) -> Caller {
        Caller { uid, gid, pid: None }
    }

    #[test]
    fn nobody_else_by_default() {
        let policy = Policy::new(990, []);
        assert_eq!(policy.decide(&caller(0, 0)), Decision::AllowedAsOwner);
        assert_eq!(policy.decide(&caller(990, 990)), Decision::AllowedAsOwner);
        assert_eq!(policy.decide(&caller(1000, 0)), Decision::Denied, "the group of root is not root");
    }

    #[test]
    fn conditions_are_joined_by_and_and_rules_by_or() {
        let both = Rule::All { uid: Some(1000), gid: Some(50) };
        let group = Rule::All { uid: None, gid: Some(60) };
        let policy = Policy::new(990, [both.clone(), group.clone()]);
        assert_eq!(policy.decide(&caller(1000, 50)), Decision::AllowedBy(&both));
        assert_eq!(policy.decide(&caller(1000, 51)), Decision::Denied);
        assert_eq!(policy.decide(&caller(1001, 50)), Decision::Denied);
        assert_eq!(policy.decide(&caller(7, 60)), Decision::AllowedBy(&group));
    }

    #[test]
    fn an_empty_rule_admits_nobody() {
        let policy = Policy::new(990, [Rule::All { uid: None, gid: None }]);
        assert!(!policy.allows(&caller(1000, 1000)));
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let id = proptest::option::of(1_u32..6);
        prop::collection::vec((id.clone(), id).prop_map(|(uid, gid)| Rule::All { uid, gid }), 0..5)
    }

    proptest! {
        #[test]
        fn a_rule_for_one_never_admits_another(
            rules in rules(), uid in 1_u32..6, gid in 1_u32..6, other in 1_u32..6,
        ) {
            prop_assume!(other != uid);
            let without = Policy::new(990, rules.clone());
            let mut more = rules;
            more.push(Rule::All { uid: Some(other), gid: None });
            let with = Policy::new(990, more);
            prop_assert_eq!(without.allows(&caller(uid, gid)), with.allows(&caller(uid, gid)));
            prop_assert!(with.allows(&caller(other, gid)));
        }
    }
}
