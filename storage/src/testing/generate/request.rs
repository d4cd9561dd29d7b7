//! Requests.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vetch_proto::etcdserverpb::compare::TargetUnion;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::types::Revision;

/// Leases that may come to be; 77 never does.
pub(super) const LEASES: [i64; 5] = [1, 2, -3, i64::MAX, 77];

/// Keys with all bytes that mean something to an encoding, some a part of others, and two that agree
/// further than an engine's keys are long.
pub fn keys() -> impl Strategy<Value = Bytes> {
    const SHORT: [&[u8]; 11] = [
        b"a",
        b"b",
        b"ab",
        b"a\0",
        b"a\x01",
        b"a\xff",
        b"\0",
        b"\x01",
        b"\0\x01\0",
        b"\xff",
        b"\xff\xff",
    ];
    let long = |last: u8| Bytes::from([vec![b'a'; 49 << 10], vec![last]].concat());
    prop_oneof![
        300 => select(&SHORT[..]).prop_map(Bytes::from_static),
        1 => select(vec![long(b'x'), long(b'y')]),
    ]
}

/// `key` and `range_end`: single keys, half-open ranges (some of them backwards), prefixes, from a key
/// on, everything.
pub fn ranges() -> impl Strategy<Value = (Bytes, Bytes)> {
    prop_oneof![
        3 => keys().prop_map(|key| (key, Bytes::new())),
        3 => (keys(), keys()),
        2 => keys().prop_map(|key| {
            let end = prefix_end(&key);
            (key, end)
        }),
        1 => keys().prop_map(|key| (key, Bytes::from_static(b"\0"))),
        1 => Just((Bytes::from_static(b"\0"), Bytes::from_static(b"\0"))),
    ]
}

/// The end clients use for a prefix: its last byte that is not ff raised by one, a zero byte if there
/// is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|byte| *byte != 0xff) else {
        return Bytes::from_static(b"\0");
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Bytes::from(end)
}

fn values() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        6 => select(vec!["", "a", "b", "c"]).prop_map(Bytes::from),
        2 => vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![7; 5_000])),
    ]
}

pub(super) fn lease_ids() -> impl Strategy<Value = i64> {
    select(&LEASES[..])
}

fn lease_or_none() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 2 => lease_ids()]
}

/// Drafts of revisions: mostly none, few below.
fn revisions() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0), 1 => -2_i64..0, 6 => 1_i64..14]
}

