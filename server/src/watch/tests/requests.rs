//! Requests of a stream, one by one.

use vetch_proto::etcdserverpb::{CompactionRequest, PutRequest, WatchCreateRequest, WatchResponse};
use vetch_proto::vetchpb::proposal::Command;

use super::client::Client;
use super::member::{Member, SMALL, USUAL, pass, run, settle};

pub(super) fn key(text: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: text.into(), ..WatchCreateRequest::default() }
}

pub(super) fn everything() -> WatchCreateRequest {
    WatchCreateRequest { range_end: vec![0].into(), ..WatchCreateRequest::default() }
}

pub(super) async fn put(member: &Member, key: &'static str, len: usize) -> i64 {
    let (key, value) = (key.into(), vec![b'v'; len].into());
    let put = PutRequest { key, value, ..PutRequest::default() };
    member.propose(Command::Put(put)).await.1.get()
}

/// Creates, and gives back the answer.
pub(super) async fn created(client: &mut Client, request: WatchCreateRequest) -> WatchResponse {
    client.create(request);
    settle().await;
    client.next().unwrap()
}

fn revisions(answers: &[WatchResponse]) -> Vec<i64> {
    let events = answers.iter().flat_map(|answer| &answer.events);
    events.map(|event| event.kv.as_ref().unwrap().mod_revision).collect()
}

#[test]
fn a_watcher_of_the_future_on_a_member_that_lags_hears_nothing_before_its_revision() {
    run(1, SMALL, |member| async move {
        let mut client = member.client();
        let now = put(&member, "k", 1).await;
        let request =
            WatchCreateRequest { start_revision: now + 3, progress_notify: true, ..everything() };
        created(&mut client, request).await;
        member.lag(true);
        put(&member, "k", 1).await;
        put(&member, "k", 2).await;
        client.progress();
        pass(SMALL.progress_interval * 5).await;
        assert_eq!(client.read(), [], "neither events nor progress below the start");
        member.lag(false);
        client.progress();
        let answers = client.read_all().await;
        assert_eq!(answers.len(), 1, "all before the start is known now: {answers:?}");
        assert_eq!((answers[0].watch_id, answers[0].header.unwrap().revision), (-1, now + 2));
        let third = put(&member, "k", 3).await;
        assert_eq!(revisions(&client.read_all().await), [third]);
    });
}

#[test]
fn a_compaction_at_a_deletion_leaves_it_to_be_watched_and_behind_it_ends_the_watcher() {
    run(2, SMALL, |member| async move {
        put(&member, "k", 1).await;
        let request = super::history::delete("k".into(), "".into());
        let deleted = member.propose(Command::DeleteRange(request)).await.1.get();
        for (compact, heard, ended) in
            [(deleted, vec![deleted], 0), (deleted + 1, vec![], deleted + 1)]
        {
            put(&member, "other", 1).await;
            let request = CompactionRequest { revision: compact, physical: false };
            member.propose(Command::Compaction(request)).await;
            let mut client = member.client();
            client.create(WatchCreateRequest { start_revision: deleted, ..key("k") });
            let answers = client.read_all().await;
            assert_eq!(revisions(&answers), heard);
            assert_eq!(answers.last().unwrap().compact_revision, ended);
        }
    });
}

#[test]
fn an_id_ended_by_a_compaction_stays_taken_until_it_is_cancelled() {
    run(3, SMALL, |member| async move {
        put(&member, "k", 1).await;
        let revision = put(&member, "k", 1).await;
        let request = CompactionRequest { revision, physical: false };
        member.propose(Command::Compaction(request)).await;
        let mut client = member.client();
        let old = WatchCreateRequest { start_revision: 1, watch_id: 5, ..key("k") };
        client.create(old);
        let answers = client.read_all().await;
        assert!(answers[0].created && !answers[0].canceled);
        assert_eq!((answers[1].canceled, answers[1].compact_revision), (true, revision));
        assert_eq!(answers[1].header.unwrap().revision, 0);
        let again = WatchCreateRequest { watch_id: 5, ..key("k") };
        let refused = created(&mut client, again.clone()).await;
        assert_eq!(refused.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
        client.cancel(5);
        settle().await;
        assert!(client.next().unwrap().canceled);
        assert!(!created(&mut client, again).await.canceled);
    });
}

#[test]
fn progress_is_silence_while_one_watcher_of_the_stream_is_behind() {
    run(4, SMALL, |member| async move {
        for _ in 0..50 {
            put(&member, "k", 100).await;
        }
        let mut client = member.client();
        created(&mut client, key("quiet")).await;
        client.create(WatchCreateRequest { start_revision: 2, ..key("k") });
        client.progress();
        settle().await;
        // The outbox is full: the second watcher cannot have been given everything.
        client.progress();
        let answers = client.read_all().await;
        assert_eq!(revisions(&answers).len(), 50);
        assert!(answers.iter().all(|answer| answer.watch_id != -1), "{answers:?}");
        client.progress();
        let answers = client.read_all().await;
        assert_eq!((answers.len(), answers[0].watch_id), (1, -1));
        assert_eq!(answers[0].header.unwrap().revision, member.revision());
    });
}

#[test]
fn the_end_of_the_requests_does_not_end_the_stream() {
    run(5, USUAL, |member| async move {
        let mut client = member.client();
        created(&mut client, everything()).await;
        client.half_close();
        let revision = put(&member, "k", 1).await;
        assert_eq!(revisions(&client.read_all().await), [revision]);
        assert!(client.ended.is_none());
    });
}

#[test]
fn storms_of_creations_and_cancellations_leave_nothing_behind() {
    run(6, USUAL, |member| async move {
        let gauges = |member: &Member| {
            let metrics = &member.api.watch.metrics;
            let of = |gauge: &std::sync::atomic::AtomicI64| {
                gauge.load(std::sync::atomic::Ordering::Relaxed)
            };
            let (streams, watchers) = (of(&metrics.streams), of(&metrics.watchers));
            (streams, watchers, of(&metrics.slow_watchers), of(&metrics.pending_events))
        };
        let mut clients: Vec<Client> = (0..4).map(|_| member.client()).collect();
        for round in 0..50 {
            for client in &mut clients {
                for id in 1..20 {
                    let start_revision = (id + round) % 3;
                    let request = WatchCreateRequest { watch_id: id, start_revision, ..key("k") };
                    client.create(request);
                    if (id + round) % 4 != 0 {
                        client.cancel(id);
                    }
                    client.cancel(100 + id);
                }
            }
            put(&member, "k", 10).await;
            if round % 5 == 0 {
                clients[0].read_all().await;
            }
        }
        settle().await;
        assert_eq!(gauges(&member).0, 4);
        assert!(gauges(&member).3 > 0, "there are events nobody has read");
        clients.truncate(1);
        for id in 1..20 {
            clients[0].cancel(id);
        }
        clients[0].read_all().await;
        assert_eq!(gauges(&member), (1, 0, 0, 0));
        drop(clients);
        settle().await;
        assert_eq!(gauges(&member), (0, 0, 0, 0));
    });
}

#[test]
fn a_stopping_node_ends_every_stream_behind_what_waits_and_says_unavailable() {
    run(7, USUAL, |member| async move {
        let mut clients: Vec<Client> = (0..3).map(|_| member.client()).collect();
        for client in &mut clients {
            created(client, everything()).await;
        }
        let revision = put(&member, "k", 1).await;
        member.stop.cancel();
        for client in &mut clients {
            assert_eq!(revisions(&client.read_all().await), [revision]);
            assert_eq!(client.status(), Some("14"));
        }
    });
}
