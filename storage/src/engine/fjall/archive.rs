//! The container of fjall's table and version files: named sections, and at the end their directory.
//!
//! ```text
//! sections; directory: "TOC!", count u32, per section: position u64, length u64, name length u16, name
//! trailer: "SFA!", version u8, checksum kind u8, XXH3-128 of the directory, its position u64 and length u64
//! ```
//! All little endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::error::Fatal;

const TRAILER_BYTES: usize = 38;
const TRAILER_START: [u8; 6] = *b"SFA!\x01\x00";
const DIRECTORY_START: &[u8] = b"TOC!";

/// A section of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: Vec<u8>,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Reads a file's directory, whose checksum must fit.
pub(super) fn sections(path: &Path, file: &File) -> Result<Vec<Section>, Fatal> {
    let io = |error: io::Error| Fatal::io(path, "reading a file's directory", &error);
    let corrupt = |offset, expected: &str, found: &str| damaged(path, offset, expected, found);
    let len = file.metadata().map_err(io)?.len();
    let Some(trailer_at) = len.checked_sub(TRAILER_BYTES as u64) else {
        return Err(corrupt(0, "a trailer", "a file that is too short"));
    };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, trailer_at).map_err(io)?;
    let mut fields = Fields(&trailer);
    let (Some(start), Some(checksum), Some(at), Some(directory_len)) =
        (fields.array(), fields.array(), fields.number(), fields.number())
    else {
        return Err(corrupt(trailer_at, "a trailer", "less"));
    };
    if start != TRAILER_START || at.checked_add(directory_len) != Some(trailer_at) {
        return Err(corrupt(trailer_at, "a trailer after its directory", "another"));
    }
    // It is within the file, so it is bounded by what is really there.
    let mut directory = vec![0; usize::try_from(directory_len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut directory, at).map_err(io)?;
    let checksum = u128::from_le_bytes(checksum);
    if xxh3_128(&directory) != checksum {
        let found = format!("{:032x}", xxh3_128(&directory));
        return Err(corrupt(at, &format!("a directory with checksum {checksum:032x}"), &found));
    }
    parse(&directory).ok_or_else(|| corrupt(at, "a directory", "another record"))
}

fn parse(directory: &[u8]) -> Option<Vec<Section>> {
    let mut fields = Fields(directory.strip_prefix(DIRECTORY_START)?);
    let count = u32::from_le_bytes(fields.array()?);
    let mut sections = Vec::new();
    for _ in 0..count {
        let (offset, len) = (fields.number()?, fields.number()?);
        let name_len = u16::from_le_bytes(fields.array()?);
        let name = fields.bytes(usize::from(name_len))?.to_vec();
        sections.push(Section { name, offset, len });
    }
    Some(sections)
}

/// That a file is not what was written.
pub(super) fn damaged(path: &Path, offset: u64, expected: &str, found: &str) -> Fatal {
    Fatal::Corrupt {
        location: format!("{} at offset {offset}", path.display()),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// Bytes not read yet.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}
