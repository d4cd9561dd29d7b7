//! A note, beside an engine's files, of the log position they are known to hold durably.
//!
//! The engines drop a damaged tail of their journals without a word. What was reported as durable
//! lets the log be purged, so its loss must be noticed when the engine is opened.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::atomic_file::AtomicFile;
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
            Err(error) => return Err(Fatal::io(&file, "reading the durable position", &error)),
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
        let path = self.directory.join(FILE);
        AtomicFile::create(&path)
            .and_then(|mut file| {
                file.write_all(&encode(position))?;
                file.commit()
            })
            .map_err(|error| Fatal::io(&path, "writing the durable position", &error))?;
        self.position = position;
        Ok(())
    }
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
