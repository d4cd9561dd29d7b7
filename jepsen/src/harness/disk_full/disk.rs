//! A disk that is small enough to be filled.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::error::HarnessError;

pub(super) const MIB: u64 = 1 << 20;

/// A small disk in memory, unmounted when dropped.
pub(super) struct Disk {
    pub(super) path: PathBuf,
}

impl Disk {
    /// The inner error says why this machine cannot mount one.
    pub(super) fn mount(path: &Path, mib: u64) -> Result<Result<Self, String>, HarnessError> {
        std::fs::create_dir(path).map_err(HarnessError::io("make a mount point"))?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "vetch-disk-full"])
            .arg(path)
            .output();
        Ok(match mount {
            Ok(output) if output.status.success() => Ok(Self { path: path.to_owned() }),
            Ok(output) => Err(format!(
                "a tmpfs cannot be mounted here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("mount cannot be run: {error}")),
        })
    }

    /// Writes a file that leaves only `room` bytes.
    pub(super) fn fill_but(&self, room: u64) -> Result<PathBuf, HarnessError> {
        let path = self.path.join("ballast");
        let failed = || HarnessError::io("write the ballast");
        let mut file = std::fs::File::create(&path).map_err(failed())?;
        let chunk = vec![0xa5; usize::try_from(MIB).expect("small")];
        // Asked again each time: the server takes space meanwhile.
        while self.free()? > room + MIB {
            file.write_all(&chunk).map_err(failed())?;
        }
        if room == 0 {
            // To the last byte.
            while file.write_all(&chunk[..4096]).is_ok() {}
        }
        Ok(path)
    }

    fn free(&self) -> Result<u64, HarnessError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|error| HarnessError::io("ask for free space")(error.into()))?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a killed server may not have let go of its files yet.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        debug_assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} stays",
            self.path.display()
        );
    }
}

pub(super) fn remove(ballast: PathBuf) -> Result<(), HarnessError> {
    std::fs::remove_file(ballast).map_err(HarnessError::io("remove the ballast"))
}
