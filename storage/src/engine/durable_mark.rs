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
const MAGIC: &[u8; 8] = b"VTDURA\0\x02";
const LEN: usize = 8 + 3 * 8 + 4;

/// A place in an engine's journals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct JournalEnd {
    /// The journal's number; lower ones are older.
    pub(super) number: u64,
    /// Bytes from its start.
    pub(super) offset: u64,
}

/// The note and where it is kept.
///
/// **Invariant:** never above what the engine has synced.
#[derive(Debug)]
pub(super) struct DurableMark {
    directory: PathBuf,
    position: LogIndex,
    journal: JournalEnd,
}

impl DurableMark {
    /// Reads the note of a directory; none is position 0.
    pub(super) fn open(directory: &Path) -> Result<Self, Fatal> {
        let file = directory.join(FILE);
        let (position, journal) = match fs::read(&file) {
            Ok(bytes) => decode(&bytes).ok_or_else(|| Fatal::Corrupt {
                location: format!("{} at offset 0", file.display()),
                expected: format!("a durable position of {LEN} bytes with its checksum"),
                found: format!("{} other bytes", bytes.len()),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (LogIndex(0), JournalEnd::default())
            }
            Err(error) => return Err(Fatal::io(&file, "reading the durable position", &error)),
        };
        Ok(Self { directory: directory.to_owned(), position, journal })
    }

    /// Up to where the journals are known to be durable; 0 in an engine without journals.
    pub(super) fn journal(&self) -> JournalEnd {
        self.journal
    }

    /// Refuses a state that is behind what was durable.
    pub(super) fn check(&self, applied: LogIndex) -> Result<(), Fatal> {
        if applied >= self.position {
            return Ok(());
        }
        Err(Fatal::Corrupt {
            location: format!("the files in {}", self.directory.display()),
            expected: format!("the state up to log index {}", self.position),
            found: format!("readable records up to log index {applied} only"),
        })
    }

    /// Notes that everything up to `position`, and the journals up to `journal`, is durable; call it
    /// after the sync.
    pub(super) fn advance(&mut self, position: LogIndex, journal: JournalEnd) -> Result<(), Fatal> {
        if position <= self.position {
            return Ok(());
        }
        let path = self.directory.join(FILE);
        AtomicFile::create(&path)
            .and_then(|mut file| {
                file.write_all(&encode(position, journal))?;
                file.commit()
            })
            .map_err(|error| Fatal::io(&path, "writing the durable position", &error))?;
        (self.position, self.journal) = (position, journal);
        Ok(())
    }
}

fn encode(position: LogIndex, journal: JournalEnd) -> [u8; LEN] {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(MAGIC);
    for number in [position.get(), journal.number, journal.offset] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.try_into().expect("all fields together")
}

fn decode(bytes: &[u8]) -> Option<(LogIndex, JournalEnd)> {
    let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let position = LogIndex(number(8)?);
    let journal = JournalEnd { number: number(16)?, offset: number(24)? };
    (bytes == encode(position, journal)).then_some((position, journal))
}
