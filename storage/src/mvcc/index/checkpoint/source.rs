//! A checkpoint that is read: nothing is believed before its CRC fits.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::block::{BlockReader, block_crc};
use super::{
    BLOCK_HEADER_LEN, FOOTER_LEN, HEADER_LEN, Header, MAX_BLOCK_BYTES, NO_COMPACTION,
    encode_footer, encode_header,
};
use crate::error::Fatal;
use crate::mvcc::index::Builder;
use crate::mvcc::index::leaf::{read_u32, read_uint};
use crate::types::{LogIndex, Revision};

pub(super) struct Block {
    payload: Vec<u8>,
    pub(super) entries: u32,
    /// Where it begins in the file.
    offset: u64,
}

/// A file, and how far it is read.
pub(super) struct Source {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
}

impl Source {
    pub(super) fn new(path: &Path, file: File) -> Self {
        let file = BufReader::with_capacity(256 << 10, file);
        Self { path: path.to_owned(), file, offset: 0 }
    }

    fn corrupt(&self, offset: u64, expected: &str, found: impl Into<String>) -> Fatal {
        Fatal::Corrupt {
            location: format!("{} at offset {offset}", self.path.display()),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fatal> {
        self.file.read_exact(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.corrupt(self.offset, "more bytes", "the end of the file")
            } else {
                Fatal::io(&self.path, "reading the index checkpoint", &error)
            }
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn header(&mut self) -> Result<Header, Fatal> {
        let mut bytes = [0; HEADER_LEN];
        self.fill(&mut bytes)?;
        let [revision, compacted, applied] = [8, 16, 24].map(|at| read_uint(&bytes, at, 8));
        let compacted = compacted.cast_signed();
        let header = Header {
            revision: Revision(revision.cast_signed()),
            compact_revision: (compacted != NO_COMPACTION).then_some(Revision(compacted)),
            applied: LogIndex(applied),
        };
        if encode_header(&header) != bytes {
            return Err(self.corrupt(0, "an index checkpoint of format 1", "another header"));
        }
        Ok(header)
    }

    /// The next block; `None` at a footer that agrees with the entries so far.
    pub(super) fn block(&mut self, entries_before: u64) -> Result<Option<Block>, Fatal> {
        let offset = self.offset;
        let mut header = [0; BLOCK_HEADER_LEN];
        self.fill(&mut header)?;
        let [length, entries, crc] = [0, 4, 8].map(|at| read_u32(&header, at));
        if length == 0 {
            return self.footer(offset, &header, entries_before).map(|()| None);
        }
        if length > MAX_BLOCK_BYTES {
            return Err(self.corrupt(offset, "a block length", length.to_string()));
        }
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        let found = block_crc(length, entries, &payload);
        if found != crc {
            let expected = format!("CRC {crc:08x}");
            return Err(self.corrupt(offset, &expected, format!("{found:08x}")));
        }
        Ok(Some(Block { payload, entries, offset }))
    }

    fn footer(&mut self, offset: u64, start: &[u8], entries: u64) -> Result<(), Fatal> {
        let mut bytes = [0; FOOTER_LEN];
        let (head, tail) = bytes.split_at_mut(BLOCK_HEADER_LEN);
        head.copy_from_slice(start);
        self.fill(tail)?;
        if bytes != encode_footer(entries) {
            let expected = format!("a footer for {entries} entries");
            return Err(self.corrupt(offset, &expected, "another"));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.corrupt(self.offset, "the end of the file", "more bytes")),
            Err(error) => Err(Fatal::io(&self.path, "reading the index checkpoint", &error)),
        }
    }

    pub(super) fn decode(&self, block: &Block, builder: &mut Builder) -> Result<(), Fatal> {
        let mut reader = BlockReader::new(&block.payload);
        for _ in 0..block.entries {
            let added = reader.entry().is_some_and(|entry| builder.push(&reader.key, entry));
            if !added {
                return Err(self.corrupt(block.offset, "entries in order", "another block"));
            }
        }
        match reader.rest {
            [] => Ok(()),
            rest => {
                let found = format!("{} bytes more", rest.len());
                Err(self.corrupt(block.offset, "the end of the block", found))
            }
        }
    }
}
