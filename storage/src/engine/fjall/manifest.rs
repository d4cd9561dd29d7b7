//! What a keyspace of fjall consists of: `current` names its version file and that one's checksum, the
//! version file names its tables and theirs. fjall writes these checksums and does not look at them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::archive::{self, Fields, damaged};
use super::layout;
use crate::error::Fatal;

const CURRENT: &str = "current";
const TABLES_DIR: &str = "tables";
/// Version number, XXH3-128 of the version file, kind of checksum.
const CURRENT_BYTES: usize = 8 + 16 + 1;
const XXH3: u8 = 0;

/// A keyspace's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) version: u64,
    pub(super) tables: Vec<Table>,
}

/// A table file and the checksum of all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) checksum: u128,
}

/// Reads and checks a keyspace's version; its tables are not opened.
pub(super) fn read(keyspace: &Path) -> Result<Manifest, Fatal> {
    let current = keyspace.join(CURRENT);
    let (version, checksum) = read_current(&current)?;
    let path = keyspace.join(format!("v{version}"));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = format!("{version}, but there is no {}", path.display());
            return Err(damaged(&current, 0, "the number of a version file", &found));
        }
        Err(error) => return Err(Fatal::io(&path, "reading a version file", &error)),
    };
    let found = xxh3_128(&bytes);
    if found != checksum {
        // One of the two is damaged; nothing tells which, so both are named.
        let expected =
            format!("checksum {checksum:032x}, as {} at offset 8 says", current.display());
        return Err(damaged(&path, 0, &expected, &format!("{found:032x}")));
    }
    let tables = tables(keyspace, &path, &bytes)?;
    Ok(Manifest { version, tables })
}

fn read_current(path: &Path) -> Result<(u64, u128), Fatal> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(layout::missing(path)),
        Err(error) => return Err(Fatal::io(path, "reading a version's number", &error)),
    };
    let mut fields = Fields(&bytes);
    if let (Some(version), Some(checksum), Some([XXH3]), CURRENT_BYTES) =
        (fields.number(), fields.array(), fields.array(), bytes.len())
    {
        return Ok((version, u128::from_le_bytes(checksum)));
    }
    let expected = format!("{CURRENT_BYTES} bytes that end in {XXH3}");
    let found = format!("{} bytes, or another end", bytes.len());
    Err(damaged(path, CURRENT_BYTES as u64 - 1, &expected, &found))
}

fn tables(keyspace: &Path, path: &Path, bytes: &[u8]) -> Result<Vec<Table>, Fatal> {
    let file =
        File::open(path).map_err(|error| Fatal::io(path, "opening a version file", &error))?;
    let sections = archive::sections(path, &file)?;
    let section = sections.iter().find(|section| section.name == b"tables");
    let parsed = section.and_then(|section| {
        let (offset, len) =
            (usize::try_from(section.offset).ok()?, usize::try_from(section.len).ok()?);
        parse(bytes.get(offset..)?.get(..len)?)
    });
    let Some(ids) = parsed else {
        return Err(damaged(path, 0, "a list of tables", "another record"));
    };
    let directory = keyspace.join(TABLES_DIR);
    let table =
        |(id, checksum): (u64, u128)| Table { path: directory.join(id.to_string()), checksum };
    Ok(ids.into_iter().map(table).collect())
}

/// Levels of runs of tables.
fn parse(section: &[u8]) -> Option<Vec<(u64, u128)>> {
    let mut fields = Fields(section);
    let mut tables = Vec::new();
    let [levels] = fields.array()?;
    for _ in 0..levels {
        let [runs] = fields.array()?;
        for _ in 0..runs {
            for _ in 0..u32::from_le_bytes(fields.array()?) {
                let id = fields.number()?;
                let [XXH3] = fields.array()? else { return None };
                let checksum = u128::from_le_bytes(fields.array()?);
                let _sequence_number = fields.number()?;
                tables.push((id, checksum));
            }
        }
    }
    Some(tables)
}
