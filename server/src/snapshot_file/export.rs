//! A snapshot file, spooled to disk because its first pages are known last.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use vetch_storage::{Engine, ReadView, file_space};

use super::bbolt::BboltWriter;
use super::buckets::{self, BucketError, BucketSink};

/// Bytes of a message of the Snapshot stream.
const BLOB_BYTES: usize = 32 * 1024;

impl<W: io::Write + Seek> BucketSink for BboltWriter<W> {
    fn bucket(&mut self, name: &str) -> io::Result<()> {
        Self::bucket(self, name)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        Self::put(self, key, value)
    }
}

/// Writes the view as a database file into an unnamed file in `spool_dir`. Blocking; memory is a few
/// pages whatever the size of the store.
pub fn export<E: Engine>(
    view: &ReadView<E>,
    spool_dir: &Path,
) -> Result<SnapshotFile, BucketError> {
    std::fs::create_dir_all(spool_dir)?;
    let spool = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(spool_dir)?);
    let mut writer = BboltWriter::new(spool)?;
    buckets::write(view, &mut writer)?;
    let (spool, len) = writer.finish()?;
    let mut file = spool.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(SnapshotFile { file: Spool(Some(file)), remaining: len, digest: Some(Sha256::new()) })
}

/// The unnamed file. To close it frees as many bytes as the store has, which takes the device and the
/// closing thread tens of milliseconds: so that is done in pieces, and not where it is dropped.
#[derive(Debug)]
struct Spool(Option<File>);

impl Read for Spool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.read(buffer))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        let release = move || {
            if let Err(error) = file_space::release(&file) {
                tracing::warn!(%error, "the space of a sent snapshot is freed at once, not in pieces");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(release)),
            Err(_outside) => release(),
        }
    }
}

/// A finished snapshot, read blob by blob; after the file come the 32 bytes of its SHA-256.
#[derive(Debug)]
pub struct SnapshotFile {
    file: Spool,
    remaining: u64,
    /// `None` once the digest was given out.
    digest: Option<Sha256>,
}

impl SnapshotFile {
    /// Bytes of the file still to come, the digest not counted.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next blob; `None` at the end. Blocking.
    pub fn next_blob(&mut self) -> io::Result<Option<Bytes>> {
        let Some(digest) = self.digest.as_mut() else { return Ok(None) };
        if self.remaining == 0 {
            let digest = self.digest.take().map(Sha256::finalize);
            return Ok(digest.map(|digest| Bytes::copy_from_slice(&digest)));
        }
        let len = usize::try_from(self.remaining).map_or(BLOB_BYTES, |left| left.min(BLOB_BYTES));
        let mut blob = vec![0; len];
        self.file.read_exact(&mut blob)?;
        digest.update(&blob);
        self.remaining -= len as u64;
        Ok(Some(blob.into()))
    }
}