/// Puts, with flags and a lease that may not exist.
pub fn puts() -> impl Strategy<Value = PutRequest> {
    let flag = || proptest::bool::weighted(0.15);
    (keys(), values(), lease_or_none(), any::<bool>(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

/// Deletions.
pub fn deletes() -> impl Strategy<Value = DeleteRangeRequest> {
    (ranges(), any::<bool>()).prop_map(|((key, range_end), prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

/// Drafts of ranges with every option.
pub fn range_requests() -> impl Strategy<Value = RangeRequest> {
    let bound = || prop_oneof![3 => Just(0), 2 => 1_i64..14];
    let rare = || proptest::bool::weighted(0.15);
    let bounds = prop_oneof![
        2 => Just((0, 0, 0, 0)),
        1 => (bound(), bound(), bound(), bound()),
    ];
    let order = (0..3_i32, prop_oneof![3 => Just(0_i32), 4 => 1..5_i32]);
    (ranges(), -1_i64..5, revisions(), order, any::<bool>(), rare(), rare(), bounds).prop_map(
        |(range, limit, revision, order, serializable, keys_only, count_only, bounds)| {
            RangeRequest {
                key: range.0,
                range_end: range.1,
                limit,
                revision,
                sort_order: order.0,
                sort_target: order.1,
                serializable,
                keys_only,
                count_only,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            }
        },
    )
}

/// Compares of every target, with a union that may be absent or of another target, and numbers that
/// mean nothing.
fn compares() -> impl Strategy<Value = Compare> {
    let union = prop_oneof![
        (0_i64..4).prop_map(|version| Some(TargetUnion::Version(version))),
        (0_i64..14).prop_map(|revision| Some(TargetUnion::CreateRevision(revision))),
        (0_i64..14).prop_map(|revision| Some(TargetUnion::ModRevision(revision))),
        values().prop_map(|value| Some(TargetUnion::Value(value))),
        lease_or_none().prop_map(|lease| Some(TargetUnion::Lease(lease))),
        Just(None),
    ];
    let number = |known: i32| prop_oneof![30 => 0..known, 1 => Just(99)];
    (number(4), number(5), ranges(), union, any::<bool>()).prop_map(
        |(result, target, (key, range_end), union, fits)| {
            // A union chosen at random seldom fits its target.
            let target = match &union {
                Some(union) if fits => target_of(union),
                Some(_) | None => target,
            };
            Compare { result, target, key, range_end, target_union: union }
        },
    )
}

fn target_of(union: &TargetUnion) -> i32 {
    match union {
        TargetUnion::Version(_) => 0,
        TargetUnion::CreateRevision(_) => 1,
        TargetUnion::ModRevision(_) => 2,
        TargetUnion::Value(_) => 3,
        TargetUnion::Lease(_) => 4,
    }
}

fn txn_of(operations: BoxedStrategy<RequestOp>) -> BoxedStrategy<TxnRequest> {
    (vec(compares(), 0..3), vec(operations.clone(), 0..5), vec(operations, 0..3))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
        .boxed()
}

fn operation(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Drafts of transactions, nested up to twice, whether or not they may enter a log.
pub fn any_txns() -> impl Strategy<Value = TxnRequest> {
    let flat = prop_oneof![
        4 => puts().prop_map(|put| operation(Request::RequestPut(put))),
        2 => deletes().prop_map(|delete| operation(Request::RequestDeleteRange(delete))),
        4 => range_requests().prop_map(|range| operation(Request::RequestRange(range))),
    ]
    .boxed();
    let nest = |inner: BoxedStrategy<RequestOp>| {
        let nested = txn_of(inner.clone()).prop_map(|txn| operation(Request::RequestTxn(txn)));
        prop_oneof![3 => inner, 1 => nested].boxed()
    };
    txn_of(nest(nest(flat)))
}

/// Drafts of transactions that only read, nested ones among them.
pub fn read_txns() -> impl Strategy<Value = TxnRequest> {
    let ranges = range_requests().prop_map(|range| operation(Request::RequestRange(range)));
    let ranges = ranges.boxed();
    let nested = txn_of(ranges.clone()).prop_map(|txn| operation(Request::RequestTxn(txn)));
    txn_of(prop_oneof![4 => ranges, 1 => nested].boxed())
}

/// A drafted revision in a store whose newest is `current`.
pub(super) fn settle(draft: &mut i64, current: Revision) {
    if *draft > 0 {
        *draft = current.0 + 2 - *draft;
    }
}

/// Turns a drafted range into one of a store whose newest revision is `current`.
pub fn settle_range(range: &mut RangeRequest, current: Revision) {
    for draft in [
        &mut range.revision,
        &mut range.min_mod_revision,
        &mut range.max_mod_revision,
        &mut range.min_create_revision,
        &mut range.max_create_revision,
    ] {
        settle(draft, current);
    }
}

/// The same for a drafted transaction.
pub fn settle_txn(txn: &mut TxnRequest, current: Revision) {
    for compare in &mut txn.compare {
        match &mut compare.target_union {
            Some(TargetUnion::CreateRevision(draft) | TargetUnion::ModRevision(draft)) => {
                settle(draft, current);
            }
            Some(TargetUnion::Version(_) | TargetUnion::Value(_) | TargetUnion::Lease(_))
            | None => {}
        }
    }
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.request {
            Some(Request::RequestRange(range)) => settle_range(range, current),
            Some(Request::RequestTxn(nested)) => settle_txn(nested, current),
            Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) | None => {}
        }
    }
}
