//! Whose history is right, decided on plain data: the one that a quorum of the voters has.

use std::collections::{BTreeMap, BTreeSet};

use vetch_storage::NodeId;
use vetch_storage::view::HashKv;

/// What a comparison finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Whose history is another than that of a quorum of the voters.
    pub(super) wrong: BTreeSet<NodeId>,
    /// Histories differ of which none has a quorum: whose.
    pub(super) disputed: BTreeSet<NodeId>,
}

impl Findings {
    /// Whether nothing differs.
    pub(super) fn is_empty(&self) -> bool {
        self.wrong.is_empty() && self.disputed.is_empty()
    }

    /// What was found both times. A member is wrong for sure, or disputed still.
    pub(super) fn confirmed_by(&self, again: &Self) -> Self {
        let both = |one: &BTreeSet<NodeId>, other: &BTreeSet<NodeId>| one & other;
        Self {
            wrong: both(&self.wrong, &again.wrong),
            disputed: both(&self.disputed, &again.disputed),
        }
    }
}

/// Compares hashes of one revision; the word of `voters` counts. Only those that were taken under the same
/// compacted revision say anything about each other.
pub(super) fn judge(voters: &BTreeSet<NodeId>, hashes: &BTreeMap<NodeId, HashKv>) -> Findings {
    let mut findings = Findings::default();
    let compactions: BTreeSet<i64> = hashes.values().map(|hash| hash.compact_revision).collect();
    for compacted in compactions {
        let comparable = hashes.iter().filter(|(_, hash)| hash.compact_revision == compacted);
        let mut alike = BTreeMap::<u32, BTreeSet<NodeId>>::new();
        for (member, hash) in comparable {
            alike.entry(hash.hash).or_default().insert(*member);
        }
        if alike.len() < 2 {
            continue;
        }
        let is_right = |members: &BTreeSet<NodeId>| (members & voters).len() > voters.len() / 2;
        let right = alike.iter().find(|(_, members)| is_right(members)).map(|(hash, _)| *hash);
        for (hash, members) in alike {
            match right {
                Some(right) if hash == right => {}
                Some(_) => findings.wrong.extend(members),
                None => findings.disputed.extend(members),
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use vetch_storage::Revision;

    use super::*;

    fn ids(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    fn found(voters: u64, hashes: &[(u64, u32, i64)]) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
        let hash =
            |hash, compact_revision| HashKv { hash, compact_revision, hash_revision: Revision(9) };
        let hashes =
            hashes.iter().map(|(id, value, compacted)| (NodeId(*id), hash(*value, *compacted)));
        let Findings { wrong, disputed } = judge(&ids(1..=voters), &hashes.collect());
        (wrong, disputed)
    }

    #[test]
    fn the_one_that_a_quorum_contradicts_is_wrong_whoever_asks() {
        assert_eq!(found(3, &[(1, 7, -1), (2, 7, -1), (3, 7, -1)]), (ids([]), ids([])));
        assert_eq!(found(3, &[(1, 8, -1), (2, 7, -1), (3, 7, -1)]), (ids([1]), ids([])));
        assert_eq!(found(1, &[(1, 7, -1), (2, 8, -1), (3, 8, -1)]), (ids([2, 3]), ids([])));
    }

    #[test]
    fn without_a_quorum_nobody_is_wrong() {
        assert_eq!(found(2, &[(1, 7, 3), (2, 8, 3)]), (ids([]), ids([1, 2])));
        assert_eq!(found(3, &[(1, 7, 3), (2, 8, 3)]), (ids([]), ids([1, 2])));
        assert_eq!(found(3, &[(1, 7, 3), (2, 8, 3), (3, 9, 3)]), (ids([]), ids([1, 2, 3])));
    }

    #[test]
    fn hashes_under_other_compactions_are_not_compared() {
        assert_eq!(found(3, &[(1, 7, 3), (2, 8, 5), (3, 7, 3)]), (ids([]), ids([])));
        assert_eq!(found(3, &[(1, 7, 3), (2, 8, 5), (3, 9, 3)]), (ids([]), ids([1, 3])));
    }

    #[test]
    fn what_is_not_found_again_was_nothing() {
        let findings = |wrong, disputed| Findings { wrong: ids(wrong), disputed: ids(disputed) };
        let first = findings(vec![1, 2], vec![3, 4]);
        assert_eq!(
            first.confirmed_by(&findings(vec![2], vec![3, 4])),
            findings(vec![2], vec![3, 4])
        );
        assert!(first.confirmed_by(&Findings::default()).is_empty());
    }
}
