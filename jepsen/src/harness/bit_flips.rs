//! One flipped bit in a file of a stopped server: it is found, or it does no harm; it is never
//! served.

use super::error::HarnessError;
use super::filled_store::FilledStore;
use super::server::{Server, ServerSpec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server that noticed damage while serving may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A series of flips.
#[derive(Clone, Debug)]
pub struct BitFlips {
    /// The server program.
    pub binary: PathBuf,
    /// An empty folder.
    pub folder: PathBuf,
    /// Decides content, files and bits.
    pub seed: u64,
    /// Operations the store is filled with.
    pub writes: usize,
    /// Flips in each class of file.
    pub flips_per_class: usize,
    /// Flags besides those every member needs.
    pub extra_args: Vec<String>,
}

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
    /// Refused to start, or stopped while serving, naming the file.
    Named,
    /// Everything it answered was right and complete.
    Harmless,
    /// Stopped, and named only the folder the file is in: nothing wrong was served. Acceptable, because
    /// fjall does not say which of its files it found damaged, and its folder is what is replaced as a
    /// whole; counted apart, so that it is seen. The end of the log.
    FolderNamed(String),
    /// Stopped without saying where. The end of its log.
    Unnamed(String),
    /// Answered wrongly or incompletely and went on: the one thing that must never be.
    Served(String),
    /// Neither served nor stopped.
    Hung(String),
}

impl FlipOutcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Named => "refused, file named",
            Self::Harmless => "harmless",
            Self::FolderNamed(_) => "refused, only the folder named",
            Self::Unnamed(_) => "REFUSED, NOTHING NAMED",
            Self::Served(_) => "SERVED",
            Self::Hung(_) => "HUNG",
        }
    }

    /// True if this is as it should be.
    pub fn is_acceptable(&self) -> bool {
        matches!(self, Self::Named | Self::Harmless | Self::FolderNamed(_))
    }
}

/// All flips of a series.
#[derive(Clone, Debug)]
pub struct FlipReport {
    /// In the order made.
    pub flips: Vec<Flip>,
}

impl FlipReport {
    /// True if every outcome is as it should be.
    pub fn passed(&self) -> bool {
        self.flips.iter().all(|flip| flip.outcome.is_acceptable())
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
        for flip in self.flips.iter().filter(|flip| !flip.outcome.is_acceptable()) {
            let (byte, bit) = flip.place;
            writeln!(out, "- {} byte {byte} bit {bit}: {:?}", flip.file.display(), flip.outcome)?;
        }
        Ok(())
    }
}

/// Fills a server, stops it, and for every class of file flips one bit at a time in a fresh copy
/// of its data.
pub async fn flip_bits(plan: &BitFlips) -> Result<FlipReport, HarnessError> {
    let mut spec = ServerSpec::new(&plan.binary, &plan.folder)?;
    spec.extra_args.clone_from(&plan.extra_args);
    let filled = fill(&spec, plan).await?;
    let pristine = plan.folder.join("pristine");
    copy(&spec.data_dir, &pristine)?;
    undamaged_is_served(&spec, &filled).await?;

    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut flips = Vec::new();
    for (class, files) in classes(&pristine)? {
        for number in 0..plan.flips_per_class {
            let file = files[random.random_range(0..files.len())].clone();
            copy(&pristine, &spec.data_dir)?;
            let place = flip(&spec.data_dir.join(&file), number, &mut random)?;
            let outcome = observe(&spec, &file, &filled).await?;
            flips.push(Flip { class: class.clone(), file, place, outcome });
        }
    }
    Ok(FlipReport { flips })
}

async fn fill(spec: &ServerSpec, plan: &BitFlips) -> Result<FilledStore, HarnessError> {
    let mut server = spec.start()?;
    let mut connection = server.until_ready().await?;
    let filled = FilledStore::fill(&mut connection, plan.seed, plan.writes).await?;
    server.terminate().await?;
    Ok(filled)
}

/// Without this, a server that cannot restart at all would pass as one that detects damage.
async fn undamaged_is_served(spec: &ServerSpec, filled: &FilledStore) -> Result<(), HarnessError> {
    let mut server = spec.start()?;
    let mut connection = server.until_ready().await?;
    filled.verify(&mut connection).await?;
    server.kill().await
}

/// Files by folder and kind; numbers in names are left out, so that the segments of a log or the
/// tables of an engine are one class.
fn classes(data: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, HarnessError> {
    let mut classes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let listed = || HarnessError::io(format!("list {}", folder.display()));
        for entry in std::fs::read_dir(&folder).map_err(listed())? {
            let entry = entry.map_err(listed())?;
            let metadata = entry.metadata().map_err(listed())?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.len() > 0 {
                let path = entry.path();
                let file = path.strip_prefix(data).expect("is below").to_owned();
                classes.entry(class(&file)).or_default().push(file);
            }
        }
    }
    for files in classes.values_mut() {
        files.sort();
    }
    Ok(classes)
}

