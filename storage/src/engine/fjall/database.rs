//! fjall's database: one keyspace per family, and how much memory each may take.

use std::path::Path;

use ::fjall::config::{BlockSizePolicy, CompressionPolicy};
use ::fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions};

use super::Options;
use super::failure::to_fatal;
use crate::engine::Family;
use crate::error::Fatal;

/// By [`Family::slot`].
pub(super) type Keyspaces = [Keyspace; Family::ALL.len()];

/// Opens the database in `path`, with all keyspaces; makes what is missing.
pub(super) fn open_database(path: &Path, options: Options) -> Result<(Database, Keyspaces), Fatal> {
    let fatal = |error| to_fatal(path, "opening the engine", error);
    let db = Database::builder(path)
        .cache_size(cache_bytes(options))
        // One would leave a full write buffer open while it compacts, and the buffer grows without
        // bound meanwhile.
        .worker_threads(2)
        .max_journaling_size(192 << 20)
        .open()
        .map_err(fatal)?;
    let open = |family| db.keyspace(name(family), || keyspace_options(options, family));
    let [versions, revisions, state] = Family::ALL;
    let keyspaces = [
        open(versions).map_err(fatal)?,
        open(revisions).map_err(fatal)?,
        open(state).map_err(fatal)?,
    ];
    Ok((db, keyspaces))
}

/// A family's name in the database.
pub(super) fn name(family: Family) -> &'static str {
    match family {
        Family::Versions => "versions",
        Family::Revisions => "revisions",
        Family::State => "state",
    }
}

fn keyspace_options(options: Options, family: Family) -> KeyspaceCreateOptions {
    let block_bytes = match family {
        Family::Versions => 8 << 10,
        Family::Revisions | Family::State => 4 << 10,
    };
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_bytes(options, family))
        .data_block_size_policy(BlockSizePolicy::all(block_bytes))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .compaction_strategy(std::sync::Arc::new(
            ::fjall::compaction::Leveled::default().with_table_target_size(8 << 20),
        ))
}

fn cache_bytes(options: Options) -> u64 {
    (options.memory_budget / 3).max(4 << 20)
}

/// One write buffer of a family. Besides the active one up to four full ones may wait for their
/// flush, usually none or one; versions carry values, the other two little more than keys.
fn memtable_bytes(options: Options, family: Family) -> u64 {
    let share = match family {
        Family::Versions => 6,
        Family::Revisions => 12,
        Family::State => 24,
    };
    (options.memory_budget / share).clamp(1 << 20, 64 << 20)
}
