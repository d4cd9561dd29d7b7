//! A rolling restart under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tonic::transport::Endpoint;
use vetch_proto::etcdserverpb::RangeRequest;
use vetch_proto::etcdserverpb::kv_client::KvClient;

use crate::cluster::Cluster;
use crate::member::{all, put, within};

/// So long that an election shows: leadership must be handed over.
const SLOW: [&str; 2] = ["--heartbeat-interval=100", "--election-timeout=20000"];
/// What a hand-over may cost on a busy machine whose disk stalls for seconds. An election would begin when
/// three tenths of the timeout are over.
const PATIENT: Duration = Duration::from_secs(5);
/// A member that takes a write takes it within this, or another is asked.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Writes one key after the other, to another member when one does not take it.
async fn write(members: Vec<std::net::SocketAddr>, stop: Arc<AtomicBool>) -> (usize, Duration) {
    let (mut written, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    let mut at = 0;
    let client = |at: usize| {
        let endpoint = Endpoint::from_shared(format!("http://{}", members[at])).unwrap();
        KvClient::new(endpoint.connect_lazy())
    };
    let mut kv = client(at);
    while !stop.load(Ordering::Relaxed) {
        let answer = timeout(ATTEMPT, kv.put(put(&format!("{written}"), "v"))).await;
        if matches!(answer, Ok(Ok(_))) {
            written += 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
            continue;
        }
        // One that does not serve takes no connection, or leaves it lying.
        at = (at + 1) % members.len();
        kv = client(at);
    }
    (written, longest)
}

#[tokio::test]
async fn members_restarted_one_by_one_hand_over_and_writes_hardly_pause() {
    let mut cluster = Cluster::start(3, &SLOW).await;
    let members = (0..3).map(|at| cluster.member(at).addr).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(members, Arc::clone(&stop)));
    let mut led = 0;
    for at in 0..3 {
        led += usize::from(cluster.leader().await == at);
        cluster.stop(at).await;
        cluster.start_again(at).await;
        within("it serves again", cluster.member(at).node.serving()).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (written, longest) = within("the writer ends", writer).await.unwrap();
    assert!(led > 0, "a leader was restarted");
    assert!(longest < PATIENT, "the longest pause of writes: {longest:?}");
    let count = RangeRequest { count_only: true, ..all() };
    for member in cluster.running() {
        let found = member.kv().await.range(count.clone()).await.unwrap().into_inner();
        assert!(found.count >= i64::try_from(written).unwrap(), "nothing acknowledged is lost");
    }
    cluster.stop_all().await;
}