fn class(file: &Path) -> String {
    let mut class = String::new();
    for character in file.to_string_lossy().chars() {
        // A name that is a number, decimal or hexadecimal, or several of them.
        let digit = character.is_ascii_digit();
        match (digit, class.ends_with('#')) {
            (true, true) => {}
            (true, false) => class.push('#'),
            (false, true) if matches!(character, 'a'..='f') => {}
            (false, _) => class.push(character),
        }
    }
    class
}

/// Every other flip hits the part of the file before its trailing zeros: preallocated files are
/// mostly zeros, and a bit there is rarely of interest.
fn flip(path: &Path, number: usize, random: &mut StdRng) -> Result<(u64, u8), HarnessError> {
    let mut bytes = std::fs::read(path).map_err(HarnessError::io("read a file to damage"))?;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let limit = if number.is_multiple_of(4) { bytes.len() } else { used };
    let (byte, bit) = (random.random_range(0..limit), random.random_range(0..8));
    bytes[byte] ^= 1 << bit;
    std::fs::write(path, bytes).map_err(HarnessError::io("damage a file"))?;
    Ok((byte as u64, bit))
}

async fn observe(
    spec: &ServerSpec,
    file: &Path,
    filled: &FilledStore,
) -> Result<FlipOutcome, HarnessError> {
    let mut server = spec.start()?;
    let complaint = match server.until_ready().await {
        Ok(mut connection) => match filled.verify(&mut connection).await {
            Ok(()) => {
                server.kill().await?;
                return Ok(FlipOutcome::Harmless);
            }
            Err(error) => error,
        },
        Err(error) => error,
    };
    let stopped = stopped(&mut server).await?;
    let log = server.log_text();
    let served = matches!(complaint, HarnessError::Refused { .. });
    if !stopped {
        server.kill().await?;
    }
    Ok(match (stopped, served) {
        (true, _) if names(&log, file) => FlipOutcome::Named,
        (true, _) if names_folder(&log, file) => FlipOutcome::FolderNamed(last_line(&log)),
        (true, _) => FlipOutcome::Unnamed(last_line(&log)),
        (false, true) => FlipOutcome::Served(complaint.to_string()),
        (false, false) => FlipOutcome::Hung(complaint.to_string()),
    })
}

/// A server that meets damage while serving stops soon after the answer it failed to give.
async fn stopped(server: &mut Server) -> Result<bool, HarnessError> {
    let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
    while server.exited()?.is_none() {
        if tokio::time::Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(true)
}

/// A short name such as "7" could be anything: it counts with its folder only.
fn names(log: &str, file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
    match folder {
        Some(folder) if name.len() < 5 => log.contains(&format!("{folder}/{name}")),
        Some(_) | None => log.contains(&*name),
    }
}

/// Any folder above the file, below the data directory's own `member`.
fn names_folder(log: &str, file: &Path) -> bool {
    let is_told =
        |folder: &Path| folder.components().count() > 1 && log.contains(&*folder.to_string_lossy());
    file.ancestors().skip(1).any(is_told)
}

fn last_line(log: &str) -> String {
    log.lines().next_back().unwrap_or_default().chars().take(600).collect()
}

/// Replaces `to` by a copy of `from`.
fn copy(from: &Path, to: &Path) -> Result<(), HarnessError> {
    let failed = || HarnessError::io(format!("copy {} to {}", from.display(), to.display()));
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(failed())?;
    }
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).map_err(failed())?;
        let permissions = std::fs::metadata(&from).map_err(failed())?.permissions();
        std::fs::set_permissions(&to, permissions).map_err(failed())?;
        for entry in std::fs::read_dir(&from).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let target = to.join(entry.file_name());
            if entry.file_type().map_err(failed())?.is_dir() {
                folders.push((entry.path(), target));
            } else {
                std::fs::copy(entry.path(), &target).map_err(failed())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{class, names, names_folder};
    use std::path::Path;

    #[test]
    fn numbered_files_are_one_class() {
        let of = |path: &str| class(Path::new(path));
        assert_eq!(of("member/wal/00000001.seg"), of("member/wal/00000012.seg"));
        assert_eq!(of("member/wal/0000-00ab.wal"), of("member/wal/0001-00000.wal"));
        assert_ne!(of("member/engine/keyspaces/1/tables/7"), of("member/engine/journals/1"));
        assert_ne!(of("MANIFEST"), of("member/wal/1.seg"));
    }

    #[test]
    fn a_short_name_counts_with_its_folder_only() {
        assert!(names("corrupt: wal/00000001.seg at 17", Path::new("member/wal/00000001.seg")));
        assert!(names("corrupt: /d/engine/tables/7 at 17", Path::new("engine/tables/7")));
        assert!(!names("exit code 7", Path::new("engine/tables/7")));
        assert!(names_folder("corrupt: /d/member/engine", Path::new("member/engine/tables/7")));
        assert!(!names_folder("corrupt: /d/member", Path::new("member/engine/tables/7")));
    }
}
