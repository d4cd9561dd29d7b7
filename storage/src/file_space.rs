//! Giving a file's blocks back without holding up everybody else on the device.

use std::fs::File;
use std::io;

/// Blocks given back at once. A device that is told of unused blocks (`discard`) is busy with them for as
/// long as they are many, and a synced write beside them waits.
const STEP: u64 = 1 << 20;

/// Cuts the file to nothing, piece by piece; to be called before its last name or handle goes, which
/// would give all of it back at once. Blocks for as long as the device takes, so not on a thread that
/// others wait for. What an error leaves goes with the last handle.
pub fn release(file: &File) -> io::Result<()> {
    let mut len = file.metadata()?.len();
    while len > 0 {
        len = len.saturating_sub(STEP);
        file.set_len(len)?;
    }
    Ok(())
}
