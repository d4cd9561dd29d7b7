//! semantics: events, live and from history.

use std::sync::Arc;

use vetch_proto::vetchpb::proposal::Command;

use super::rig::*;
use crate::event::{EventBatch, EventKind};
use crate::mvcc::key_range::KeyRange;
use crate::types::Revision;

/// Puts, deletions, a txn and a revoke; the events that apply gave out.
fn busy() -> (Rig, Vec<Arc<EventBatch>>) {
    let mut rig = Rig::new();
    rig.grant(7, 60).unwrap();
    let mut events = Vec::new();
    for command in [
        Command::Put(put("a", "1")),
        Command::Put(put("a", "2")),
        Command::Put(leased("c", 7)),
        Command::Put(leased("b", 7)),
        Command::Txn(then(vec![put_op("d", "1"), delete_op("a", ""), put_op("e", "1")])),
        Command::DeleteRange(delete("d", "f")),
        Command::Put(put("a", "3")),
    ] {
        events.extend(rig.propose(command).events);
    }
    events.extend(rig.revoke(7).events);
    (rig, events)
}

#[test]
fn history_gives_the_same_events_as_apply_did() {
    let (rig, live) = busy();
    let everything = KeyRange::From(bytes(""));
    let page = rig.view().events(&everything, Revision(1), usize::MAX, usize::MAX).unwrap();
    assert_eq!(page.batches, live);
    assert_eq!(page.next, Revision(rig.revision() + 1));
    let rig = rig.reopen();
    let again = rig.view().events(&everything, Revision(1), usize::MAX, usize::MAX).unwrap();
    assert_eq!(again.batches, live);
}

#[test]
fn history_from_before_the_first_revision_is_all_of_it() {
    let (rig, live) = busy();
    let everything = KeyRange::From(bytes(""));
    for from in [0, -1, i64::MIN] {
        let page = rig.view().events(&everything, Revision(from), usize::MAX, usize::MAX).unwrap();
        assert_eq!((page.batches, page.next), (live.clone(), Revision(rig.revision() + 1)));
    }
}

#[test]
fn a_deletion_carries_key_and_revision_only_and_a_put_the_whole_record() {
    let (_, live) = busy();
    let batch = live.iter().find(|batch| batch.revision == Revision(6)).unwrap();
    let kinds: Vec<EventKind> = batch.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Put, EventKind::Delete, EventKind::Put]);
    let deletion = &batch.events[1].kv;
    assert_eq!((deletion.key.clone(), deletion.mod_revision), (bytes("a"), 6));
    assert_eq!((deletion.version, deletion.create_revision, deletion.value.len()), (0, 0, 0));
    let put = &batch.events[2];
    assert!(put.is_create() && put.previous.is_none());
    assert_eq!((put.kv.version, put.kv.create_revision), (1, 6));
    let previous = batch.events[1].previous.unwrap();
    assert_eq!(previous.main, Revision(3));
}

#[test]
fn prev_kv_is_read_through_previous_until_it_is_compacted() {
    let (mut rig, live) = busy();
    let change = &live[1].events[0];
    let previous = change.previous.unwrap();
    let record = rig.view().record(b"a", previous).unwrap().unwrap();
    assert_eq!((record.value, record.mod_revision), (bytes("1"), 2));
    rig.compact(3).unwrap();
    rig.reclaim(1000);
    assert_eq!(rig.view().record(b"a", previous).unwrap(), None);
}

#[test]
fn a_creation_after_a_deletion_has_no_previous() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.delete("a", "");
    let applied = rig.propose(Command::Put(put("a", "2")));
    assert_eq!(applied.events[0].events[0].previous, None);
    assert!(applied.events[0].events[0].is_create());
}

#[test]
fn only_events_inside_the_range_are_given() {
    let (rig, _) = busy();
    let only = |range: KeyRange| -> Vec<i64> {
        let page = rig.view().events(&range, Revision(1), usize::MAX, usize::MAX).unwrap();
        page.batches.iter().map(|batch| batch.revision.0).collect()
    };
    assert_eq!(only(KeyRange::Single(bytes("a"))), [2, 3, 6, 8]);
    assert_eq!(only(KeyRange::HalfOpen { start: bytes("b"), end: bytes("d") }), [4, 5, 9]);
    assert_eq!(only(KeyRange::Single(bytes("nothing"))), [0; 0]);
}

#[test]
fn pages_never_split_a_revision_and_join_to_the_whole() {
    let (rig, live) = busy();
    let everything = KeyRange::From(bytes(""));
    for (bytes, revisions) in [(0, usize::MAX), (1, usize::MAX), (usize::MAX, 1), (10, 2)] {
        let mut next = Revision(1);
        let mut joined = Vec::new();
        while next <= rig.view().revision() {
            let page = rig.view().events(&everything, next, bytes, revisions).unwrap();
            assert!(page.next > next);
            joined.extend(page.batches);
            next = page.next;
        }
        assert_eq!(joined, live);
    }
    let beyond = rig.view().events(&everything, Revision(99), 0, 0).unwrap();
    assert_eq!((beyond.batches.len(), beyond.next), (0, Revision(99)));
}

#[test]
fn a_refused_command_gives_no_events() {
    let mut rig = Rig::new();
    let applied = rig.propose(Command::Put(leased("a", 1)));
    assert!(applied.response.is_err() && applied.events.is_empty());
    assert_eq!(applied.revision, Revision(1));
}
