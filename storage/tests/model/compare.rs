//! A view against the model.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use prost::Message;
use vetch_proto::etcdserverpb::range_request::SortOrder;
use vetch_proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest};
use vetch_storage::error::ReadError;
use vetch_storage::mvcc::key_range::KeyRange;
use vetch_storage::testing::Model;
use vetch_storage::{
    Applied, ApplyError, Engine, Event, EventBatch, ReadView, Revision, RevisionKey,
};

pub(crate) type Checked<T = ()> = Result<T, TestCaseError>;

/// What is known of the compactor's work, which nobody sees but in two places: hashes of compacted
/// revisions, and what the compacted revision itself has superseded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Background {
    /// At least so many compactions have taken their hash.
    pub(crate) hashed: usize,
    /// All of them have, and all deletions are done.
    pub(crate) deleted: bool,
}

/// The client's answer; anything else ends the test.
fn refusal<T>(result: Result<T, ReadError>) -> Result<T, ApplyError> {
    result.map_err(|error| match error {
        ReadError::Refused(refusal) => refusal,
        ReadError::Fatal(fatal) => panic!("{fatal}"),
    })
}

/// What one entry did.
pub(crate) fn applied(found: &Applied, expected: &Applied) -> Checked {
    prop_assert_eq!(found.id, expected.id);
    prop_assert_eq!(&found.response, &expected.response, "answer to entry {}", found.id.index);
    prop_assert_eq!(found.revision, expected.revision, "entry {}", found.id.index);
    prop_assert_eq!(&found.events, &expected.events, "events of entry {}", found.id.index);
    prop_assert_eq!(&found.lease_changes, &expected.lease_changes, "entry {}", found.id.index);
    Ok(())
}

/// The state as it is.
pub(crate) fn state<E: Engine>(view: &ReadView<E>, model: &Model) -> Checked {
    prop_assert_eq!(view.applied(), model.applied());
    prop_assert_eq!(view.revision(), model.revision());
    prop_assert_eq!(view.compact_revision(), model.compactions().last().copied());
    prop_assert_eq!(view.leases().iter().cloned().collect::<Vec<_>>(), model.leases());
    prop_assert_eq!(view.alarms().iter().collect::<Vec<_>>(), model.alarms());
    prop_assert_eq!(view.members().iter().cloned().collect::<Vec<_>>(), model.members());
    prop_assert_eq!(view.members().removed().collect::<Vec<_>>(), model.removed_members());
    prop_assert_eq!(view.cluster_version(), model.cluster_version());
    range(view, model, &everything(0))
}

fn everything(revision: i64) -> RangeRequest {
    // The empty key too, if there were one.
    let (key, range_end) = (Bytes::new(), Bytes::from_static(b"\0"));
    RangeRequest { key, range_end, revision, ..RangeRequest::default() }
}

/// All there is to ask of a view.
pub(crate) fn history<E: Engine>(
    view: &ReadView<E>,
    model: &Model,
    background: &mut Background,
) -> Checked {
    state(view, model)?;
    reads(view, model, *background)?;
    hashes(view, model, background)
}

/// Every readable revision, and those around them: keys and events; every limit; everything stored.
pub(crate) fn reads<E: Engine>(
    view: &ReadView<E>,
    model: &Model,
    background: Background,
) -> Checked {
    let oldest = model.compactions().last().map_or(1, |compacted| compacted.0);
    for revision in oldest - 2..=model.revision().0 + 1 {
        keys_at(view, model, revision)?;
    }
    let keys = i64::try_from(view.index().live_len()).expect("a test's stores are small");
    for limit in 1..=keys + 1 {
        for sort_order in [SortOrder::None, SortOrder::Descend] {
            let order = sort_order.into();
            range(view, model, &RangeRequest { limit, sort_order: order, ..everything(0) })?;
        }
    }
    let all = (b"".as_slice(), b"\0".as_slice());
    let whole = (usize::MAX, usize::MAX);
    for revision in [oldest - 2, oldest - 1, oldest, oldest + 1, model.revision().0 + 1] {
        events(view, model, all, Revision(revision), whole, background)?;
    }
    let page = |from| view.events(&KeyRange::From(Bytes::new()), from, usize::MAX, usize::MAX);
    let from_oldest = page(Revision(oldest)).expect("it is readable").batches;
    for from in (oldest..=model.revision().0).map(Revision) {
        let later = from_oldest.iter().filter(|batch| batch.revision >= from);
        let found = page(from).expect("it is readable").batches;
        prop_assert!(found.iter().eq(later), "events from {}: {:?}", from, found);
    }
    let versions: Result<Vec<_>, _> = view.versions().collect();
    prop_assert_eq!(versions.expect("reads succeed"), model.versions());
    Ok(())
}

