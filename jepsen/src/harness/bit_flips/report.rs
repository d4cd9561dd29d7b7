//! What came of flipped bits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::harness::tool::Report;

/// One flip and what came of it.
#[derive(Clone, Debug)]
pub struct Flip {
    /// The class of the file.
    pub class: String,
    /// The file, relative to the data directory.
    pub file: PathBuf,
    /// Byte and bit.
    pub place: (u64, u8),
    /// What the server did.
    pub outcome: FlipOutcome,
}

/// What a server did with a flipped bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlipOutcome {
    /// Refused to start, or stopped while serving, naming file and offset. If it refused, its files
    /// are as they were.
    Named,
    /// Everything it answered was right and complete, and its log names file and offset.
    Mended,
    /// Everything it answered was right and complete.
    Harmless,
    /// Stopped, and named the file without the offset. The end of the log.
    FileNamed(String),
    /// Stopped, and named only the folder the file is in. The end of the log.
    FolderNamed(String),
    /// Stopped without saying where. The end of its log.
    Unnamed(String),
    /// Refused to start, and changed or removed these files.
    Changed(Vec<PathBuf>),
    /// Answered wrongly or incompletely and went on: the one thing that must never be.
    Served(String),
    /// Neither served nor stopped.
    Hung(String),
}

impl FlipOutcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Named => "refused, file and offset named",
            Self::Mended => "served rightly, file and offset named",
            Self::Harmless => "harmless",
            Self::FileNamed(_) => "refused, only the file named",
            Self::FolderNamed(_) => "refused, only the folder named",
            Self::Unnamed(_) => "REFUSED, NOTHING NAMED",
            Self::Changed(_) => "REFUSED, FILES CHANGED",
            Self::Served(_) => "SERVED",
            Self::Hung(_) => "HUNG",
        }
    }

    /// True if this is as it should be.
    pub fn is_acceptable(&self, folder_is_enough: bool) -> bool {
        match self {
            Self::Named | Self::Mended | Self::Harmless => true,
            Self::FileNamed(_) | Self::FolderNamed(_) => folder_is_enough,
            Self::Unnamed(_) | Self::Changed(_) | Self::Served(_) | Self::Hung(_) => false,
        }
    }
}

/// All flips of a series.
#[derive(Clone, Debug)]
pub struct FlipReport {
    /// In the order made.
    pub flips: Vec<Flip>,
    pub(super) folder_is_enough: bool,
}

impl FlipReport {
    fn findings(&self) -> impl Iterator<Item = &Flip> {
        self.flips.iter().filter(|flip| !flip.outcome.is_acceptable(self.folder_is_enough))
    }
}

impl Report for FlipReport {
    fn passed(&self) -> bool {
        self.findings().next().is_none()
    }
}

impl fmt::Display for FlipReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut classes: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for flip in &self.flips {
            let outcomes = classes.entry(&flip.class).or_default();
            *outcomes.entry(flip.outcome.word()).or_default() += 1;
        }
        for (class, outcomes) in classes {
            writeln!(out, "{class}: {outcomes:?}")?;
        }
        for flip in self.findings() {
            let (byte, bit) = flip.place;
            writeln!(out, "- {} byte {byte} bit {bit}: {:?}", flip.file.display(), flip.outcome)?;
        }
        Ok(())
    }
}
