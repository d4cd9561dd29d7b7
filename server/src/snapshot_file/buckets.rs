//! What is in which bucket of etcd's database, in ascending order of bucket and key.

use std::io;

use bytes::{BufMut, BytesMut};
use prost::Message;
use vetch_proto::etcdserverpb::{AlarmMember, Member};
use vetch_proto::leasepb;
use vetch_storage::view::StoredVersion;
use vetch_storage::{Engine, Fatal, ReadView};

use crate::version::STORAGE_VERSION;

/// Takes buckets and their pairs, in order.
pub trait BucketSink {
    /// Begins a bucket.
    fn bucket(&mut self, name: &str) -> io::Result<()>;
    /// Adds a pair to the bucket begun last.
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;
}

/// Why the buckets could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The sink's file could not be written.
    #[error("cannot write the snapshot's spool file: {0}")]
    Spool(#[from] io::Error),
    /// The state could not be read; the node must stop.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// Hands over all ten buckets.
pub fn write<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> Result<(), BucketError> {
    alarms(view, sink)?;
    auth(sink)?;
    cluster(view, sink)?;
    keys(view, sink)?;
    leases(view, sink)?;
    members(view, sink)?;
    meta(view, sink)?;
    Ok(())
}

fn alarms<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> io::Result<()> {
    let mut active: Vec<Vec<u8>> = view
        .alarms()
        .iter()
        .map(|(member, kind)| {
            let alarm = AlarmMember { member_id: member.get(), alarm: kind.to_proto().into() };
            alarm.encode_to_vec()
        })
        .collect();
    active.sort();
    sink.bucket("alarm")?;
    active.iter().try_for_each(|alarm| sink.put(alarm, &[]))
}

/// A store on which authentication was never enabled.
fn auth(sink: &mut impl BucketSink) -> io::Result<()> {
    sink.bucket("auth")?;
    sink.put(b"authEnabled", &[0])?;
    sink.put(b"authRevision", &1u64.to_be_bytes())?;
    sink.bucket("authRoles")?;
    sink.bucket("authUsers")
}

fn cluster<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> io::Result<()> {
    sink.bucket("cluster")?;
    match view.cluster_version() {
        Some(version) => sink.put(b"clusterVersion", version.as_bytes()),
        None => Ok(()),
    }
}

/// A key of the bucket `key`: main and sub revision, and a mark on deletions.
fn revision_key(version: &StoredVersion, buffer: &mut BytesMut) {
    buffer.clear();
    buffer.put_i64(version.revision.main.get());
    buffer.put_u8(b'_');
    buffer.put_u64(u64::from(version.revision.sub));
    if version.tombstone {
        buffer.put_u8(b't');
    }
}

fn keys<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> Result<(), BucketError> {
    sink.bucket("key")?;
    let (mut key, mut value) = (BytesMut::new(), Vec::new());
    for version in view.versions() {
        let version = version?;
        revision_key(&version, &mut key);
        value.clear();
        version.kv.encode_raw(&mut value);
        sink.put(&key, &value)?;
    }
    Ok(())
}

fn leases<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> io::Result<()> {
    let mut leases: Vec<([u8; 8], Vec<u8>)> = view
        .leases()
        .iter()
        .map(|lease| {
            let stored = leasepb::Lease {
                id: lease.id.get(),
                ttl: lease.ttl,
                remaining_ttl: lease.remaining_ttl,
            };
            (lease.id.get().to_be_bytes(), stored.encode_to_vec())
        })
        .collect();
    leases.sort();
    sink.bucket("lease")?;
    leases.iter().try_for_each(|(id, lease)| sink.put(id, lease))
}

fn members<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> io::Result<()> {
    let mut members: Vec<(String, String)> = view
        .members()
        .iter()
        .map(|member| (format!("{:x}", member.id), member_json(member).to_string()))
        .collect();
    members.sort();
    sink.bucket("members")?;
    for (id, member) in &members {
        sink.put(id.as_bytes(), member.as_bytes())?;
    }
    sink.bucket("members_removed")
}

/// A member as etcd keeps it. `etcdutl snapshot restore` replaces it.
fn member_json(member: &Member) -> serde_json::Value {
    let mut json = serde_json::json!({ "id": member.id, "peerURLs": member.peer_ur_ls });
    let optional = [
        (member.is_learner, "isLearner", serde_json::Value::from(member.is_learner)),
        (!member.name.is_empty(), "name", serde_json::Value::from(member.name.as_str())),
        (
            !member.client_ur_ls.is_empty(),
            "clientURLs",
            serde_json::Value::from(member.client_ur_ls.clone()),
        ),
    ];
    for (_, name, value) in optional.into_iter().filter(|(present, ..)| *present) {
        json[name] = value;
    }
    json
}

fn meta<E: Engine>(view: &ReadView<E>, sink: &mut impl BucketSink) -> io::Result<()> {
    let voters: Vec<u64> = view.members().iter().filter(|m| !m.is_learner).map(|m| m.id).collect();
    let conf_state = serde_json::json!({ "voters": voters, "auto_leave": false });
    let applied = view.applied();
    sink.bucket("meta")?;
    sink.put(b"confState", conf_state.to_string().as_bytes())?;
    sink.put(b"consistent_index", &applied.index.get().to_be_bytes())?;
    if let Some(compacted) = view.compact_revision() {
        let mut mark = BytesMut::new();
        mark.put_i64(compacted.get());
        mark.put_u8(b'_');
        mark.put_u64(0);
        sink.put(b"finishedCompactRev", &mark)?;
        sink.put(b"scheduledCompactRev", &mark)?;
    }
    sink.put(b"storageVersion", STORAGE_VERSION.as_bytes())?;
    sink.put(b"term", &applied.term.get().to_be_bytes())
}