fn keys_at<E: Engine>(view: &ReadView<E>, model: &Model, revision: i64) -> Checked {
    let request = everything(revision);
    let found = refusal(view.range(&request)).map(|mut answer| {
        let kvs = answer.next_records(usize::MAX).expect("reads succeed");
        (answer.count(), kvs)
    });
    let expected = model.range(&request).map(|answer| (answer.kvs.len() as u64, answer.kvs));
    prop_assert_eq!(found, expected, "keys at revision {}", revision);
    Ok(())
}

/// What is counted as live once all garbage is gone.
pub(crate) fn live_bytes<E: Engine>(view: &ReadView<E>, model: &Model) -> Checked {
    // Two keys, a value, and a constant for what is around them.
    let bytes = |(key, value): &(Bytes, usize)| 2 * key.len() as u64 + *value as u64 + 48;
    let expected: u64 = model.stored().iter().map(bytes).sum();
    prop_assert_eq!(view.sizes().live, expected, "live bytes");
    Ok(())
}

/// Keys in the index, deleted ones included, once all garbage is gone: those with anything on disk.
pub(crate) fn index_size<E: Engine>(view: &ReadView<E>, model: &Model) -> Checked {
    let keys: BTreeSet<Bytes> = model.stored().into_iter().map(|(key, _)| key).collect();
    prop_assert_eq!(view.index().len(), keys.len(), "keys in the index");
    Ok(())
}

/// There must be one number of compactions that have taken their hash which explains every answer.
fn hashes<E: Engine>(view: &ReadView<E>, model: &Model, background: &mut Background) -> Checked {
    let compactions = model.compactions().len();
    let asked: Vec<Revision> = (-1..=model.revision().0 + 1).map(Revision).collect();
    let found: Vec<_> = asked.iter().map(|asked| refusal(view.hash_kv(*asked))).collect();
    let expected = |hashed: usize| -> Vec<_> {
        asked.iter().map(|asked| model.hash_kv(*asked, hashed)).collect()
    };
    let at_least = if background.deleted { compactions } else { background.hashed };
    let Some(hashed) = (at_least..=compactions).find(|hashed| expected(*hashed) == found) else {
        prop_assert_eq!(found, expected(compactions), "{:?}", background);
        unreachable!("all compactions are among those tried")
    };
    background.hashed = hashed;
    Ok(())
}

/// One range, read in every way a view offers.
pub(crate) fn range<E: Engine>(
    view: &ReadView<E>,
    model: &Model,
    request: &RangeRequest,
) -> Checked {
    let expected = match (refusal(view.range(request)), model.range(request)) {
        (Ok(_), Ok(expected)) => expected,
        (found, expected) => {
            prop_assert_eq!(found.err(), expected.err(), "{:?}", request);
            return Ok(());
        }
    };
    let open = || view.range(request).expect("it succeeded before");
    let mut answer = open();
    prop_assert_eq!(i64::try_from(answer.count()), Ok(expected.count), "count of {:?}", request);
    prop_assert_eq!(answer.more(), expected.more, "more of {:?}", request);
    prop_assert_eq!(answer.remaining(), expected.kvs.len());
    prop_assert_eq!(answer.revision(), model.revision());
    let kvs = answer.next_records(usize::MAX).expect("reads succeed");
    prop_assert_eq!(&kvs, &expected.kvs, "{:?}", request);

    let mut pieces = open();
    let mut kvs = Vec::new();
    while pieces.remaining() > 0 {
        kvs.extend(pieces.next_records(2).expect("reads succeed"));
    }
    prop_assert_eq!(&kvs, &expected.kvs, "in pieces: {:?}", request);

    let mut stream = open();
    let length = stream.encoded_len();
    let mut encoded = Vec::new();
    while stream.remaining() > 0 {
        encoded.extend(stream.next_chunk(30).expect("reads succeed"));
    }
    let message = RangeResponse { kvs: expected.kvs, ..RangeResponse::default() };
    prop_assert_eq!(encoded.len() as u64, length);
    prop_assert_eq!(encoded, message.encode_to_vec(), "encoded: {:?}", request);
    Ok(())
}

