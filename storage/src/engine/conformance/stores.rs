//! A store for each engine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Store;
use crate::engine::Options;
use crate::engine::fjall::FjallEngine;
use crate::engine::mem::MemEngine;
#[cfg(feature = "sled")]
use crate::engine::sled::SledEngine;
use crate::error::Fatal;

/// The images of a [`MemEngine`].
#[derive(Debug, Default)]
pub struct MemStore;

impl Store for MemStore {
    type Engine = MemEngine;

    fn open(&mut self) -> MemEngine {
        MemEngine::new()
    }

    fn reopen(&mut self, engine: MemEngine) -> MemEngine {
        engine.crash_live()
    }

    fn crash(&mut self, engine: MemEngine) -> MemEngine {
        engine.crash()
    }
}

/// A directory. A crash copies it while the engine still runs, so that nothing of a clean stop is in
/// the copy.
#[derive(Debug)]
struct Directory {
    root: PathBuf,
    generation: u32,
}

impl Directory {
    fn path(&self) -> PathBuf {
        self.root.join(self.generation.to_string())
    }

    /// Copies the directory and moves to the copy.
    fn fork(&mut self) {
        let from = self.path();
        self.generation += 1;
        copy_dir(&from, &self.path()).expect("the directory can be copied");
    }
}

/// Copies files as they are, holes at their ends included.
pub(in crate::engine) fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
            continue;
        }
        let mut bytes = match fs::read(entry.path()) {
            Ok(bytes) => bytes,
            // Removed by the running engine since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = bytes.len();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        fs::write(&target, bytes)?;
        fs::OpenOptions::new().write(true).open(&target)?.set_len(length as u64)?;
    }
    Ok(())
}

/// Opens an engine. sled gives up its file lock on a thread of its own, a moment after the last
/// handle on it is dropped, so a lock that is held is waited for.
fn open_when_released<E>(open: impl Fn() -> Result<E, Fatal>) -> E {
    const TRIES: u32 = 1_000;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..TRIES {
        match open() {
            Err(Fatal::Io { message, .. }) if message.contains("could not acquire lock") => {
                thread::sleep(PAUSE);
            }
            opened => return opened.expect("the engine opens"),
        }
    }
    panic!("the directory is still locked after {:?}", PAUSE * TRIES);
}

macro_rules! disk_store {
    ($(#[$doc:meta])* $store:ident, $engine:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $store(Directory);

        impl $store {
            /// A store below `root`, which must be empty and outlive it.
            pub fn new(root: &Path) -> Self {
                Self(Directory { root: root.to_owned(), generation: 0 })
            }

            /// Where the state is now.
            pub fn path(&self) -> PathBuf {
                self.0.path()
            }
        }

        impl Store for $store {
            type Engine = $engine;

            fn open(&mut self) -> $engine {
                open_when_released(|| $engine::open(&self.path(), Options::default()))
            }

            fn reopen(&mut self, engine: $engine) -> $engine {
                drop(engine);
                self.open()
            }

            fn crash(&mut self, engine: $engine) -> $engine {
                self.0.fork();
                drop(engine);
                self.open()
            }
        }
    };
}

disk_store!(
    /// A directory of a [`FjallEngine`].
    FjallStore,
    FjallEngine
);
#[cfg(feature = "sled")]
disk_store!(
    /// A directory of a [`SledEngine`].
    SledStore,
    SledEngine
);
