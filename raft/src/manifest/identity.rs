//! Ids as etcd computes them, so that the same flags give the same ids.

use sha1::{Digest, Sha1};
use vetch_storage::{ClusterId, NodeId};

/// A member of the initial cluster: from its peer URLs and the cluster's token.
pub fn initial_member_id<S: AsRef<str>>(peer_urls: &[S], cluster_token: &str) -> NodeId {
    let mut sorted: Vec<&str> = peer_urls.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(cluster_token);
    NodeId(first_eight(hash))
}

/// The cluster: from the ids of its initial members, in any order.
pub fn cluster_id(initial_members: &[NodeId]) -> ClusterId {
    let mut sorted = initial_members.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for id in sorted {
        hash.update(id.0.to_be_bytes());
    }
    ClusterId(first_eight(hash))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids every `etcd` started without flags has.
    #[test]
    fn the_default_member_has_etcds_default_ids() {
        let member = initial_member_id(&["http://localhost:2380"], "etcd-cluster");
        assert_eq!(format!("{member:x?}"), "NodeId(8e9e05c52164694d)");
        assert_eq!(cluster_id(&[member]).0, 0xcdf8_1819_4e3a_8c32);
    }

    #[test]
    fn order_of_urls_and_members_does_not_matter() {
        let urls = ["http://b:2380", "http://a:2380"];
        let turned = ["http://a:2380", "http://b:2380"];
        assert_eq!(initial_member_id(&urls, "t"), initial_member_id(&turned, "t"));
        let (one, two) = (NodeId(1), NodeId(2));
        assert_eq!(cluster_id(&[one, two]), cluster_id(&[two, one]));
    }
}
