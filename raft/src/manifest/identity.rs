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

/// A member added at run time: from its peer URLs and when, in seconds of Unix time.
pub fn added_member_id<S: AsRef<str>>(peer_urls: &[S], unix_seconds: u64) -> NodeId {
    initial_member_id(peer_urls, &unix_seconds.to_string())
}

/// The cluster that goes on with one member of `before` alone: another one to everybody who stays
/// behind.
pub(crate) fn forked_cluster_id(before: ClusterId, random: u64) -> ClusterId {
    let mut hash = Sha1::new();
    hash.update(before.0.to_be_bytes());
    hash.update(random.to_be_bytes());
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

    /// What etcd 3.7.1 logs when it begins these clusters.
    #[test]
    fn members_of_larger_clusters_have_etcds_ids() {
        let port = |port: u16| format!("http://127.0.0.1:{port}");
        let ids = [21001, 21002, 21003].map(|at| initial_member_id(&[port(at)], "etcd-cluster"));
        assert_eq!(
            ids.map(|id| id.0),
            [0xa759_d8e1_c4ee_b940, 0x6d9b_916f_3baf_8a3e, 0x4358_cf4e_6b95_908f]
        );
        assert_eq!(cluster_id(&ids).0, 0xbda9_67fc_5806_4bbc);
        let two_urls = initial_member_id(&["http://localhost:21001", &port(21001)], "tok");
        let other = initial_member_id(&[port(21002)], "tok");
        assert_eq!((two_urls.0, other.0), (0xfcfe_9767_429f_9ef0, 0xfb27_e651_7ed1_ad78));
        assert_eq!(cluster_id(&[two_urls, other]).0, 0x0a46_042c_7414_ad45);
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
