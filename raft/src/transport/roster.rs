//! Which instance of each member is the real one.
//!
//! A member that lost its data directory may have forgotten a vote or an acknowledged entry; under its
//! old id it could elect two leaders of one term. Each member therefore notes durably the instance
//! with which it first met each other member, and deals with no other under that id. Ids are never used
//! again, so a member that was replaced comes back under a new one and is met anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use vetch_proto::vetchpb::{Hello, Refusal, refusal::Reason};
use vetch_storage::{Fatal, NodeId};

use super::wire::refuse;
use crate::disk::{Disk, FileName, Op, complete};
use crate::manifest::Identity;
use crate::replica::stop::Stop;

const NAME: &str = "PEERS";
/// The next list until it is complete and durable.
const NEXT: &str = "PEERS.next";

/// The members met so far.
///
/// **Invariant:** an instance is durable before anything it says or asks is acted upon.
#[derive(Debug)]
pub(crate) struct Roster {
    identity: Identity,
    known: Mutex<BTreeMap<NodeId, u64>>,
    /// `None` once the member has stopped.
    disk: Mutex<Option<Arc<dyn Disk>>>,
    /// Held across a write: one at a time.
    writing: tokio::sync::Mutex<()>,
    stop: Arc<Stop>,
}

impl Roster {
    /// The list on `disk`; an empty one when there is none. Blocks.
    pub(crate) fn load(
        disk: Arc<dyn Disk>,
        identity: Identity,
        stop: Arc<Stop>,
    ) -> Result<Self, Fatal> {
        let (name, next) = (FileName::new(NAME), FileName::new(NEXT));
        let files = disk.list()?;
        if files.iter().any(|file| file.name == next) {
            // Of an attempt that a crash cut off.
            disk.submit(Op::Remove { file: next }, None);
        }
        let known = match files.into_iter().find(|file| file.name == name) {
            None => BTreeMap::new(),
            Some(file) => {
                let len = usize::try_from(file.len).unwrap_or(usize::MAX);
                let bytes = disk.read(&name, 0, len)?;
                decode(&bytes).ok_or_else(|| Fatal::Corrupt {
                    location: disk.path(&name).display().to_string(),
                    expected: "the list of peers this member has met".to_owned(),
                    found: "a damaged file: restore it, or replace this member".to_owned(),
                })?
            }
        };
        let (known, disk) = (Mutex::new(known), Mutex::new(Some(disk)));
        Ok(Self { identity, known, disk, writing: tokio::sync::Mutex::new(()), stop })
    }

    /// What this member says first to `to`.
    pub(crate) fn hello(&self, to: NodeId) -> Hello {
        let Identity { cluster, member, instance } = self.identity;
        let to_instance = self.known.lock().get(&to).copied().unwrap_or(0);
        Hello { cluster: cluster.0, from: member.0, instance, to: to.0, to_instance }
    }

    /// Where a reason to stop is raised.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// This member's own instance.
    pub(crate) fn instance(&self) -> u64 {
        self.identity.instance
    }

    /// Whether this member knows who `member` is.
    pub(crate) fn has_met(&self, member: NodeId) -> bool {
        self.known.lock().contains_key(&member)
    }

    /// Whether to listen to whoever says `hello`.
    pub(crate) async fn admit(&self, hello: Option<&Hello>) -> Result<NodeId, Refusal> {
        let stranger = |message: String| Err(refuse(Reason::Stranger, message));
        let Some(hello) = hello else {
            return stranger("the peer does not say who it is".to_owned());
        };
        let Identity { cluster, member, .. } = self.identity;
        if hello.cluster != cluster.0 {
            return stranger(format!(
                "member {:x} belongs to cluster {:x}, this is member {:x} of cluster {:x}: check \
                 --initial-cluster and --initial-cluster-token of both",
                hello.from, hello.cluster, member.0, cluster.0
            ));
        }
        if hello.to != member.0 || hello.from == member.0 {
            return stranger(format!(
                "member {:x} looks for member {:x} here, but this is member {:x}: a peer URL leads \
                 to the wrong member",
                hello.from, hello.to, member.0
            ));
        }
        if hello.to_instance != 0 && hello.to_instance != self.identity.instance {
            let fatal = self.forgotten(hello);
            let message = fatal.to_string();
            self.stop.raise(fatal);
            return stranger(message);
        }
        let from = NodeId(hello.from);
        self.recognize(from, hello.instance).await.map(|()| from)
    }

