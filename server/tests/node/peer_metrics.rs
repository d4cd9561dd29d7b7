//! What members count of what passes between them.

use vetch_storage::LogIndex;

use crate::cluster::{Cluster, QUICK};
use crate::member::{Member, until, within};
use crate::membership::add;

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

/// Who in the cluster has sent a whole state to this member, and nobody else has.
async fn sender(cluster: &Cluster, to: u64) -> &Member {
    let sent = format!("etcd_network_snapshot_send_success{{To=\"{to:x}\"}}");
    until("one has sent the state", || async {
        let mut sender = None;
        for member in cluster.running() {
            let sent = figure(member, &sent).await;
            assert!(sent == 0 || (sent == 1 && sender.is_none()), "it was sent twice");
            sender = if sent == 1 { Some(member) } else { sender };
        }
        sender
    })
    .await
}

/// No log reaches back to where a new member begins.
#[tokio::test]
async fn the_state_for_a_new_member_is_counted_at_both_ends() {
    let short_log = ["--snapshot-count=10", "--snapshot-catchup-entries=0"];
    let flags: Vec<&str> = QUICK.into_iter().chain(short_log).collect();
    let mut cluster = Cluster::start(3, &flags).await;
    until("all logs have lost their beginning", || async {
        cluster.member(0).put("k", "v").await;
        let lacks = |member: &Member| member.node.api().replica.purged() > LogIndex(10);
        cluster.running().all(lacks).then_some(())
    })
    .await;
    let (at, sockets) = cluster.newcomer("m4", &flags);
    let url = cluster.place(at).url.clone();
    let founders: Vec<String> =
        (0..3).map(|at| format!("m{}={}", at + 1, cluster.place(at).url)).collect();
    let added =
        until("the newcomer is added", || async { add(cluster.member(0), &url, false).await.ok() })
            .await;
    let id = added.member.unwrap().id;
    cluster.join(at, "m4", &founders.join(","), sockets).await;
    within("the newcomer serves", cluster.member(at).node.serving()).await;
    assert_eq!(cluster.member(at).get("k").await.kvs.len(), 1);

    let sender = sender(&cluster, id).await;
    let (to, from) =
        (format!("{{To=\"{id:x}\"}}"), format!("{{From=\"{:x}\"}}", sender.id().get()));
    let ends = [(sender, "send", to), (cluster.member(at), "receive", from)];
    for (member, way, peer) in ends {
        for (name, expected) in
            [("success", 1), ("total_duration_seconds_count", 1), ("inflights_total", 0)]
        {
            let series = format!("etcd_network_snapshot_{way}_{name}{peer}");
            assert_eq!(figure(member, &series).await, expected, "{series}");
        }
    }
    cluster.stop_all().await;
}
