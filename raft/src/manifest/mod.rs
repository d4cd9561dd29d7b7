//! What a data directory says of itself, and who may use it.
//!
//! ```text
//! <data-dir>/LOCK       held while a process uses the directory
//! <data-dir>/MANIFEST   who this member is and what wrote the directory: one line of JSON, CRC'd
//! <data-dir>/member/wal, engine, snap
//! ```
//! The engine of a state that was received from a peer is in `engine-<generation>`; the manifest says
//! which is in use, so that writing the manifest switches from one state to the other.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vetch_storage::{ClusterId, LogIndex, NodeId};

pub mod identity;
mod lock;
mod store;

pub use lock::DirLock;
pub(crate) use store::{load, store};

/// The newest layout of a data directory this version reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// Who a member is. Fixed when its directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The member.
    pub member: NodeId,
    /// Drawn at random when the directory was made: tells a member from one that was wiped and came
    /// back under the same id, which may have forgotten a vote.
    pub instance: u64,
}

/// A directory's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Who lives here.
    pub identity: Identity,
    /// The engine that wrote `member/engine`.
    pub engine: String,
    /// The log has had its first entry: from then on an empty log is a lost one.
    pub initialized: bool,
    /// It was made to join a cluster: the log's first entry comes from a leader.
    pub joins: bool,
    /// A cluster of this member alone is being made of what is here: to be completed.
    pub forcing: bool,
    /// The state in use.
    pub state: StateInUse,
    /// The state was found to be another than its cluster's; how.
    pub diverged: Option<String>,
    /// How long, in milliseconds, leaders may rely on what this member has let them rely on, whatever
    /// becomes of its process: so long the next one lets nobody else lead.
    pub keeps_ms: u64,
}

/// Which of a member's states is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateInUse {
    /// Counts the states that were received from peers; 0 is the one the directory began with.
    pub generation: u64,
    /// The position it was received with; 0 for the first.
    pub installed: LogIndex,
}

/// Why a directory is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not what was written.
    #[error(
        "{path} at offset 0 is damaged: {reason}; nothing was changed: restore it from a backup, or \
         this member from a snapshot or its peers",
        path = path.display()
    )]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version made the directory.
    #[error(
        "{path} has format {found}, this version reads up to {FORMAT}: run the version that wrote it, \
         or a newer one",
        path = path.display()
    )]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The directory was made with another engine.
    #[error(
        "{path} was made with storage engine {found}, but {configured} is configured: start with \
         --storage-engine={found}, or move the data by snapshot and restore",
        path = path.display()
    )]
    OtherEngine {
        /// The manifest.
        path: PathBuf,
        /// The engine it names.
        found: String,
        /// The engine asked for.
        configured: String,
    },
}

/// The manifest's text. Ids are hexadecimal strings, as etcd prints them: a JSON number does not hold
/// 64 bits everywhere.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    cluster_id: String,
    member_id: String,
    instance_id: String,
    engine: String,
    initialized: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    joins: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    forcing: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    generation: u64,
    #[serde(default, skip_serializing_if = "is_unset")]
    installed: u64,
    #[serde(default, skip_serializing_if = "is_unset")]
    diverged: Option<String>,
    #[serde(default, skip_serializing_if = "is_unset")]
    keeps_ms: u64,
}

fn is_unset<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

