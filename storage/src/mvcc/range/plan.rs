//! A range request worked out, and how much of it has been handed out.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encoded_len_varint;
use vetch_proto::etcdserverpb::range_request::SortTarget;
use vetch_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use vetch_proto::mvccpb::KeyValue;

use super::order::Order;
use super::records::{encode_field, read, read_values, record_len, shown_lease};
use super::selection::{Filters, Row, Selection};
use crate::engine::Engine;
use crate::error::{Fatal, ReadError};
use crate::mvcc::index::Index;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::reader::Reader;

/// Records looked up in the index at once.
const WINDOW: usize = 1024;

/// A range request worked out against one state, and how much of it has been handed out.
#[derive(Debug)]
pub(crate) struct RangePlan {
    selection: Selection,
    /// What the window has not been filled from yet; `None` when all of it has.
    rest: Option<KeyRange>,
    window: VecDeque<Row>,
    /// Rows to hand out, those of the window included.
    left: usize,
    /// Bytes of these rows, once somebody has asked.
    bytes_left: OnceLock<u64>,
    count: u64,
    more: bool,
    keys_only: bool,
    with_lease: bool,
}

impl RangePlan {
    /// Works a request out. Reads values only to sort by them.
    pub(crate) fn new<E: Engine>(
        reader: &Reader<'_, E>,
        request: &RangeRequest,
    ) -> Result<Self, ReadError> {
        let at = reader.resolve(request.revision)?;
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let undo = reader.undo_since(&range, at)?;
        let selection = Selection { range, at, undo, filters: Filters::of(request) };
        let mut plan = Self {
            count: selection.count(reader.index),
            rest: None,
            window: VecDeque::new(),
            left: 0,
            bytes_left: OnceLock::new(),
            more: false,
            keys_only: request.keys_only,
            with_lease: !request.keys_only || request.sort_target == i32::from(SortTarget::Value),
            selection,
        };
        if request.count_only {
            return Ok(plan);
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        match Order::of(request) {
            Some(order) => plan.select_sorted(reader, order, limit, request.sort_order == 0)?,
            None => plan.select_in_key_order(reader, limit)?,
        }
        Ok(plan)
    }

    fn select_in_key_order<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        limit: Option<usize>,
    ) -> Result<(), Fatal> {
        let limit = limit.unwrap_or(usize::MAX);
        let matching = if self.selection.filters.any() {
            self.selection.resolve(reader, usize::MAX)?;
            // One more than the limit tells `more`.
            let rows = self.selection.rows(reader.index, &self.selection.range);
            rows.take(limit.saturating_add(1)).count()
        } else {
            self.selection.resolve(reader, limit)?;
            usize::try_from(self.count).expect("keys are counted in memory")
        };
        self.left = matching.min(limit);
        self.more = matching > limit;
        self.rest = Some(self.selection.range.clone());
        self.fill(reader.index);
        Ok(())
    }

