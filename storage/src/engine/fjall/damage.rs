//! Which file is damaged, and where: fjall says only that something is.
//!
//! Everything but the journals is written once, and its checksum is known to the file that names it:
//! `current` → version file → tables → blocks. A failure is answered by following these to the first
//! byte that is not what was written, or cannot be read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::archive::{self, Section, damaged};
use super::layout;
use super::manifest::{self, Manifest, Table};
use crate::error::Fatal;

/// A header's bytes before its own checksum: magic, kind, XXH3-128 of the data, stored and plain length.
const BLOCK_CHECKED: usize = 4 + 1 + 16 + 4 + 4;
const BLOCK_HEADER: usize = BLOCK_CHECKED + 4;
const BLOCK_MAGIC: [u8; 4] = *b"LSM\x03";
/// Sections that are not made of blocks.
const RAW_SECTIONS: [&[u8]; 2] = [b"table_version", b"linked_blob_files"];
const META_SECTION: &[u8] = b"meta";
/// A key of the description, and the length of its value.
const HIGHEST_SEQUENCE: &[u8] = b"seqno#max\x08";
const CHUNK: usize = 1 << 20;
/// How often a keyspace is looked at anew because a compaction replaced what was looked at.
const LOOKS: usize = 100;

/// Checks what can be checked without reading all data: versions, and the directory of each table. A
/// damaged directory would have fjall reserve as much memory as its count says.
///
/// Gives back the highest sequence number in the families' tables. The journals were synced up to it
/// before it came there.
pub(super) fn check_directories(path: &Path) -> Result<u64, Fatal> {
    let flushed = Cell::new(0);
    each_keyspace(path, |table, file| {
        let sections = archive::sections(&table.path, file)?;
        if !table.path.starts_with(layout::own_keyspace(path)) {
            let highest = highest_sequence(&table.path, file, &sections)?;
            flushed.set(highest.max(flushed.get()));
        }
        Ok(())
    })?;
    Ok(flushed.get())
}

/// Reads it from the table's description, a block of pairs, none of them shortened.
fn highest_sequence(path: &Path, file: &File, sections: &[Section]) -> Result<u64, Fatal> {
    let Some(section) = sections.iter().find(|section| section.name == META_SECTION) else {
        return Err(damaged(path, 0, "a description of the table", "none"));
    };
    verify_blocks(path, file, section)?;
    let mut block = vec![0; usize::try_from(section.len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut block, section.offset)
        .map_err(|error| Fatal::io(path, "reading a table's description", &error))?;
    // Keys of ours stand before it in the block, only numbers after it: the last one is meant.
    let at = block.windows(HIGHEST_SEQUENCE.len()).rposition(|bytes| bytes == HIGHEST_SEQUENCE);
    let number = at.and_then(|at| archive::Fields(&block[at + HIGHEST_SEQUENCE.len()..]).number());
    number.ok_or_else(|| damaged(path, section.offset, "a highest sequence number", "none"))
}

/// Reads everything but the journals; the first damage found. May run beside the engine.
pub(super) fn find(path: &Path) -> Result<(), Fatal> {
    layout::check(path)?;
    each_keyspace(path, verify)
}

fn each_keyspace(
    path: &Path,
    check: impl Fn(&Table, &File) -> Result<(), Fatal>,
) -> Result<(), Fatal> {
    for keyspace in layout::keyspaces(path)? {
        let mut looks = LOOKS;
        while !check_keyspace(&keyspace, &check)? {
            looks -= 1;
            if looks == 0 {
                // It changes faster than it is read; what is damaged in it will be met again.
                break;
            }
        }
    }
    Ok(())
}

/// False if a newer version took the place of the one that was looked at.
fn check_keyspace(
    keyspace: &Path,
    check: impl Fn(&Table, &File) -> Result<(), Fatal>,
) -> Result<bool, Fatal> {
    let before = manifest::read(keyspace);
    let outcome = before.clone().and_then(|Manifest { tables, .. }| {
        for table in &tables {
            match File::open(&table.path) {
                Ok(file) => check(table, &file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(layout::missing(&table.path));
                }
                Err(error) => return Err(Fatal::io(&table.path, "opening a table", &error)),
            }
        }
        Ok(())
    });
    match (outcome, before, manifest::read(keyspace)) {
        (Ok(()), ..) => Ok(true),
        // What was missing may have been removed because it was replaced.
        (Err(_), Ok(before), Ok(now)) if before.version != now.version => Ok(false),
        (Err(_), Err(_), Ok(_)) => Ok(false),
        (Err(fatal), ..) => Err(fatal),
    }
}

/// Reads a whole table.
fn verify(table: &Table, file: &File) -> Result<(), Fatal> {
    let found = checksum(&table.path, file)?;
    if found == table.checksum {
        return Ok(());
    }
    for section in archive::sections(&table.path, file)? {
        if !RAW_SECTIONS.contains(&&*section.name) {
            verify_blocks(&table.path, file, &section)?;
        }
    }
    let expected = format!("a file with checksum {:032x}", table.checksum);
    Err(damaged(&table.path, 0, &expected, &format!("{found:032x}")))
}

fn checksum(path: &Path, mut file: &File) -> Result<u128, Fatal> {
    let mut hash = Xxh3::new();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(hash.digest128()),
            Ok(read) => {
                hash.update(&chunk[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let doing = format!("reading a table at offset {offset}");
                return Err(Fatal::io(path, &doing, &error));
            }
        }
    }
}

fn verify_blocks(path: &Path, file: &File, section: &Section) -> Result<(), Fatal> {
    let io = |offset: u64, error: &io::Error| {
        Fatal::io(path, &format!("reading a table's block at offset {offset}"), error)
    };
    let end = section.offset + section.len;
    let mut offset = section.offset;
    while offset < end {
        let mut header = [0; BLOCK_HEADER];
        file.read_exact_at(&mut header, offset).map_err(|error| io(offset, &error))?;
        let Some((data_checksum, len)) = decode_header(&header) else {
            return Err(damaged(path, offset, "the header of a block", "other bytes"));
        };
        let data_at = offset + BLOCK_HEADER as u64;
        if data_at + u64::from(len) > end {
            return Err(damaged(path, offset, "a block within its section", "a longer one"));
        }
        let mut data = vec![0; len as usize];
        file.read_exact_at(&mut data, data_at).map_err(|error| io(data_at, &error))?;
        let found = xxh3_128(&data);
        if found != data_checksum {
            let expected = format!("a block with checksum {data_checksum:032x}");
            return Err(damaged(path, offset, &expected, &format!("{found:032x}")));
        }
        offset = data_at + u64::from(len);
    }
    Ok(())
}

/// The checksum and length of a block's data; `None` if the header's own checksum does not fit.
fn decode_header(header: &[u8; BLOCK_HEADER]) -> Option<(u128, u32)> {
    let (checked, own) = header.split_at(BLOCK_CHECKED);
    let mut fields = archive::Fields(checked);
    // The lower half of the header's checksum is what is kept of it.
    let is_own = xxh3_128(checked).to_le_bytes()[..4] == *own;
    if fields.array() != Some(BLOCK_MAGIC) || !is_own {
        return None;
    }
    let [_kind] = fields.array()?;
    Some((u128::from_le_bytes(fields.array()?), u32::from_le_bytes(fields.array()?)))
}
