//! A note, beside an engine's files, of the log position they are known to hold durably.
//!
//! The engines drop a damaged tail of their journals without a word. What was reported as durable
//! lets the log be purged, so its loss must be noticed when the engine is opened.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::io_fatal;
use crate::error::Fatal;
use crate::types::LogIndex;

const FILE: &str = "durable";
/// Magic and format version.
const MAGIC: &[u8; 8] = b"VTDURA\0\x01";
const LEN: usize = 8 + 8 + 4;

/// The note and where it is kept.
///
/// **Invariant:** never above what the engine has synced.
#[derive(Debug)]
pub(super) struct DurableMark {
    directory: PathBuf,
    position: LogIndex,
}

impl DurableMark {
    /// Reads the note of a directory; none is position 0.
    pub(super) fn open(directory: &Path) -> Result<Self, Fatal> {
        let file = directory.join(FILE);
        let position = match fs::read(&file) {
            Ok(bytes) => decode(&bytes).ok_or_else(|| Fatal::Corrupt {
                location: format!("{} at offset 0", file.display()),
                expected: format!("a durable position of {LEN} bytes with its checksum"),
                found: format!("{} other bytes", bytes.len()),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => LogIndex(0),
            Err(error) => return Err(io_fatal(&file, "reading the durable position", &error)),
        };
        Ok(Self { directory: directory.to_owned(), position })
    }

    /// Refuses a state that is behind what was durable.
    pub(super) fn check(&self, applied: LogIndex) -> Result<(), Fatal> {
        if applied >= self.position {
            return Ok(());
        }
        Err(Fatal::Corrupt {
            location: format!("the journal in {}", self.directory.display()),
            expected: format!("the state up to log index {}", self.position),
            found: format!("readable records up to log index {applied} only"),
        })
    }

    /// Notes that everything up to `position` is durable; call it after the sync.
    pub(super) fn advance(&mut self, position: LogIndex) -> Result<(), Fatal> {
        if position <= self.position {
            return Ok(());
        }
        write_synced(&self.directory, FILE, &encode(position)).map_err(|error| {
            io_fatal(&self.directory.join(FILE), "writing the durable position", &error)
        })?;
        self.position = position;
        Ok(())
    }
}

/// Replaces a small file so that after a crash it is the old or the new one.
fn write_synced(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}

fn encode(position: LogIndex) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&position.get().to_be_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<LogIndex> {
    let position = LogIndex(u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?));
    (bytes == encode(position)).then_some(position)
}
