//! The voter set's own encoding, as the state machine keeps it beside the data.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use vetch_proto::vetchpb::{self, VoterSet};

use super::Membership;

/// The encoded sets.
pub fn encode_membership(membership: &Membership) -> Bytes {
    let stored = vetchpb::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| VoterSet { ids: voters.iter().copied().collect() })
            .collect(),
        members: membership.nodes().map(|(id, ())| *id).collect(),
    };
    stored.encode_to_vec().into()
}

/// The inverse of [`encode_membership`].
pub fn decode_membership(bytes: Bytes) -> Result<Membership, prost::DecodeError> {
    let stored = vetchpb::Membership::decode(bytes)?;
    let configs: Vec<BTreeSet<u64>> =
        stored.configs.into_iter().map(|voters| voters.ids.into_iter().collect()).collect();
    Ok(Membership::new_with_defaults(configs, stored.members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joint_sets_and_learners_survive() {
        let joint = Membership::new_with_defaults(
            vec![BTreeSet::from([1, u64::MAX]), BTreeSet::from([1, 3])],
            [7],
        );
        assert_eq!(decode_membership(encode_membership(&joint)).unwrap(), joint);
    }
}
