//! fjall's journals, read by their format before fjall may touch them.
//!
//! fjall cuts a journal at the first entry it cannot read, and refuses one whose batch has another
//! checksum, whether a power loss or a flipped bit is the cause. Here the two are told apart: what was
//! synced must be whole, and only what was not may be torn.
//!
//! ```text
//! batch  1, items u32, sequence number u64; the items; 3, XXH3-64 of the items u64, "FJL" 3
//! item   2, kind u8, compression u8, keyspace u64, key length u16, value length u32,
//!        stored value length u32, key, stored value
//! clear  4, keyspace u64
//! ```
//! All little endian. The checksum leaves the sequence number out, on which recovery's order rests, so
//! every batch carries the number it was made after ([`Applied::floor`]).

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::applied::{APPLIED_KEY, Applied};
use super::{archive, layout};
use crate::engine::durable_mark::JournalEnd;
use crate::error::Fatal;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = *b"FJL\x03";
const ITEM_HEADER: usize = 20;
const CLEAR_BYTES: usize = 8;
const CHUNK: usize = 64 << 10;

/// Where the last whole batch ends, and what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) end: JournalEnd,
    last: Option<Batch>,
}

/// A batch that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    start: JournalEnd,
    sequence: u64,
}

/// What stands where a batch should.
#[derive(Debug)]
struct Fault {
    expected: String,
    found: String,
    /// It is the batch before that is wrong.
    in_last: bool,
}

/// Makes sure that the journals in `path` are what was written, up to `durable` and to the sequence
/// number `flushed` at least, and that fjall finds nothing in them to stumble over: a torn tail, which
/// the Raft log replays, is cut here.
///
/// Damage is refused before anything was changed.
pub(super) fn prepare(path: &Path, durable: JournalEnd, flushed: u64) -> Result<Reached, Fatal> {
    let io = |error: io::Error| Fatal::io(path, "listing the journals", &error);
    let journals = layout::journals(path).map_err(io)?;
    let Some((newest, _)) = journals.last() else {
        return Err(layout::missing(&path.join("*.jnl")));
    };
    if durable.number > *newest {
        return Err(layout::missing(&layout::journal(path, durable.number)));
    }
    let mut reached = Reached::default();
    for (number, file) in &journals {
        let (found, fault) = walk(file, Reached::at_start(*number, reached.last))
            .and_then(|(found, fault)| Ok((found, unless_blank(file, found, fault)?)))
            .map_err(|error| Fatal::io(file, "reading a journal", &error))?;
        // A journal was synced before the next one was begun.
        let is_sealed = number < newest;
        // Without any batch it is not known whether what is in the tables was in these journals.
        let lacks_flushed = !is_sealed && found.last.is_some_and(|last| last.sequence < flushed);
        let is_short = durable.number == *number && found.end.offset < durable.offset;
        let is_short = is_short || lacks_flushed;
        let is_older = found.end.number < *number;
        match fault {
            Some(fault) if is_sealed || is_short || is_older => {
                return Err(damaged(path, found.end, &fault.expected, &fault.found));
            }
            None if is_short => {
                let expected = format!("batches up to offset {}, number {flushed}", durable.offset);
                return Err(damaged(path, found.end, &expected, "none"));
            }
            Some(fault) => cut(file, found.end.offset, &fault)?,
            None => {}
        }
        reached = found;
    }
    Ok(reached)
}

/// Follows the newest journal from `reached` to what is written now.
pub(super) fn follow(path: &Path, reached: Reached) -> Result<Reached, Fatal> {
    let io = |file: &Path, error: &io::Error| Fatal::io(file, "reading the journal", error);
    let newest = layout::journals(path).map_err(|error| io(path, &error))?.pop();
    let Some((number, file)) = newest else { return Err(layout::missing(&path.join("*.jnl"))) };
    let from = if number == reached.end.number {
        reached
    } else {
        Reached::at_start(number, reached.last)
    };
    // A batch that is being written meanwhile ends the walk, or the blank rest does; neither is applied.
    let (reached, _unfinished) = walk(&file, from).map_err(|error| io(&file, &error))?;
    Ok(reached)
}

fn damaged(path: &Path, at: JournalEnd, expected: &str, found: &str) -> Fatal {
    archive::damaged(&layout::journal(path, at.number), at.offset, expected, found)
}

fn cut(file: &Path, end: u64, fault: &Fault) -> Result<(), Fatal> {
    tracing::warn!(
        path = %file.display(), offset = end, expected = fault.expected, found = fault.found,
        "the engine's journal ends in writes that were not durable yet; the Raft log has them"
    );
    let cut = || {
        let file = fs::OpenOptions::new().write(true).open(file)?;
        file.set_len(end)?;
        file.sync_all()
    };
    cut().map_err(|error| Fatal::io(file, "cutting the journal's torn end", &error))
}

impl Reached {
    fn at_start(number: u64, last: Option<Batch>) -> Self {
        Self { end: JournalEnd { number, offset: 0 }, last }
    }
}

