//! Reads.

use std::cmp::Ordering;

use bytes::Bytes;
use vetch_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use vetch_proto::etcdserverpb::{RangeRequest, RangeResponse};
use vetch_proto::mvccpb::KeyValue;

use super::{Model, write};
use crate::error::ApplyError;
use crate::event::Event;
use crate::types::Revision;

impl Model {
    /// The answer to a valid range request outside a transaction. §2: the header has the current
    /// revision, whichever was asked for; zero and below ask for the newest.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ApplyError> {
        if request.revision > self.revision.0 {
            return Err(ApplyError::FutureRevision { current: self.revision });
        }
        if request.revision > 0 {
            self.check_compacted(Revision(request.revision))?;
        }
        Ok(self.read(request, &[]))
    }

    /// Reads, in a transaction that has made `changes` so far. §2: collect the range in key order,
    /// count, filter, sort, cut.
    pub(super) fn read(&self, request: &RangeRequest, changes: &[Event]) -> RangeResponse {
        let at = if request.revision > 0 { request.revision } else { i64::MAX };
        let found = self.state_at(&request.key, &request.range_end, Revision(at));
        // §2: the count knows neither limit nor filters.
        let mut response = RangeResponse {
            header: Some(write::header(self.revision_in(changes))),
            count: i64::try_from(found.len()).expect("a test's stores are small"),
            ..RangeResponse::default()
        };
        // §2: nothing else of the request counts then.
        if request.count_only {
            return response;
        }
        let mut rows: Vec<&KeyValue> = found;
        let limit = usize::try_from(request.limit).unwrap_or(0);
        // §2, as etcd is built: a request without order and filters is cut, to one more than the
        // limit, before it is sorted; this shows when it names a target other than the key.
        if limit > 0 && request.sort_order == i32::from(SortOrder::None) && !has_filter(request) {
            rows.truncate(limit + 1);
        }
        rows.retain(|kv| passes(request, kv));
        sort(request, &mut rows);
        if limit > 0 {
            response.more = rows.len() > limit;
            rows.truncate(limit);
        }
        response.kvs = rows.into_iter().map(|kv| shown(request, kv)).collect();
        response
    }
}

fn has_filter(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// §2: bounds on revisions are inclusive, and zero is no bound.
fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within =
        |revision, min, max| (min == 0 || revision >= min) && (max == 0 || revision <= max);
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
}

/// §2: without an order it ascends. Ties, whose order etcd does not promise, ascend by key.
fn sort(request: &RangeRequest, rows: &mut [&KeyValue]) {
    let compare = |a: &KeyValue, b: &KeyValue| match SortTarget::try_from(request.sort_target) {
        Ok(SortTarget::Key) | Err(_) => a.key.cmp(&b.key),
        Ok(SortTarget::Version) => a.version.cmp(&b.version),
        Ok(SortTarget::Create) => a.create_revision.cmp(&b.create_revision),
        Ok(SortTarget::Mod) => a.mod_revision.cmp(&b.mod_revision),
        Ok(SortTarget::Value) => a.value.cmp(&b.value),
    };
    let descends = request.sort_order == i32::from(SortOrder::Descend);
    rows.sort_by(|a, b| {
        let order = compare(a, b);
        let order = if descends { order.reverse() } else { order };
        if order == Ordering::Equal { a.key.cmp(&b.key) } else { order }
    });
}

/// §2: `keys_only` leaves out the value and, since etcd 3.7 answers it from its index, the lease;
/// unless the order needs values, which the index has not.
fn shown(request: &RangeRequest, kv: &KeyValue) -> KeyValue {
    let mut kv = kv.clone();
    if request.keys_only {
        kv.value = Bytes::new();
        if request.sort_target != i32::from(SortTarget::Value) {
            kv.lease = 0;
        }
    }
    kv
}
