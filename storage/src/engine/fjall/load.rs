//! Sorted pairs straight into tables: neither the journal nor a write buffer sees them, and tables that
//! do not overlap are never rewritten.

use ::fjall::{Error, Keyspace};
use bytes::Bytes;

use crate::courtesy::courteously;

/// Writes a table of `pairs`, and syncs it. Without pairs nothing is written: a table that is begun
/// leaves a file behind.
pub(super) fn into_tables(keyspace: &Keyspace, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let mut ingestion = keyspace.start_ingestion()?;
    for (key, value) in courteously(pairs.into_iter()) {
        ingestion.write(key, value)?;
    }
    ingestion.finish()
}
