//! One flipped bit in a file of a stopped server: it is found, or it does no harm; it is never
//! served.
//!
//! `report`: what came of it. `naming`: whether a log says where the damage is.

mod naming;
mod report;

use super::error::HarnessError;
use super::filled_store::FilledStore;
use super::server::{Server, ServerSpec};
use super::tool::ServerArgs;
use super::tree::{Tree, copy, files_below};
use naming::{last_line, names, names_folder, names_place, part};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use report::{Flip, FlipOutcome, FlipReport};

/// How long a server that noticed damage while serving may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What etcd, too, logs when it begins to serve.
const SERVES: &str = "ready to serve client requests";

/// A series of flips.
#[derive(Clone, Debug)]
pub struct BitFlips {
    /// The server.
    pub server: ServerArgs,
    /// An empty folder.
    pub folder: PathBuf,
    /// Decides content, files and bits.
    pub seed: u64,
    /// Operations the store is filled with.
    pub writes: usize,
    /// Flips in each class of file.
    pub flips_per_class: usize,
    /// Whether the server may name only the folder of the damaged file.
    pub folder_is_enough: bool,
}

/// Fills a server, stops it, and for every class of file flips one bit at a time in a fresh copy
/// of its data.
pub async fn flip_bits(plan: &BitFlips) -> Result<FlipReport, HarnessError> {
    let mut spec = ServerSpec::new(&plan.server.binary, &plan.folder)?;
    spec.extra_args.clone_from(&plan.server.extra_args);
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
    Ok(FlipReport { flips, folder_is_enough: plan.folder_is_enough })
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
    for file in files_below(data)? {
        let failed = HarnessError::io(format!("look at {}", file.display()));
        if std::fs::metadata(data.join(&file)).map_err(failed)?.len() > 0 {
            classes.entry(class(&file)).or_default().push(file);
        }
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
    let before = Tree::of(&spec.data_dir)?;
    let mut server = spec.start()?;
    let complaint = match server.until_ready().await {
        Ok(mut connection) => match filled.verify(&mut connection).await {
            Ok(()) => {
                let log = server.log_text();
                server.kill().await?;
                let mended = names_place(&log, file);
                return Ok(if mended { FlipOutcome::Mended } else { FlipOutcome::Harmless });
            }
            Err(error) => error,
        },
        Err(error) => error,
    };
    if !stopped(&mut server).await? {
        server.kill().await?;
        let served = matches!(complaint, HarnessError::Refused { .. });
        let complaint = complaint.to_string();
        return Ok(if served {
            FlipOutcome::Served(complaint)
        } else {
            FlipOutcome::Hung(complaint)
        });
    }
    let log = server.log_text();
    // A member that has served has written, and tidied up.
    let has_served = log.contains(SERVES);
    let changed = if has_served {
        Vec::new()
    } else {
        before.lost_in(&Tree::of(&spec.data_dir)?, part(file))
    };
    Ok(if !changed.is_empty() {
        FlipOutcome::Changed(changed)
    } else if names_place(&log, file) {
        FlipOutcome::Named
    } else if names(&log, file) {
        FlipOutcome::FileNamed(last_line(&log))
    } else if names_folder(&log, file) {
        FlipOutcome::FolderNamed(last_line(&log))
    } else {
        FlipOutcome::Unnamed(last_line(&log))
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

#[cfg(test)]
mod tests {
    use super::{class, names, names_folder, names_place, part};
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
        assert_eq!(part(Path::new("member/engine/tables/7")), Path::new("member/engine"));
        assert_eq!(part(Path::new("MANIFEST")), Path::new("MANIFEST"));
        assert!(names_place("corrupt: /d/tables/7 at offset 17", Path::new("engine/tables/7")));
        assert!(!names_place("corrupt: /d/tables/7", Path::new("engine/tables/7")));
        assert!(names_folder("corrupt: /d/member/engine", Path::new("member/engine/tables/7")));
        assert!(!names_folder("corrupt: /d/member", Path::new("member/engine/tables/7")));
    }
}
