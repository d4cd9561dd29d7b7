//! A simulated file: per sector, what is durable and what is only written.

use std::collections::BTreeMap;

use super::state::Random;
use crate::disk::SECTOR;

type Sector = [u8; SECTOR];

const ZERO: Sector = [0; SECTOR];

/// Sectors that were never written read as zeros.
#[derive(Clone, Debug)]
pub(super) struct SimFile {
    pub(super) len: u64,
    durable: BTreeMap<u64, Sector>,
    /// Versions since the last flush, oldest first.
    written: BTreeMap<u64, Vec<Sector>>,
}

impl SimFile {
    pub(super) fn new(len: u64) -> Self {
        Self { len, durable: BTreeMap::new(), written: BTreeMap::new() }
    }

    /// Writes into the device's cache, at most `sectors` sectors of it.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], sectors: usize) {
        for (number, at, part) in parts(offset, bytes).take(sectors) {
            let mut sector = *self.sector(number);
            sector[at..at + part.len()].copy_from_slice(part);
            self.written.entry(number).or_default().push(sector);
        }
    }

    pub(super) fn sync(&mut self) {
        for (number, mut versions) in std::mem::take(&mut self.written) {
            if let Some(last) = versions.pop() {
                self.durable.insert(number, last);
            }
        }
    }

    /// Each unflushed sector becomes durable as one of its versions, or not at all.
    pub(super) fn power_cut(&mut self, random: &mut Random) {
        for (number, versions) in std::mem::take(&mut self.written) {
            let choice = random.below(versions.len() + 1);
            if let Some(version) = choice.checked_sub(1).and_then(|at| versions.get(at)) {
                self.durable.insert(number, *version);
            }
        }
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let end = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        bytes.truncate(end);
        let mut from = 0;
        while from < bytes.len() {
            let at = offset + from as u64;
            let (number, within) = split(at);
            let take = (SECTOR - within).min(bytes.len() - from);
            bytes[from..from + take].copy_from_slice(&self.sector(number)[within..within + take]);
            from += take;
        }
        bytes
    }

    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        let (number, within) = split(offset);
        self.durable.entry(number).or_insert(ZERO)[within] ^= mask;
    }

    pub(super) fn overwrite_at_rest(&mut self, offset: u64, bytes: &[u8]) {
        for (number, at, part) in parts(offset, bytes) {
            let sector = self.durable.entry(number).or_insert(ZERO);
            sector[at..at + part.len()].copy_from_slice(part);
        }
    }

    fn sector(&self, number: u64) -> &Sector {
        let written = self.written.get(&number).and_then(|versions| versions.last());
        written.or_else(|| self.durable.get(&number)).unwrap_or(&ZERO)
    }
}

/// A position as sector number and offset within.
fn split(offset: u64) -> (u64, usize) {
    let size = SECTOR as u64;
    // The remainder is below the sector size.
    (offset / size, usize::try_from(offset % size).unwrap_or(0))
}

/// `bytes` cut at sector borders: sector number, offset within, part.
fn parts(offset: u64, mut bytes: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut at = offset;
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (number, within) = split(at);
        let (part, rest) = bytes.split_at((SECTOR - within).min(bytes.len()));
        at += part.len() as u64;
        bytes = rest;
        Some((number, within, part))
    })
}
