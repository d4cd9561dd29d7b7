//! One process per data directory.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The name of the lock file in the data directory.
const NAME: &str = "LOCK";

/// The right to use a data directory; given back when dropped, by the kernel if need be.
#[derive(Debug)]
pub struct DirLock {
    /// `None` where no other process can be: in the simulator.
    _file: Option<File>,
}

impl DirLock {
    /// Takes the lock of `dir`, which must exist; `None` while another process holds it.
    pub fn try_acquire(dir: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(dir.join(NAME))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: Some(file) })),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lock where nobody else can be.
    pub(crate) const fn nobody_else() -> Self {
        Self { _file: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::try_acquire(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(DirLock::try_acquire(dir.path()).unwrap().is_none());
        drop(first);
        assert!(DirLock::try_acquire(dir.path()).unwrap().is_some());
    }
}