#[derive(Debug, Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    /// The file's bytes: the JSON text, a space, its CRC-32 in hex, a line end.
    pub fn encode(&self) -> Vec<u8> {
        let text = Text {
            format: FORMAT,
            cluster_id: format!("{:x}", self.identity.cluster.0),
            member_id: format!("{:x}", self.identity.member.0),
            instance_id: format!("{:x}", self.identity.instance),
            engine: self.engine.clone(),
            initialized: self.initialized,
            joins: self.joins,
            forcing: self.forcing,
            generation: self.state.generation,
            installed: self.state.installed.0,
            diverged: self.diverged.clone(),
            keeps_ms: self.keeps_ms,
        };
        let json = serde_json::to_string(&text).expect("plain fields always serialize");
        format!("{json} {:08x}\n", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    /// The manifest in `bytes`, read from `path`.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, ManifestError> {
        let damaged =
            |reason: &str| ManifestError::Damaged { path: path.to_owned(), reason: reason.into() };
        let line = std::str::from_utf8(bytes).map_err(|error| damaged(&error.to_string()))?;
        let line = line.strip_suffix('\n').ok_or_else(|| damaged("it is cut short"))?;
        let (json, crc) = line.rsplit_once(' ').ok_or_else(|| damaged("it has no checksum"))?;
        if crc != format!("{:08x}", crc32fast::hash(json.as_bytes())) {
            return Err(damaged("its checksum does not fit"));
        }
        // The format first: a newer one may have other fields.
        let Format { format } =
            serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        if format > FORMAT {
            return Err(ManifestError::Newer { path: path.to_owned(), found: format });
        }
        let text: Text = serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        let id = |hex: &str| {
            u64::from_str_radix(hex, 16).map_err(|error| damaged(&format!("id {hex}: {error}")))
        };
        let identity = Identity {
            cluster: ClusterId(id(&text.cluster_id)?),
            member: NodeId(id(&text.member_id)?),
            instance: id(&text.instance_id)?,
        };
        let state = StateInUse { generation: text.generation, installed: LogIndex(text.installed) };
        let Text { engine, initialized, joins, forcing, diverged, keeps_ms, .. } = text;
        Ok(Self { identity, engine, initialized, joins, forcing, state, diverged, keeps_ms })
    }

    /// Refuses a directory of another engine.
    pub fn check_engine(&self, path: &Path, configured: &str) -> Result<(), ManifestError> {
        if self.engine == configured {
            return Ok(());
        }
        Err(ManifestError::OtherEngine {
            path: path.to_owned(),
            found: self.engine.clone(),
            configured: configured.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            identity: Identity {
                cluster: ClusterId(u64::MAX),
                member: NodeId(0x8e9e_05c5_2164_694d),
                instance: 1,
            },
            engine: "fjall".into(),
            initialized: true,
            joins: false,
            forcing: true,
            state: StateInUse { generation: 3, installed: LogIndex(77) },
            diverged: Some("member 1 differs".into()),
            keeps_ms: 300,
        }
    }

    fn path() -> PathBuf {
        PathBuf::from("data/MANIFEST")
    }

    #[test]
    fn it_reads_back_what_it_wrote() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&path(), &bytes).unwrap(), manifest());
    }

    /// What earlier versions wrote, and what is written as long as no state was received.
    #[test]
    fn the_first_state_is_not_mentioned() {
        let first = Manifest { state: StateInUse::default(), diverged: None, ..manifest() };
        let bytes = first.encode();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("generation") && !text.contains("diverged"));
        assert_eq!(Manifest::decode(&path(), &bytes).unwrap(), first);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = manifest().encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let error = Manifest::decode(&path(), &flipped).unwrap_err();
                assert!(matches!(error, ManifestError::Damaged { .. }), "byte {at} bit {bit}");
            }
            assert!(Manifest::decode(&path(), &bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_format_names_itself_whatever_its_fields() {
        let json = r#"{"format":2,"shards":[]}"#;
        let bytes = format!("{json} {:08x}\n", crc32fast::hash(json.as_bytes()));
        let error = Manifest::decode(&path(), bytes.as_bytes()).unwrap_err();
        assert_eq!(error, ManifestError::Newer { path: path(), found: 2 });
        assert!(error.to_string().contains("newer"));
    }

    #[test]
    fn another_engine_is_refused_with_the_way_out() {
        manifest().check_engine(&path(), "fjall").unwrap();
        let error = manifest().check_engine(&path(), "sled").unwrap_err();
        assert!(error.to_string().contains("--storage-engine=fjall"), "{error}");
    }
}