/// A transaction that only reads.
pub(crate) fn read_txn<E: Engine>(
    view: &ReadView<E>,
    model: &Model,
    request: &TxnRequest,
) -> Checked {
    let found = refusal(view.read_txn(request));
    prop_assert_eq!(found, model.read_txn(request), "{:?}", request);
    Ok(())
}

/// The events of a range from a revision on, in pages of about `size.0` bytes and `size.1` revisions.
pub(crate) fn events<E: Engine>(
    view: &ReadView<E>,
    model: &Model,
    (start, end): (&[u8], &[u8]),
    from: Revision,
    size: (usize, usize),
    background: Background,
) -> Checked {
    let range = KeyRange::new(start.to_vec().into(), end.to_vec().into());
    let mut found = Vec::new();
    let mut next = from;
    loop {
        let page = match refusal(view.events(&range, next, size.0, size.1)) {
            Ok(page) => page,
            Err(error) => {
                let expected = model.events(start, end, from, background.deleted);
                prop_assert_eq!(Err(error), expected);
                return Ok(());
            }
        };
        found.extend(page.batches.iter().map(|batch| EventBatch::clone(batch)));
        let advances = if next <= view.revision() { page.next > next } else { page.next == next };
        prop_assert!(advances, "from {next} to {}", page.next);
        next = page.next;
        if next > view.revision() {
            break;
        }
    }
    prop_assert_eq!(next, from.max(Revision(model.revision().0 + 1)));
    let left = model.events(start, end, from, true);
    let all = model.events(start, end, from, false);
    let (Ok(left), Ok(all)) = (left, all) else {
        prop_assert!(false, "events from {from} were given, but are compacted");
        return Ok(());
    };
    is_between(&found, &left, if background.deleted { &left } else { &all })?;
    found.iter().try_for_each(|batch| records(view, model, batch, background))
}

/// Whether `found` has all of `least`, nothing but what is in `most`, and in that order.
fn is_between(found: &[EventBatch], least: &[EventBatch], most: &[EventBatch]) -> Checked {
    if least == most {
        prop_assert_eq!(found, most);
        return Ok(());
    }
    let flat = |batches: &[EventBatch]| -> Vec<Event> {
        batches.iter().flat_map(|batch| batch.events.clone()).collect()
    };
    let (found, least) = (flat(found), flat(least));
    let mut rest = found.iter();
    let mut needed = least.iter().peekable();
    let mut next = rest.next();
    for event in flat(most) {
        if next != Some(&event) {
            continue;
        }
        if needed.peek() == Some(&&event) {
            needed.next();
        }
        next = rest.next();
    }
    prop_assert!(next.is_none() && needed.peek().is_none(), "{:?} of {:?}", found, most);
    Ok(())
}

/// What `prev_kv` would show with each event.
fn records<E: Engine>(
    view: &ReadView<E>,
    model: &Model,
    batch: &EventBatch,
    background: Background,
) -> Checked {
    for event in &batch.events {
        let Some(previous) = event.previous else { continue };
        let read = |at: RevisionKey| view.record(event.key(), at).expect("reads succeed");
        let (found, expected) = (read(previous), model.record(event.key(), previous));
        if model.is_kept(event.key(), previous) {
            prop_assert_eq!(found, expected);
        } else {
            let may_be_there = found == expected && !background.deleted;
            prop_assert!(found.is_none() || may_be_there, "{:?}", found);
        }
    }
    Ok(())
}
