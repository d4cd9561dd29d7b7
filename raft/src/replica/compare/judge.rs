//! Whose state is right, decided on plain data: the one that a quorum of the voters has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vetch_storage::{LogIndex, NodeId, Revision};

use super::recent::Mark;

/// What each member was last heard to have, ascending.
pub(super) type Known = BTreeMap<NodeId, Vec<Mark>>;

/// A member's state is not the one its group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Whose.
    pub member: NodeId,
    /// A position where it was seen; it may have begun before.
    pub index: LogIndex,
    /// The store's revision there, as the member has it.
    pub revision: Revision,
    /// The member's digest there.
    pub found: u64,
    /// That of a quorum of the voters.
    pub expected: u64,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, index, revision, found, expected } = self;
        write!(
            f,
            "the state of member {:x} differs from its cluster's: after log entry {index} (revision \
             {revision}) its digest is {found:016x}, that of a quorum of the voters {expected:016x}",
            member.0
        )
    }
}

/// Members differ, and no state has a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dispute {
    pub(super) index: LogIndex,
    pub(super) revision: Revision,
    pub(super) digests: BTreeMap<NodeId, u64>,
    /// Every voter has been heard about it: no quorum will come.
    pub(super) is_final: bool,
}

impl fmt::Display for Dispute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, revision, digests, .. } = self;
        write!(f, "after log entry {index} (revision {revision}) the state digests are")?;
        for (member, digest) in digests {
            write!(f, " {digest:016x} on member {:x}", member.0)?;
        }
        Ok(())
    }
}

/// What comparing finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The newest position at which a quorum of the voters has the state of who judges, and that state.
    pub(super) agreed: Option<Mark>,
    /// Who has another one.
    pub(super) diverged: BTreeMap<NodeId, Divergence>,
    /// The newest position at which nobody can tell who is right.
    pub(super) dispute: Option<Dispute>,
}

/// Compares what is known of all members, by the judgement of `me`; the word of `voters` counts.
pub(super) fn judge(me: NodeId, voters: &BTreeSet<NodeId>, known: &Known) -> Findings {
    let mut findings = Findings::default();
    for (index, marks) in by_position(known) {
        if let Some(right) = quorum(voters, &marks) {
            if marks.get(&me).is_some_and(|own| own.digest == right.digest) {
                findings.agreed = Some(right);
            }
            for (member, mark) in marks {
                if mark.digest != right.digest {
                    let Mark { revision, digest: found, .. } = mark;
                    let expected = right.digest;
                    let seen = Divergence { member, index, revision, found, expected };
                    findings.diverged.entry(member).or_insert(seen);
                }
            }
        } else if differ(&marks) {
            findings.dispute = Some(dispute(voters, &marks));
        }
    }
    // Whoever is known to be wrong disputes nothing.
    findings.dispute = findings.dispute.take().and_then(|mut dispute| {
        dispute.digests.retain(|member, _| !findings.diverged.contains_key(member));
        let distinct: BTreeSet<&u64> = dispute.digests.values().collect();
        (distinct.len() > 1).then_some(dispute)
    });
    findings
}

/// Whether two members were ever seen to differ.
pub(super) fn are_at_odds(one: &[Mark], other: &[Mark]) -> bool {
    one.iter().any(|mark| {
        let same = other.binary_search_by_key(&mark.index, |mark| mark.index);
        same.is_ok_and(|at| other[at].digest != mark.digest)
    })
}

/// What others say of a state that a member is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// A quorum has the sender's state.
    Yes,
    /// A quorum has another one.
    No(Divergence),
    /// Somebody has another one.
    Disputed,
    /// Nobody contradicts.
    Unknown,
}

/// Whether the state of `sender` at `from` is right: no digest that differs is ever equal again, so any
/// later position tells.
pub(super) fn vouch(
    voters: &BTreeSet<NodeId>,
    known: &Known,
    sender: NodeId,
    from: LogIndex,
) -> Vouched {
    let mut vouched = Vouched::Unknown;
    for (index, marks) in by_position(known).range(from..) {
        let Some(offered) = marks.get(&sender) else { continue };
        match quorum(voters, marks) {
            Some(right) if right.digest == offered.digest => return Vouched::Yes,
            Some(right) => {
                let Mark { revision, digest: found, .. } = *offered;
                let (index, expected) = (*index, right.digest);
                let member = sender;
                return Vouched::No(Divergence { member, index, revision, found, expected });
            }
            None if differ(marks) => vouched = Vouched::Disputed,
            None => {}
        }
    }
    vouched
}

type Positions = BTreeMap<LogIndex, BTreeMap<NodeId, Mark>>;

fn by_position(known: &Known) -> Positions {
    let mut positions = Positions::new();
    for (member, marks) in known {
        for mark in marks {
            positions.entry(mark.index).or_default().insert(*member, *mark);
        }
    }
    positions
}

/// The state that a quorum of the voters has, at one position.
fn quorum(voters: &BTreeSet<NodeId>, marks: &BTreeMap<NodeId, Mark>) -> Option<Mark> {
    let needed = voters.len() / 2 + 1;
    let said = || voters.iter().filter_map(|voter| marks.get(voter));
    said()
        .copied()
        .find(|mark| said().filter(|other| other.digest == mark.digest).count() >= needed)
}

fn differ(marks: &BTreeMap<NodeId, Mark>) -> bool {
    let mut digests = marks.values().map(|mark| mark.digest);
    let first = digests.next();
    digests.any(|digest| Some(digest) != first)
}