    fn select_sorted<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        order: Order,
        limit: Option<usize>,
        order_unset: bool,
    ) -> Result<(), Fatal> {
        // etcd cuts before it sorts when the request names a target but no order and no filter.
        let cut_first = order_unset && !self.selection.filters.any();
        let take = match limit {
            Some(limit) if cut_first => limit.saturating_add(1),
            Some(_) | None => usize::MAX,
        };
        self.selection.resolve(reader, take)?;
        let tail = self.tail_for(reader.index, order, limit);
        let mut rows: Vec<Row> = self
            .selection
            .rows(reader.index, tail.as_ref().unwrap_or(&self.selection.range))
            .take(take)
            .collect();
        if order.target == SortTarget::Value {
            read_values(reader, &mut rows)?;
        }
        order.sort(&mut rows);
        let limit = limit.unwrap_or(usize::MAX);
        self.more = rows.len() > limit || tail.is_some();
        rows.truncate(limit);
        self.left = rows.len();
        self.window = rows.into();
        Ok(())
    }

    /// The end of the range that the last `limit` live keys are in, where descending key order and a
    /// limit ask for no more than that.
    fn tail_for(&self, index: &Index, order: Order, limit: Option<usize>) -> Option<KeyRange> {
        let selection = &self.selection;
        let plain = selection.undo.is_empty() && !selection.filters.any();
        let skip = self.count.checked_sub(limit? as u64).filter(|skip| *skip > 0)?;
        if !plain || order.target != SortTarget::Key {
            return None;
        }
        let (start, _) = index.nth_live(&selection.range, skip)?;
        Some(match &selection.range {
            KeyRange::Single(_) => return None,
            KeyRange::HalfOpen { end, .. } => KeyRange::HalfOpen { start, end: end.clone() },
            KeyRange::From(_) => KeyRange::From(start),
        })
    }

    /// Keys in the range, whatever limit and filters say.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether the limit cut something off.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// Records still to come.
    pub(crate) fn remaining(&self) -> usize {
        self.left
    }

    /// Bytes of all remaining records as `kvs` fields.
    pub(crate) fn encoded_len(&self, index: &Index) -> u64 {
        *self.bytes_left.get_or_init(|| {
            let window: u64 = self.window.iter().map(|row| self.field_len(row)).sum();
            let behind = self.left - self.window.len();
            let rest: u64 = match &self.rest {
                Some(rest) if behind > 0 => self
                    .selection
                    .rows(index, rest)
                    .take(behind)
                    .map(|row| self.field_len(&row))
                    .sum(),
                Some(_) | None => 0,
            };
            window + rest
        })
    }

    /// The next records as encoded `kvs` fields; see `RangeAnswer::next_chunk`.
    pub(crate) fn next_chunk<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        budget: usize,
    ) -> Result<Bytes, Fatal> {
        let mut out = BytesMut::new();
        while self.left > 0 && (out.is_empty() || out.len() < budget) {
            self.fill(reader.index);
            let mut bytes = 0;
            let rows = self
                .window
                .iter()
                .take_while(|row| {
                    let fits = bytes == 0 || out.len() as u64 + bytes < budget as u64;
                    bytes += self.field_len(row);
                    fits
                })
                .count();
            let rows: Vec<Row> = self.window.drain(..rows).collect();
            let bytes: u64 = rows.iter().map(|row| self.field_len(row)).sum();
            out.reserve(usize::try_from(bytes).expect("a chunk fits in memory"));
            let (keys_only, with_lease) = (self.keys_only, self.with_lease);
            read(reader, &rows, keys_only, |row, value| {
                encode_field(row, &value, with_lease, &mut out);
            })?;
            self.hand_out(rows.len(), bytes);
        }
        Ok(out.freeze())
    }

    /// The next at most `limit` records, decoded.
    pub(crate) fn next_records<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, Fatal> {
        let mut records = Vec::with_capacity(self.left.min(limit));
        while self.left > 0 && records.len() < limit {
            self.fill(reader.index);
            let take = self.window.len().min(limit - records.len());
            let rows: Vec<Row> = self.window.drain(..take).collect();
            let bytes: u64 = rows.iter().map(|row| self.field_len(row)).sum();
            let (keys_only, with_lease) = (self.keys_only, self.with_lease);
            read(reader, &rows, keys_only, |row, value| {
                records.push(KeyValue {
                    key: row.key.clone(),
                    create_revision: row.entry.created.0,
                    mod_revision: row.entry.modified.main.0,
                    version: row.entry.version.0,
                    value,
                    lease: shown_lease(row, with_lease).0,
                });
            })?;
            self.hand_out(rows.len(), bytes);
        }
        Ok(records)
    }

    /// Answers the whole request at once.
    pub(crate) fn respond<E: Engine>(
        reader: &Reader<'_, E>,
        request: &RangeRequest,
    ) -> Result<RangeResponse, ReadError> {
        let mut plan = Self::new(reader, request)?;
        Ok(RangeResponse {
            header: Some(ResponseHeader { revision: reader.revision.0, ..Default::default() }),
            kvs: plan.next_records(reader, usize::MAX)?,
            more: plan.more,
            count: plan.count.cast_signed(),
        })
    }

    fn fill(&mut self, index: &Index) {
        if !self.window.is_empty() || self.left == 0 {
            return;
        }
        let rest = self.rest.take().expect("rows are left, so some are not in the window yet");
        self.window = self.selection.rows(index, &rest).take(self.left.min(WINDOW)).collect();
        let last = &self.window.back().expect("the index is immutable").key;
        self.rest = behind(&rest, last);
    }

    fn hand_out(&mut self, rows: usize, bytes: u64) {
        self.left -= rows;
        if let Some(left) = self.bytes_left.get_mut() {
            *left -= bytes;
        }
    }

    fn field_len(&self, row: &Row) -> u64 {
        let value_len = if self.keys_only { 0 } else { row.entry.value_len as usize };
        let len = record_len(row, value_len, self.with_lease);
        (1 + encoded_len_varint(len as u64) + len) as u64
    }
}

/// The part of `range` behind `key`.
fn behind(range: &KeyRange, key: &Bytes) -> Option<KeyRange> {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.put_u8(0);
    let start = next.freeze();
    match range {
        KeyRange::Single(_) => None,
        KeyRange::HalfOpen { end, .. } => Some(KeyRange::HalfOpen { start, end: end.clone() }),
        KeyRange::From(_) => Some(KeyRange::From(start)),
    }
}
