//! The simulated device: carries out operations step by step, and fails where it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Fault;
use super::file::SimFile;
use crate::disk::{Completion, DiskError, FileInfo, FileName, Op, Operation};

pub(super) struct Request {
    pub(super) op: Op,
    pub(super) done: Option<Completion>,
}

/// Why a batch did not come to its end.
pub(super) enum Stop {
    Failed(DiskError),
    /// The power is out.
    Dark,
}

/// A small generator of its own: what a seed does here must not change with a library.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// By the `SplitMix64` method.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }
}

/// A file's identity, whatever its name.
type Inode = u64;

pub(super) struct State {
    files: BTreeMap<Inode, SimFile>,
    /// Names as the running system sees them.
    names: BTreeMap<FileName, Inode>,
    /// Names as of the last directory flush.
    durable_names: BTreeMap<FileName, Inode>,
    next_inode: Inode,
    dirty: BTreeSet<FileName>,
    pub(super) queue: Vec<Request>,
    /// A runtime task is at work.
    pub(super) serving: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) failed: Option<DiskError>,
    pub(super) dark: bool,
    /// Completions that nobody will ever hear: the power was out.
    pub(super) unanswered: Vec<Completion>,
    pub(super) step: u64,
    pub(super) syncs: u64,
    random: Random,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            next_inode: 0,
            dirty: BTreeSet::new(),
            queue: Vec::new(),
            serving: false,
            faults: Vec::new(),
            failed: None,
            dark: false,
            unanswered: Vec::new(),
            step: 0,
            syncs: 0,
            random: Random::new(seed),
        }
    }

    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut files = self.files.clone();
        for file in files.values_mut() {
            file.power_cut(&mut random);
        }
        // The directory's block is either as flushed or as it is now.
        let flushed = random.below(2) == 0;
        let names = if flushed { self.durable_names.clone() } else { self.names.clone() };
        Self::found(files, names.clone(), names, random)
    }

    pub(super) fn after_kill(&self) -> Self {
        let random = self.random.clone();
        Self::found(self.files.clone(), self.names.clone(), self.durable_names.clone(), random)
    }

    fn found(
        files: BTreeMap<Inode, SimFile>,
        mut names: BTreeMap<FileName, Inode>,
        durable_names: BTreeMap<FileName, Inode>,
        random: Random,
    ) -> Self {
        names.retain(|name, _| !is_unfinished(name));
        let next_inode = files.last_key_value().map_or(0, |(inode, _)| inode + 1);
        Self { files, names, durable_names, next_inode, random, ..Self::new(0) }
    }

    pub(super) fn list(&self) -> Vec<FileInfo> {
        let named = self.names.iter().filter(|(name, _)| !is_unfinished(name));
        named
            .map(|(name, inode)| FileInfo { name: name.clone(), len: self.files[inode].len })
            .collect()
    }

    pub(super) fn read(
        &self,
        file: &FileName,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, DiskError> {
        let found = self.names.get(file).and_then(|inode| self.files.get(inode));
        let found = found.ok_or_else(|| not_found(Operation::Read, file))?;
        Ok(found.read(offset, len))
    }

    pub(super) fn file_mut(&mut self, name: &FileName) -> &mut SimFile {
        let inode = self.names.get(name).unwrap_or_else(|| panic!("no file {name}"));
        self.files.get_mut(inode).unwrap_or_else(|| panic!("no file {name}"))
    }

    /// Stalls that strike while this batch is carried out, near enough: it takes two steps at least.
    pub(super) fn stall_ahead(&self, batch: &[Request]) -> Duration {
        let steps = self.step..=self.step + batch.len() as u64;
        let extra = self.faults.iter().map(|fault| match fault {
            Fault::Stall { at, extra } if steps.contains(at) => *extra,
            Fault::Stall { .. }
            | Fault::PowerCut { .. }
            | Fault::Io { .. }
            | Fault::NoSpace { .. } => Duration::ZERO,
        });
        extra.sum()
    }

    pub(super) fn apply(
        &mut self,
        batch: Vec<Request>,
        waiting: &mut Vec<Completion>,
    ) -> Result<(), Stop> {
        self.begin(batch, waiting)?;
        self.finish()
    }

    /// Everything up to the last flush of the batch.
    pub(super) fn begin(
        &mut self,
        batch: Vec<Request>,
        waiting: &mut Vec<Completion>,
    ) -> Result<(), Stop> {
        let mut result = Ok(());
        for Request { op, done } in batch {
            waiting.extend(done);
            if result.is_ok() {
                result = self.carry_out(op);
            }
        }
        self.settle(result)
    }

    /// The last flush of the batch.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        let result = self.sync_dirty();
        self.settle(result)
    }

    fn settle(&mut self, result: Result<(), Stop>) -> Result<(), Stop> {
        if self.dark {
            return Err(Stop::Dark);
        }
        if let Err(Stop::Failed(error)) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn carry_out(&mut self, op: Op) -> Result<(), Stop> {
        match op {
            Op::Write { file, offset, bytes } => self.write(file, offset, &bytes),
            Op::Sync { file } => {
                self.dirty.insert(file);
                self.sync_dirty()?;
                self.sync_names()
            }
            Op::Create { file, len, head } => self.create(&file, len, &head),
            Op::Rename { from, to } => {
                self.sync_dirty()?;
                self.rename(&from, &to)?;
                self.sync_names()
            }
            Op::Remove { file } => {
                self.sync_dirty()?;
                self.step(Operation::Remove, &file)?;
                let gone = self.names.remove(&file);
                gone.ok_or_else(|| Stop::Failed(not_found(Operation::Remove, &file)))?;
                self.sync_names()
            }
        }
    }

    fn write(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> Result<(), Stop> {
        let stopped = self.step(Operation::Write, &file);
        // A write that fails or is cut off has reached some of its sectors.
        let sectors = match &stopped {
            Ok(()) => usize::MAX,
            Err(_) => self.random.below(bytes.len() / crate::disk::SECTOR + 2),
        };
        let Some(inode) = self.names.get(&file) else {
            return Err(Stop::Failed(not_found(Operation::Write, &file)));
        };
        let Some(found) = self.files.get_mut(inode) else { return stopped };
        assert!(offset + bytes.len() as u64 <= found.len, "{file} is written past its end");
        found.write(offset, bytes, sectors);
        self.dirty.insert(file);
        stopped
    }

    fn create(&mut self, file: &FileName, len: u64, head: &[u8]) -> Result<(), Stop> {
        self.sync_dirty()?;
        assert!(!self.names.contains_key(file), "{file} exists already");
        self.step(Operation::Create, file)?;
        let blank = FileName::new(format!("{file}{UNFINISHED}"));
        self.files.insert(self.next_inode, SimFile::new(len));
        self.names.insert(blank.clone(), self.next_inode);
        self.next_inode += 1;
        self.write(blank.clone(), 0, head)?;
        self.sync_dirty()?;
        self.rename(&blank, file)?;
        self.sync_names()
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), Stop> {
        self.step(Operation::Rename, from)?;
        let inode = self.names.remove(from);
        let inode = inode.ok_or_else(|| Stop::Failed(not_found(Operation::Rename, from)))?;
        self.names.insert(to.clone(), inode);
        Ok(())
    }

    fn sync_dirty(&mut self) -> Result<(), Stop> {
        while let Some(name) = self.dirty.pop_first() {
            self.step(Operation::Sync, &name)?;
            self.syncs += 1;
            self.file_mut(&name).sync();
        }
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), Stop> {
        self.step(Operation::SyncDirectory, &FileName::new(""))?;
        self.durable_names.clone_from(&self.names);
        Ok(())
    }

    /// Counts one step, unless a fault strikes it.
    fn step(&mut self, operation: Operation, file: &FileName) -> Result<(), Stop> {
        if self.dark {
            return Err(Stop::Dark);
        }
        let now = self.step;
        self.step += 1;
        for fault in &self.faults {
            let kind = match *fault {
                Fault::PowerCut { at } if at == now => {
                    self.dark = true;
                    return Err(Stop::Dark);
                }
                Fault::Io { at } if at == now => io::ErrorKind::Other,
                Fault::NoSpace { at } if at == now => io::ErrorKind::StorageFull,
                Fault::PowerCut { .. }
                | Fault::Io { .. }
                | Fault::NoSpace { .. }
                | Fault::Stall { .. } => continue,
            };
            return Err(Stop::Failed(refusal(operation, file, kind)));
        }
        Ok(())
    }
}

/// Suffix of a file that is not complete yet.
const UNFINISHED: &str = " (unfinished)";

fn is_unfinished(name: &FileName) -> bool {
    name.as_str().ends_with(UNFINISHED)
}

fn refusal(operation: Operation, file: &FileName, kind: io::ErrorKind) -> DiskError {
    let path = PathBuf::from("sim").join(file.as_str());
    DiskError::io(operation, &path, &io::Error::from(kind))
}

fn not_found(operation: Operation, file: &FileName) -> DiskError {
    refusal(operation, file, io::ErrorKind::NotFound)
}
