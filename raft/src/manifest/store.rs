//! The manifest's file: replaced as a whole or not at all.

use crate::disk::{Disk, FileName, Op, complete};
use vetch_storage::Fatal;

use super::{Manifest, ManifestError};
use crate::replica::OpenError;

const NAME: &str = "MANIFEST";
/// The next manifest until it is complete and durable.
const NEXT: &str = "MANIFEST.next";

/// The directory's manifest; `None` in a fresh directory. Blocks.
pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Manifest>, OpenError> {
    let name = FileName::new(NAME);
    let files = disk.list().map_err(Fatal::from)?;
    let Some(file) = files.into_iter().find(|file| file.name == name) else { return Ok(None) };
    let path = disk.path(&name);
    let Ok(len) = usize::try_from(file.len) else {
        return Err(ManifestError::Damaged { path, reason: "it is too long".into() }.into());
    };
    let bytes = disk.read(&name, 0, len).map_err(Fatal::from)?;
    Ok(Some(Manifest::decode(&path, &bytes)?))
}

/// Replaces the manifest, durably.
pub(crate) async fn store(disk: &dyn Disk, manifest: &Manifest) -> Result<(), Fatal> {
    let (name, next) = (FileName::new(NAME), FileName::new(NEXT));
    if disk.list()?.iter().any(|file| file.name == next) {
        // Of an attempt that a crash cut off.
        disk.submit(Op::Remove { file: next.clone() }, None);
    }
    let head = manifest.encode();
    disk.submit(Op::Create { file: next.clone(), len: head.len() as u64, head }, None);
    // The last of three barriers: durable when the others are.
    complete(disk, Op::Rename { from: next, to: name }).await?;
    Ok(())
}