fn dispute(voters: &BTreeSet<NodeId>, marks: &BTreeMap<NodeId, Mark>) -> Dispute {
    let newest = marks.values().max_by_key(|mark| mark.revision);
    let newest = newest.expect("two members differ");
    Dispute {
        index: newest.index,
        revision: newest.revision,
        digests: marks.iter().map(|(member, mark)| (*member, mark.digest)).collect(),
        is_final: voters.iter().all(|voter| marks.contains_key(voter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    /// Members with their digests at positions that count up from 1; 0 where nothing is known.
    fn known<const N: usize>(members: [(u64, &[u64]); N]) -> Known {
        let marks = |digests: &[u64]| {
            let marks = (1..).zip(digests).filter(|(_, digest)| **digest != 0);
            marks
                .map(|(index, digest)| Mark {
                    index: LogIndex(index),
                    revision: Revision(1),
                    digest: *digest,
                })
                .collect()
        };
        members.map(|(id, digests)| (NodeId(id), marks(digests))).into()
    }

    fn diverged(findings: &Findings) -> Vec<u64> {
        findings.diverged.keys().map(|id| id.0).collect()
    }

    #[test]
    fn equal_states_are_agreed_up_to_the_newest_that_a_quorum_has() {
        let findings =
            judge(NodeId(1), &ids(1..=3), &known([(1, &[7, 8, 9]), (2, &[7, 8]), (3, &[7])]));
        assert_eq!(findings.agreed.unwrap().index, LogIndex(2));
        assert!(findings.diverged.is_empty() && findings.dispute.is_none());
        let by_the_third =
            judge(NodeId(3), &ids(1..=3), &known([(1, &[7, 8]), (2, &[7, 8]), (3, &[7])]));
        assert_eq!(by_the_third.agreed.unwrap().index, LogIndex(1));
    }

    #[test]
    fn the_one_that_a_quorum_contradicts_is_named_with_the_first_place_seen() {
        let three = known([(1, &[7, 8, 9]), (2, &[7, 5, 4]), (3, &[7, 8, 9])]);
        let findings = judge(NodeId(1), &ids(1..=3), &three);
        assert_eq!(diverged(&findings), [2]);
        let seen = findings.diverged[&NodeId(2)];
        assert_eq!((seen.index, seen.found, seen.expected), (LogIndex(2), 5, 8));
        assert!(findings.dispute.is_none());
        let five = known([(1, &[6]), (2, &[7]), (3, &[7]), (4, &[8]), (5, &[7])]);
        assert_eq!(diverged(&judge(NodeId(1), &ids(1..=5), &five)), [1, 4]);
    }

    /// Once named, it makes no dispute where only one of the others has been heard.
    #[test]
    fn whoever_is_named_disputes_nothing() {
        let findings =
            judge(NodeId(1), &ids(1..=3), &known([(1, &[7, 8]), (2, &[5, 4]), (3, &[7])]));
        assert_eq!(diverged(&findings), [2]);
        assert_eq!(findings.dispute, None);
    }

    #[test]
    fn without_a_quorum_nobody_is_named() {
        let two = judge(NodeId(1), &ids(1..=2), &known([(1, &[7]), (2, &[8])]));
        assert!(two.diverged.is_empty() && two.dispute.unwrap().is_final);
        let split = judge(NodeId(1), &ids(1..=3), &known([(1, &[7]), (2, &[8]), (3, &[9])]));
        assert!(split.diverged.is_empty() && split.dispute.unwrap().is_final);
        let one_down = judge(NodeId(1), &ids(1..=3), &known([(1, &[7]), (2, &[8])]));
        assert!(one_down.diverged.is_empty() && !one_down.dispute.unwrap().is_final);
    }

    #[test]
    fn learners_are_named_and_name_nobody() {
        let findings = judge(NodeId(1), &ids(1..=2), &known([(1, &[7]), (2, &[7]), (3, &[8])]));
        assert_eq!(diverged(&findings), [3]);
        let outnumbered = judge(NodeId(1), &ids([1]), &known([(1, &[7]), (2, &[8]), (3, &[8])]));
        assert_eq!(diverged(&outnumbered), [2, 3]);
    }

    #[test]
    fn a_state_is_vouched_for_at_its_place_or_later() {
        let voters = ids(1..=3);
        let vouched = |known: &Known, from| vouch(&voters, known, NodeId(1), LogIndex(from));
        assert_eq!(vouched(&known([(1, &[7, 8]), (2, &[7, 8])]), 2), Vouched::Yes);
        assert_eq!(vouched(&known([(1, &[7, 8]), (2, &[7])]), 2), Vouched::Unknown);
        assert_eq!(vouched(&known([(1, &[7, 8]), (2, &[7, 5])]), 2), Vouched::Disputed);
        let outvoted = known([(1, &[7, 8]), (2, &[7, 5]), (3, &[7, 5])]);
        assert!(matches!(vouched(&outvoted, 2), Vouched::No(_)));
        assert_eq!(vouched(&known([(1, &[7]), (2, &[7])]), 2), Vouched::Unknown);
    }

    #[test]
    fn two_are_at_odds_where_both_were_seen_and_differ() {
        let all = known([(1, &[7, 0, 9]), (2, &[0, 8, 9]), (3, &[7, 8, 5])]);
        let odds = |one, other| are_at_odds(&all[&NodeId(one)], &all[&NodeId(other)]);
        assert!(!odds(1, 2) && odds(1, 3) && odds(3, 2));
    }
}
