//! The order of an answer.

use std::cmp::Ordering;

use vetch_proto::etcdserverpb::RangeRequest;
use vetch_proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::selection::Row;

/// How a request wants its records, apart from which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) target: SortTarget,
    descending: bool,
}

impl Order {
    /// `None` for key order. An order of NONE on another target than the key is ascending.
    pub(super) fn of(request: &RangeRequest) -> Option<Self> {
        // Unknown numbers are refused before the log; here they must only mean the same everywhere.
        let target = SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key);
        let descending = SortOrder::try_from(request.sort_order) == Ok(SortOrder::Descend);
        (target != SortTarget::Key || descending).then_some(Self { target, descending })
    }

    /// Sorts rows that are in key order; ties stay in key order.
    pub(super) fn sort(self, rows: &mut [Row]) {
        let by = |a: &Row, b: &Row| match self.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.entry.version.cmp(&b.entry.version),
            SortTarget::Create => a.entry.created.cmp(&b.entry.created),
            SortTarget::Mod => a.entry.modified.main.cmp(&b.entry.modified.main),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        let by =
            |a: &Row, b: &Row| -> Ordering { if self.descending { by(b, a) } else { by(a, b) } };
        rows.sort_by(by);
    }
}
