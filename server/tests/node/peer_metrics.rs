//! What members count of what passes between them.

use crate::cluster::{Cluster, QUICK};
use crate::member::{Member, until};

/// 0 for what is not shown yet.
async fn figure(member: &Member, series: &str) -> u64 {
    let (_, text) = member.http("/metrics").await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn until_it_is(member: &Member, series: &str, holds: impl Fn(u64) -> bool) {
    let looks = || async { holds(figure(member, series).await).then_some(()) };
    until(series, looks).await;
}

#[tokio::test]
async fn each_end_counts_what_passes_and_whether_the_other_is_there() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let (leads, follows) = (cluster.leader().await, cluster.follower().await);
    let [leader, follower] = [leads, follows].map(|at| cluster.member(at));
    let [leader_id, follower_id] = [leader, follower].map(|member| member.id().get());
    let value = "v".repeat(4096);
    follower.put("by way of a follower", &value).await;
    let (sent, received) =
        ("etcd_network_peer_sent_bytes_total", "etcd_network_peer_received_bytes_total");
    for (member, peer) in [(leader, follower_id), (follower, leader_id)] {
        // As a proposal one way, as an entry the other.
        let is_more = |bytes| bytes > 4096;
        until_it_is(member, &format!("{sent}{{To=\"{peer:x}\"}}"), is_more).await;
        until_it_is(member, &format!("{received}{{From=\"{peer:x}\"}}"), is_more).await;
    }
    let ends = format!("{{Local=\"{leader_id:x}\",Remote=\"{follower_id:x}\"}}");
    let (active, disconnected) = (
        format!("etcd_network_active_peers{ends}"),
        format!("etcd_network_disconnected_peers_total{ends}"),
    );
    until_it_is(leader, &active, |it| it == 1).await;
    let round_trips =
        format!("etcd_network_peer_round_trip_time_seconds_count{{To=\"{follower_id:x}\"}}");
    until_it_is(leader, &round_trips, |count| count > 0).await;
    assert_eq!(figure(leader, &disconnected).await, 0);

    cluster.stop(follows).await;
    let leader = cluster.member(leads);
    until_it_is(leader, &active, |it| it == 0).await;
    assert_eq!(figure(leader, &disconnected).await, 1);
    let failures = format!("etcd_network_peer_sent_failures_total{{To=\"{follower_id:x}\"}}");
    assert!(figure(leader, &failures).await > 0);

    cluster.start_again(follows).await;
    until_it_is(cluster.member(leads), &active, |it| it == 1).await;
    cluster.stop_all().await;
}
