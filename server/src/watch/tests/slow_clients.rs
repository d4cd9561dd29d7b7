//! Clients that are slow, or have much to catch up with, and the others on their stream.

use std::sync::atomic::Ordering;

use vetch_proto::etcdserverpb::{TxnRequest, WatchCreateRequest, WatchResponse};
use vetch_proto::vetchpb::proposal::Command;

use super::history::{command, delete};
use super::member::{Member, SMALL, USUAL, run, settle};
use super::requests::{created, everything, key, put};

fn events(answers: &[WatchResponse], watch_id: i64) -> usize {
    let its = answers.iter().filter(|answer| answer.watch_id == watch_id);
    its.map(|answer| answer.events.len()).sum()
}

/// One revision with a deletion of each of `count` keys.
async fn delete_many(member: &Member, count: usize) {
    let keys: Vec<_> =
        (0..count).map(|number| (format!("{number:05}").into(), Some("v".into()))).collect();
    for writes in keys.chunks(100) {
        let Command::Txn(TxnRequest { .. }) = command(writes) else {
            panic!("many puts are a txn")
        };
        member.propose(command(writes)).await;
    }
    member.propose(Command::DeleteRange(delete("0".into(), "z".into()))).await;
}

#[test]
fn a_revision_much_larger_than_the_outbox_is_delivered() {
    run(1, SMALL, |member| async move {
        let mut live = member.client();
        created(&mut live, everything()).await;
        delete_many(&member, 200).await;
        let answers = live.read_all().await;
        assert_eq!(live.status(), None, "the client reads: it keeps its stream");
        assert_eq!(events(&answers, 0), 400);
        let mut late = member.client();
        late.create(WatchCreateRequest { start_revision: 2, ..everything() });
        assert_eq!(events(&late.read_all().await, 0), 400);
        assert_eq!(late.status(), None);
    });
}

/// An event whose previous value is damaged cannot be told. What waits behind it is not told either: the
/// client would take it for all there is.
#[test]
fn nothing_follows_an_event_that_cannot_be_told() {
    run(9, USUAL, |member| async move {
        let mut client = member.client();
        created(&mut client, WatchCreateRequest { prev_kv: true, ..everything() }).await;
        put(&member, "k", 100).await;
        assert_eq!(events(&client.read_all().await, 0), 1);
        put(&member, "k", 100).await;
        put(&member, "other", 100).await;
        // Every value that is stored, more than once.
        for draw in 0..60 {
            assert!(member.machine.engine().decay(draw).is_some());
        }
        let answers = client.read_all().await;
        assert_eq!(events(&answers, 0), 0, "{answers:?}");
        assert!(client.status().is_some(), "the stream has ended");
    });
}

#[test]
fn many_watchers_of_one_stream_catch_up_at_once_within_the_bound() {
    run(2, SMALL, |member| async move {
        for _ in 0..20 {
            put(&member, "k", 100).await;
        }
        let mut client = member.client();
        for _ in 0..100 {
            client.create(WatchCreateRequest { start_revision: 2, ..key("k") });
        }
        settle().await;
        let waiting = member.api.watch.metrics.pending_events.load(Ordering::Relaxed);
        // An event takes 229 bytes: five fill the outbox, and a piece of four may come on top.
        assert!(waiting <= 10, "{waiting} events wait");
        let answers = client.read_all().await;
        assert_eq!(client.status(), None, "the client reads: it keeps its stream");
        for watch_id in 0..100 {
            assert_eq!(events(&answers, watch_id), 20, "of watcher {watch_id}");
        }
    });
}

#[test]
fn what_memory_holds_is_given_in_pieces_too() {
    run(3, USUAL, |member| async move {
        let mut client = member.client();
        created(&mut client, everything()).await;
        for _ in 0..60 {
            put(&member, "k", 200_000).await;
        }
        // 12 MB were written in fewer revisions than a piece looks at, and all are in memory.
        let first = client.read_all().await;
        assert_eq!((events(&first, 0), client.status()), (60, None));
        let largest = first.iter().map(|answer| answer.events.len()).max();
        assert!(largest <= Some(3), "{largest:?} events of 200 kB in one answer");
    });
}

#[test]
fn several_watchers_fallen_behind_together_keep_their_stream() {
    run(4, USUAL, |member| async move {
        let mut client = member.client();
        for _ in 0..5 {
            created(&mut client, everything()).await;
        }
        for _ in 0..60 {
            put(&member, "k", 200_000).await;
        }
        let answers = client.read_all().await;
        assert_eq!(client.status(), None, "the client reads: it keeps its stream");
        for watch_id in 0..5 {
            assert_eq!(events(&answers, watch_id), 60);
        }
    });
}

#[test]
fn a_client_that_asks_and_never_reads_loses_its_stream() {
    run(5, SMALL, |member| async move {
        let mut client = member.client();
        for _ in 0..1000 {
            client.create(key("k"));
        }
        settle().await;
        let answers = client.read();
        assert!(answers.len() < 1000);
        assert_eq!(client.status(), Some("8"), "RESOURCE_EXHAUSTED");
    });
}

#[test]
fn a_long_replay_does_not_hold_up_the_others_of_its_stream() {
    run(6, SMALL, |member| async move {
        for _ in 0..500 {
            put(&member, "old", 100).await;
        }
        let mut client = member.client();
        for _ in 0..1000 {
            created(&mut client, key("k")).await;
        }
        client.create(WatchCreateRequest { start_revision: 2, ..key("old") });
        settle().await;
        client.create(WatchCreateRequest { watch_id: 7777, ..key("new") });
        client.cancel(3);
        put(&member, "k", 1).await;
        settle().await;
        let mut replayed = 0;
        let mut missing: std::collections::BTreeSet<i64> =
            (0..1000).filter(|id| *id != 3).collect();
        let (mut is_created, mut is_cancelled) = (false, false);
        while !(missing.is_empty() && is_created && is_cancelled) {
            let Some(answer) = client.next() else {
                settle().await;
                continue;
            };
            is_created |= answer.created && answer.watch_id == 7777;
            is_cancelled |= answer.canceled && answer.watch_id == 3;
            if !answer.events.is_empty() {
                missing.remove(&answer.watch_id);
                replayed += usize::from(answer.watch_id == 1000) * answer.events.len();
            }
            // What was on its way, then each in turn.
            assert!(replayed < 30, "{replayed} events of the replay came first");
        }
        let rest = client.read_all().await;
        assert_eq!(replayed + events(&rest, 1000), 500);
    });
}