    /// This member is not the one its peers know: it must not run.
    fn forgotten(&self, hello: &Hello) -> Fatal {
        let Identity { member, instance, .. } = self.identity;
        Fatal::Corrupt {
            location: format!("data directory of member {:x}", member.0),
            expected: format!(
                "instance {:x}, as member {:x} knows it",
                hello.to_instance, hello.from
            ),
            found: format!(
                "instance {instance:x}: the directory was wiped or replaced. Restore it, or remove the \
                 member from the cluster and add it again, under a new id"
            ),
        }
    }

    /// Whether `instance` is the member that was met before under this id; the first one is noted.
    pub(crate) async fn recognize(&self, member: NodeId, instance: u64) -> Result<(), Refusal> {
        if self.is_known(member, instance)? {
            return Ok(());
        }
        let _turn = self.writing.lock().await;
        if self.is_known(member, instance)? {
            return Ok(());
        }
        let disk = self.disk.lock().clone();
        let Some(disk) = disk else {
            return Err(refuse(Reason::Stopping, "this member stops"));
        };
        let mut next = self.known.lock().clone();
        next.insert(member, instance);
        if let Err(fatal) = store(&*disk, &next).await {
            self.stop.raise(fatal);
            return Err(refuse(Reason::Stopping, "this member stops"));
        }
        *self.known.lock() = next;
        Ok(())
    }

    fn is_known(&self, member: NodeId, instance: u64) -> Result<bool, Refusal> {
        match self.known.lock().get(&member) {
            None => Ok(false),
            Some(known) if *known == instance => Ok(true),
            Some(known) => Err(refuse(
                Reason::Stranger,
                format!(
                    "member {:x} was instance {known:x} and says that it is {instance:x} now: its \
                     data directory was wiped or replaced, and it may have forgotten a vote. Remove \
                     it from the cluster and add it again, under a new id",
                    member.0
                ),
            )),
        }
    }

    /// Lets go of the disk; whoever is not known yet is refused from now on.
    pub(crate) fn close(&self) {
        self.disk.lock().take();
    }
}

/// One line per member, then the CRC of those lines.
fn encode(known: &BTreeMap<NodeId, u64>) -> Vec<u8> {
    let mut lines = String::new();
    for (member, instance) in known {
        writeln!(lines, "{:x} {instance:x}", member.0).expect("a string takes everything");
    }
    let crc = crc32fast::hash(lines.as_bytes());
    format!("{lines}crc {crc:08x}\n").into_bytes()
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<NodeId, u64>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (lines, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
    if crc != format!("{:08x}", crc32fast::hash(lines.as_bytes())) {
        return None;
    }
    let id = |hex: &str| u64::from_str_radix(hex, 16).ok();
    lines
        .lines()
        .map(|line| {
            let (member, instance) = line.split_once(' ')?;
            Some((NodeId(id(member)?), id(instance)?))
        })
        .collect()
}

/// Replaces the list, durably.
///
/// May be cancelled at its one wait: by then both operations are queued, and the disk carries them out
/// before those of the next call. So the directory is not looked at here, where it may show the file
/// that the operation before is about to rename.
async fn store(disk: &dyn Disk, known: &BTreeMap<NodeId, u64>) -> Result<(), Fatal> {
    let (name, next) = (FileName::new(NAME), FileName::new(NEXT));
    let head = encode(known);
    disk.submit(Op::Create { file: next.clone(), len: head.len() as u64, head }, None);
    complete(disk, Op::Rename { from: next, to: name }).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
