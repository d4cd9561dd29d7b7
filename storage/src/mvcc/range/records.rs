//! Values beside their keys, and the bytes of an answer.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;

use super::selection::Row;
use crate::engine::{Engine, Family};
use crate::error::Fatal;
use crate::mvcc::reader::Reader;
use crate::mvcc::wire;
use crate::schema::checksum::corrupt;
use crate::schema::version;
use crate::types::LeaseId;

/// Reads the values of rows that are to be sorted by them.
pub(super) fn read_values<E: Engine>(
    reader: &Reader<'_, E>,
    rows: &mut [Row],
) -> Result<(), Fatal> {
    let mut values = Vec::with_capacity(rows.len());
    let wanted = rows.iter().map(|row| (&row.key, row.entry.modified));
    reader.values(wanted, |record| {
        values.push(record.value);
        Ok(())
    })?;
    for (row, value) in rows.iter_mut().zip(values) {
        row.value = Some(value);
    }
    Ok(())
}

/// Gives each row with its value to `take`.
pub(super) fn read<E: Engine>(
    reader: &Reader<'_, E>,
    rows: &[Row],
    keys_only: bool,
    mut take: impl FnMut(&Row, Bytes),
) -> Result<(), Fatal> {
    if keys_only {
        for row in rows {
            take(row, Bytes::new());
        }
        return Ok(());
    }
    if let Some(values) = rows.iter().map(|row| row.value.clone()).collect::<Option<Vec<_>>>() {
        for (row, value) in rows.iter().zip(values) {
            take(row, value);
        }
        return Ok(());
    }
    let mut expected = rows.iter();
    reader.values(rows.iter().map(|row| (&row.key, row.entry.modified)), |record| {
        let row = expected.next().expect("one value per row");
        if record.value.len() != row.entry.value_len as usize {
            return Err(corrupt(
                Family::Versions,
                &version::engine_key(&row.key, row.entry.modified),
                &format!("a value of {} bytes, as the index says", row.entry.value_len),
                &format!("{} bytes", record.value.len()),
            ));
        }
        take(row, record.value);
        Ok(())
    })
}

pub(super) fn shown_lease(row: &Row, with_lease: bool) -> LeaseId {
    if with_lease { row.entry.lease } else { LeaseId::NONE }
}

pub(super) fn record_len(row: &Row, value_len: usize, with_lease: bool) -> usize {
    wire::record_len(row.key.len(), &row.entry, value_len, shown_lease(row, with_lease))
}

/// Encodes a record as field `kvs` (2) of a `RangeResponse`, without building a message first.
pub(super) fn encode_field(row: &Row, value: &[u8], with_lease: bool, out: &mut BytesMut) {
    out.put_u8(2 << 3 | 2);
    encode_varint(record_len(row, value.len(), with_lease) as u64, out);
    wire::encode_head(&row.key, &row.entry, value.len(), out);
    out.extend_from_slice(value);
    wire::encode_tail(shown_lease(row, with_lease), out);
}
