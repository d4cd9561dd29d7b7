//! Whether a compare holds.

use std::cmp::Ordering;

use bytes::Bytes;
use vetch_proto::etcdserverpb::Compare;
use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::engine::Engine;
use crate::error::Fatal;
use crate::mvcc::index::IndexEntry;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::reader::Reader;

/// Whether a compare holds for every key of its range. An empty range is one absent key; an absent
/// key has zero for everything but its value, for which no comparison holds.
pub(super) fn holds<E: Engine>(reader: &Reader<'_, E>, compare: &Compare) -> Result<bool, Fatal> {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    if let KeyRange::Single(key) = &range {
        return match reader.live(key) {
            Some(entry) => entry_holds(reader, compare, key, &entry),
            None => Ok(absent_holds(compare)),
        };
    }
    let mut empty = true;
    for (key, entry) in reader.index.range(&range).filter(|(_, entry)| !entry.tombstone) {
        empty = false;
        if !entry_holds(reader, compare, &key, &entry)? {
            return Ok(false);
        }
    }
    Ok(!empty || absent_holds(compare))
}

fn entry_holds<E: Engine>(
    reader: &Reader<'_, E>,
    compare: &Compare,
    key: &Bytes,
    entry: &IndexEntry,
) -> Result<bool, Fatal> {
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let wanted = match &compare.target_union {
                Some(TargetUnion::Value(value)) => value.as_ref(),
                Some(_) | None => &[],
            };
            reader.version(key, entry.modified)?.value.as_ref().cmp(wanted)
        }
        Ok(CompareTarget::Version) => entry.version.0.cmp(&number(compare)),
        Ok(CompareTarget::Create) => entry.created.0.cmp(&number(compare)),
        Ok(CompareTarget::Mod) => entry.modified.main.0.cmp(&number(compare)),
        Ok(CompareTarget::Lease) => entry.lease.0.cmp(&number(compare)),
        Err(_unknown) => Ordering::Equal,
    };
    Ok(ordering_holds(compare, ordering))
}

fn absent_holds(compare: &Compare) -> bool {
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => false,
        Ok(
            CompareTarget::Version
            | CompareTarget::Create
            | CompareTarget::Mod
            | CompareTarget::Lease,
        ) => ordering_holds(compare, 0.cmp(&number(compare))),
        Err(_unknown) => ordering_holds(compare, Ordering::Equal),
    }
}

/// The number to compare with; 0 when the union is absent or of another target.
fn number(compare: &Compare) -> i64 {
    match (CompareTarget::try_from(compare.target), &compare.target_union) {
        (Ok(CompareTarget::Version), Some(TargetUnion::Version(number)))
        | (Ok(CompareTarget::Create), Some(TargetUnion::CreateRevision(number)))
        | (Ok(CompareTarget::Mod), Some(TargetUnion::ModRevision(number)))
        | (Ok(CompareTarget::Lease), Some(TargetUnion::Lease(number))) => *number,
        (_, _) => 0,
    }
}

fn ordering_holds(compare: &Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Err(_unknown) => true,
    }
}
