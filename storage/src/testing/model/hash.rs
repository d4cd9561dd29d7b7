//! §5: `HashKV`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use vetch_proto::mvccpb::KeyValue;

use super::Model;
use super::history::Record;
use crate::error::ApplyError;
use crate::types::{Revision, RevisionKey};
use crate::view::HashKv;

impl Model {
    /// The hash of what is stored up to `asked`; 0 asks for the current revision.
    ///
    /// A compaction takes the hash of its revision when it begins to delete, and one of the last ten
    /// that did is answered for ever after, also once the revision is compacted. That happens in the
    /// background: `hashed` says how many compactions, from the first on, have come to it.
    pub fn hash_kv(&self, asked: Revision, hashed: usize) -> Result<HashKv, ApplyError> {
        if let Some(taken) = self.taken_hash(asked, hashed) {
            return Ok(taken);
        }
        if asked > self.revision {
            return Err(ApplyError::FutureRevision { current: self.revision });
        }
        if asked.0 > 0 {
            self.check_compacted(asked)?;
        }
        let revision = if asked.0 == 0 { self.revision } else { asked };
        Ok(self.hash_up_to(revision, self.compact_mark(), false))
    }

    /// The hash a compaction has taken: as of before its deletions, so with the compaction before it as
    /// the one in force. None for revision 0, where etcd would go on answering it to those who ask for
    /// the current revision.
    fn taken_hash(&self, asked: Revision, hashed: usize) -> Option<HashKv> {
        const REMEMBERED: usize = 10;
        let taken: Vec<usize> =
            (0..hashed).filter(|nth| self.compactions[*nth] != Revision(0)).collect();
        let nth =
            taken.into_iter().rev().take(REMEMBERED).find(|n| self.compactions[*n] == asked)?;
        let before = nth.checked_sub(1).map_or(Revision(-1), |before| self.compactions[before]);
        Some(self.hash_up_to(asked, before, true))
    }

    /// CRC-32C over the word `key` and then, of each record in the order of history, its place and
    /// what is stored there. Left out are records after `revision`; what a compaction to `compacted`
    /// removes; deletions at `compacted`; and of the rest up to it, whatever is not the newest of a
    /// key that lives at `revision` (if any key does: etcd takes an empty list for no list). To a
    /// compaction a key counts as living at its revision also if it is deleted right there.
    fn hash_up_to(&self, revision: Revision, compacted: Revision, compacting: bool) -> HashKv {
        let changes = self.changes();
        let stored: Vec<(&Bytes, &Record)> = changes
            .into_iter()
            .filter(|(key, record)| self.survives(key, record.at, compacted))
            .filter(|(_, record)| record.at.main <= revision)
            .collect();
        let mut newest: BTreeMap<&Bytes, &Record> = stored.iter().copied().collect();
        newest
            .retain(|_, record| record.put.is_some() || (compacting && record.at.main == revision));
        let mut text = b"key".to_vec();
        for (key, record) in stored {
            let is_old = record.at.main <= compacted;
            let is_newest = newest.get(key).is_some_and(|newest| newest.at == record.at);
            let is_superseded = is_old && !newest.is_empty() && !is_newest;
            let is_deletion_at_mark = record.at.main == compacted && record.put.is_none();
            if !is_superseded && !is_deletion_at_mark {
                text.extend(place(record.at, record.put.is_none()));
                text.extend(stored_value(key, record));
            }
        }
        HashKv {
            hash: crc32c::crc32c(&text),
            compact_revision: compacted.0,
            hash_revision: revision,
        }
    }
}

/// The key of a record in etcd's file.
fn place(at: RevisionKey, tombstone: bool) -> Vec<u8> {
    let mut place = at.main.0.to_be_bytes().to_vec();
    place.push(b'_');
    place.extend(u64::from(at.sub).to_be_bytes());
    if tombstone {
        place.push(b't');
    }
    place
}

/// The value of a record in etcd's file: the message, of a deletion with nothing but the key.
fn stored_value(key: &Bytes, record: &Record) -> Vec<u8> {
    match &record.put {
        Some(kv) => kv.encode_to_vec(),
        None => KeyValue { key: key.clone(), ..KeyValue::default() }.encode_to_vec(),
    }
}
