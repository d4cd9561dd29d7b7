//! etcd's Hash: CRC-32C over every bucket's name, keys and values, in order.

use std::io;

use vetch_storage::{Engine, Fatal, ReadView};

use super::buckets::{self, BucketError, BucketSink};

/// Pairs that etcd leaves out: they differ between members that hold the same data.
const LEFT_OUT: [&[u8]; 3] = [b"consistent_index", b"term", b"storageVersion"];

/// The hash of the database file that an export of this view would be.
pub fn hash<E: Engine>(view: &ReadView<E>) -> Result<u32, Fatal> {
    let mut hasher = Hasher::default();
    match buckets::write(view, &mut hasher) {
        Ok(()) => Ok(hasher.crc),
        Err(BucketError::Fatal(fatal)) => Err(fatal),
        Err(BucketError::Spool(error)) => unreachable!("hashing writes no file: {error}"),
    }
}

#[derive(Debug, Default)]
struct Hasher {
    crc: u32,
    in_meta: bool,
}

impl BucketSink for Hasher {
    fn bucket(&mut self, name: &str) -> io::Result<()> {
        self.in_meta = name == "meta";
        self.crc = crc32c::crc32c_append(self.crc, name.as_bytes());
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if !(self.in_meta && LEFT_OUT.contains(&key)) {
            self.crc = crc32c::crc32c_append(self.crc, key);
            self.crc = crc32c::crc32c_append(self.crc, value);
        }
        Ok(())
    }
}