/// Reads whole batches, and what is wrong with the next one: always something, if only that there is
/// none.
fn walk(path: &Path, mut reached: Reached) -> io::Result<(Reached, Fault)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(reached.end.offset.min(len)))?;
    let left = len.saturating_sub(reached.end.offset);
    let mut reader = Batches { input: BufReader::with_capacity(CHUNK, file), left, chunk: vec![] };
    loop {
        let before = reader.left;
        match reader.batch(reached.last.map(|last| last.sequence)) {
            Ok(sequence) => {
                reached.last = Some(Batch { start: reached.end, sequence });
                reached.end.offset += before - reader.left;
            }
            Err(Stop::Io(error)) => return Err(error),
            Err(Stop::Fault(fault)) if fault.in_last => {
                let end = reached.last.map_or(reached.end, |last| last.start);
                return Ok((Reached { end, last: None }, fault));
            }
            Err(Stop::Fault(fault)) => return Ok((reached, fault)),
        }
    }
}

/// Nothing is wrong with an end that nothing follows but zeros.
fn unless_blank(path: &Path, reached: Reached, fault: Fault) -> io::Result<Option<Fault>> {
    let is_end = !fault.in_last && rest_is_blank(path, reached.end.offset)?;
    Ok(if is_end { None } else { Some(fault) })
}

/// Journals are made longer than what is in them.
fn rest_is_blank(path: &Path, offset: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(read) if chunk[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

enum Stop {
    Io(io::Error),
    Fault(Fault),
}

fn fault<T>(expected: impl Into<String>, found: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fault(Fault { expected: expected.into(), found: found.into(), in_last: false }))
}

/// The floor is under the batch's checksum, the sequence numbers are not: it accuses the right one.
fn check_order(last: Option<u64>, floor: Option<Applied>, sequence: u64) -> Result<(), Stop> {
    if let (Some(last), Some(floor)) = (last, floor)
        && last >= floor.floor
    {
        let (expected, found) = (format!("a number below {}", floor.floor), last.to_string());
        return Err(Stop::Fault(Fault { expected, found, in_last: true }));
    }
    if floor.is_none_or(|floor| floor.admits(sequence)) && last.is_none_or(|last| last < sequence) {
        return Ok(());
    }
    let floor = floor.map_or(0, |floor| floor.floor);
    fault(format!("a batch with a number from {floor} on"), sequence.to_string())
}

/// A journal's batches, without their contents.
struct Batches {
    input: BufReader<File>,
    /// Bytes to the end of the file.
    left: u64,
    chunk: Vec<u8>,
}

impl Batches {
    /// Reads the next batch; its sequence number.
    fn batch(&mut self, last: Option<u64>) -> Result<u64, Stop> {
        let [tag] = self.take()?;
        if tag != START {
            return fault("the start of a batch", format!("byte {tag}"));
        }
        let items = u32::from_le_bytes(self.take()?);
        let sequence = u64::from_le_bytes(self.take()?);
        let mut hash = Xxh3::new();
        let mut floor = None;
        for _ in 0..items {
            floor = self.item(&mut hash)?.or(floor);
        }
        let [tag] = self.take()?;
        let checksum = u64::from_le_bytes(self.take()?);
        let magic: [u8; 4] = self.take()?;
        if tag != END || magic != MAGIC {
            return fault(format!("a batch of {items} items"), "no end after them");
        }
        if checksum != hash.digest() {
            return fault(format!("a batch with checksum {checksum:016x}"), hex(hash.digest()));
        }
        check_order(last, floor, sequence)?;
        Ok(sequence)
    }

    fn item(&mut self, hash: &mut Xxh3) -> Result<Option<Applied>, Stop> {
        let [tag] = self.take()?;
        hash.update(&[tag]);
        match tag {
            ITEM => {}
            CLEAR => {
                hash.update(&self.take::<CLEAR_BYTES>()?);
                return Ok(None);
            }
            other => return fault("an item of a batch", format!("byte {other}")),
        }
        let header: [u8; ITEM_HEADER] = self.take()?;
        hash.update(&header);
        let [.., k0, k1, _, _, _, _, v0, v1, v2, v3] = header;
        self.fill(u64::from(u16::from_le_bytes([k0, k1])), hash)?;
        let is_applied = self.chunk == APPLIED_KEY;
        let mut value_left = u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
        if is_applied && value_left <= CHUNK as u64 {
            self.fill(value_left, hash)?;
            return Ok(Applied::decode(&self.chunk));
        }
        while value_left > 0 {
            let piece = value_left.min(CHUNK as u64);
            self.fill(piece, hash)?;
            value_left -= piece;
        }
        Ok(None)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        self.claim(N as u64)?;
        self.input.read_exact(&mut bytes).map_err(Stop::Io)?;
        Ok(bytes)
    }

    /// Reads into the chunk.
    fn fill(&mut self, len: u64, hash: &mut Xxh3) -> Result<(), Stop> {
        self.claim(len)?;
        self.chunk.clear();
        (&mut self.input).take(len).read_to_end(&mut self.chunk).map_err(Stop::Io)?;
        hash.update(&self.chunk);
        Ok(())
    }

    fn claim(&mut self, len: u64) -> Result<(), Stop> {
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => fault(format!("{len} bytes more of a batch"), "the end of the file"),
        }
    }
}

fn hex(checksum: u64) -> String {
    format!("{checksum:016x}")
}
