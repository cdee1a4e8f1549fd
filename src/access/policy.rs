//! Rules together: deny by default, and say why.

use std::sync::Arc;

use super::{Caller, Needs, Rule, rule::Lacks};

/// Who may have something: root, the daemon's own user, and whoever a rule admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    own_uid: u32,
    rules: Arc<[Rule]>,
}

/// What a [`Policy`] says about a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The caller is root or the daemon's own user.
    AllowedAsOwner,
    /// This rule admits it; the number is its place in the list, from 0.
    AllowedBy(usize, &'a Rule),
    /// No rule does.
    Denied {
        /// Why one of them might have, had more been known of the caller.
        unidentified: Option<Box<str>>,
    },
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
        let mut unidentified = None;
        for (place, rule) in self.rules.iter().enumerate() {
            match rule.admits(caller) {
                Ok(()) => return Decision::AllowedBy(place, rule),
                Err(Lacks::Fact(why)) => unidentified = Some(why),
                Err(Lacks::Condition(_)) => {}
            }
        }
        Decision::Denied { unidentified }
    }

    /// Whether the caller is let in.
    #[must_use]
    pub fn allows(&self, caller: &Caller) -> bool {
        !matches!(self.decide(caller), Decision::Denied { .. })
    }

    /// Each rule with what this caller lacks for it; nothing of those that admit it.
    pub fn lacks<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = (usize, &'a Rule, Lacks)> {
        let all = self.rules.iter().enumerate();
        all.filter_map(|(place, rule)| Some((place, rule, rule.admits(caller).err()?)))
    }

    /// Which facts about callers its rules ask for.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.rules.iter().fold(Needs::default(), |needs, rule| needs.and(rule.needs()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::{
        Conditions, Fact,
        rule::tests::{id, of_user},
    };

    fn caller(uid: u32, gid: u32) -> Caller {
        Caller { groups: Fact::Known([].into()), ..Caller::of(uid, gid, None) }
    }

    fn of(uid: Option<u32>, gid: Option<u32>) -> Rule {
        Rule::All(Conditions { user: uid.map(id), group: gid.map(id), ..Conditions::default() })
    }

    const DENIED: Decision<'_> = Decision::Denied { unidentified: None };

    #[test]
    fn nobody_else_by_default() {
        let policy = Policy::new(990, []);
        assert_eq!(policy.decide(&caller(0, 0)), Decision::AllowedAsOwner);
        assert_eq!(policy.decide(&caller(990, 990)), Decision::AllowedAsOwner);
        assert_eq!(policy.decide(&caller(1000, 0)), DENIED, "the group of root is not root");
    }

    #[test]
    fn conditions_are_joined_by_and_and_rules_by_or() {
        let (both, group) = (of(Some(1000), Some(50)), of(None, Some(60)));
        let policy = Policy::new(990, [both.clone(), group.clone()]);
        assert_eq!(policy.decide(&caller(1000, 50)), Decision::AllowedBy(0, &both));
        assert_eq!(policy.decide(&caller(1000, 51)), DENIED);
        assert_eq!(policy.decide(&caller(1001, 50)), DENIED);
        assert_eq!(policy.decide(&caller(7, 60)), Decision::AllowedBy(1, &group));
    }

    #[test]
    fn an_empty_rule_admits_nobody() {
        let policy = Policy::new(990, [of(None, None), Rule::Nobody]);
        assert!(!policy.allows(&caller(1000, 1000)));
    }

    #[test]
    fn what_is_not_known_is_said_only_if_it_would_have_decided() {
        let policy = Policy::new(990, [of(Some(1000), Some(50)), of_user(1001)]);
        let unknown = |uid| Caller { groups: Fact::Unknown("no groups".into()), ..caller(uid, 1) };
        assert_eq!(policy.decide(&unknown(1000)), Decision::Denied { unidentified: Some("no groups".into()) });
        assert_eq!(policy.decide(&unknown(1002)), DENIED);
        assert!(policy.allows(&unknown(1001)), "its rule asks for nothing else");
    }

    #[test]
    fn only_what_some_rule_asks_for_is_needed() {
        assert_eq!(Policy::new(990, [of_user(1), Rule::Any]).needs(), Needs::default());
        assert!(Policy::new(990, [of_user(1), of(None, Some(1))]).needs().groups);
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let number = proptest::option::of(1_u32..6);
        prop::collection::vec((number.clone(), number).prop_map(|(uid, gid)| of(uid, gid)), 0..5)
    }

    proptest! {
        #[test]
        fn a_rule_for_one_never_admits_another(
            rules in rules(), uid in 1_u32..6, gid in 1_u32..6, other in 1_u32..6,
        ) {
            prop_assume!(other != uid);
            let without = Policy::new(990, rules.clone());
            let mut more = rules;
            more.push(of_user(other));
            let with = Policy::new(990, more);
            prop_assert_eq!(without.allows(&caller(uid, gid)), with.allows(&caller(uid, gid)));
            prop_assert!(with.allows(&caller(other, gid)));
        }

        #[test]
        fn knowing_less_never_lets_anybody_in(rules in rules(), uid in 1_u32..6, gid in 1_u32..6) {
            let policy = Policy::new(990, rules);
            let known = policy.allows(&caller(uid, gid));
            for groups in [Fact::Unasked, Fact::Unknown("x".into())] {
                let lesser = Caller { groups, ..caller(uid, gid) };
                prop_assert!(known || !policy.allows(&lesser));
            }
        }
    }
}
