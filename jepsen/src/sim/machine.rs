//! One simulated machine as a platform: what the shipped code runs on in a world.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest};
use vetch_raft::Platform;
use vetch_raft::disk::sim::SimDisk;
use vetch_raft::disk::{Completion, Disk, DiskError, FileInfo, FileName, Op};
use vetch_raft::log::LogOptions;
use vetch_raft::manifest::DirLock;
use vetch_raft::platform::sim::Sim;
use vetch_raft::transport::sim::{SimLink, SimServing, SimTransport};
use vetch_raft::transport::{Addresses, Channel, Link, LinkError, PeerService, Transport};
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Fatal, NodeId};

use super::clock::ProcessRuntime;
use super::process::Process;

/// What is said between members, as the receiving machine hears it.
pub trait Overhear: Send + Sync + 'static {
    /// `to` hears entries or a heartbeat.
    fn append_heard(&self, to: NodeId, request: &AppendRequest);
    /// `from` answers entries that came from the leader of `term`; the answer has not left yet.
    fn append_answered(&self, from: NodeId, term: u64, reply: &AppendReply);
    /// `from` answers any other message.
    fn answered(&self, from: NodeId, request: &PeerRequest, reply: &PeerReply);
}

/// A machine and the process on it. Clones are the same.
#[derive(Clone)]
pub struct Machine {
    /// What survives the process.
    pub sim: Sim,
    /// The process.
    pub process: Process,
    /// Who listens in.
    pub overhear: Arc<dyn Overhear>,
    /// How the log lies on disk.
    pub log: LogOptions,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Longest time that blocking work takes.
const BLOCKING_MICROS: u64 = 3_000;

impl Platform for Machine {
    type Runtime = ProcessRuntime;
    type Engine = MemEngine;
    type Transport = MachineTransport;

    fn engine_name(&self) -> &'static str {
        self.sim.engine_name()
    }

    fn open_engine(&self, dir: &Path) -> Result<Arc<MemEngine>, Fatal> {
        self.sim.open_engine(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.create_dir(dir)
    }

    fn subdirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.sim.subdirs(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.sync_dir(dir)
    }

    fn snapshot_chunk_bytes(&self) -> usize {
        self.sim.snapshot_chunk_bytes()
    }

    fn try_lock(&self, dir: &Path) -> io::Result<Option<DirLock>> {
        self.sim.try_lock(dir)
    }

    fn open_disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, DiskError> {
        Ok(Arc::new(ProcessDisk { process: self.process.clone(), disk: self.sim.disk(dir) }))
    }

    fn log_options(&self) -> LogOptions {
        self.log
    }

    fn checkpoint_dir(&self, dir: &Path) -> Option<PathBuf> {
        self.sim.checkpoint_dir(dir)
    }

    fn transport(&self) -> MachineTransport {
        MachineTransport {
            sim: self.sim.transport(),
            process: self.process.clone(),
            overhear: Arc::clone(&self.overhear),
        }
    }

    /// In place, at a seeded moment: others go on before and after.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let pause = || Duration::from_micros(self.random() % BLOCKING_MICROS);
        SimRuntime::sleep(pause()).await;
        let done = work();
        SimRuntime::sleep(pause()).await;
        done
    }

    fn random(&self) -> u64 {
        self.sim.random()
    }
}

/// A disk whose answers reach the process only while it runs.
#[derive(Debug)]
struct ProcessDisk {
    process: Process,
    disk: SimDisk,
}

impl Disk for ProcessDisk {
    fn submit(&self, op: Op, done: Option<Completion>) {
        let process = self.process.clone();
        let done = done.map(|done| -> Completion {
            Box::new(move |result| process.tell(move || done(result)))
        });
        self.disk.submit(op, done);
    }

    fn list(&self) -> Result<Vec<FileInfo>, DiskError> {
        self.disk.list()
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.disk.read(file, offset, len)
    }

    fn path(&self, file: &FileName) -> PathBuf {
        self.disk.path(file)
    }
}

/// A machine's end of the network.
#[derive(Clone)]
pub struct MachineTransport {
    sim: SimTransport,
    process: Process,
    overhear: Arc<dyn Overhear>,
}

impl fmt::Debug for MachineTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineTransport").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Transport for MachineTransport {
    type Link = MachineLink;
    type Serving = SimServing;

    fn link(&self, target: NodeId, channel: Channel, addresses: &Addresses) -> MachineLink {
        let link = self.sim.link(target, channel, addresses);
        MachineLink { link, process: self.process.clone() }
    }

    fn serve(&self, me: NodeId, service: Arc<dyn PeerService>) -> SimServing {
        let (process, overhear) = (self.process.clone(), Arc::clone(&self.overhear));
        self.sim.serve(me, Arc::new(Tapped { me, process, overhear, service }))
    }
}

/// A way to one peer: what it carries is made by the sending process, whoever polls it.
#[derive(Clone, Debug)]
pub struct MachineLink {
    link: SimLink,
    process: Process,
}

impl Link for MachineLink {
    fn call(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, LinkError>> {
        self.link.call(request, self.process.rate().world(within))
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<AppendReply, LinkError>> {
        self.link.append(self.process.enter_stream(requests).boxed())
    }
}

/// A member's service: it works inside its process, also when the peer that asked waits no more.
struct Tapped {
    me: NodeId,
    process: Process,
    overhear: Arc<dyn Overhear>,
    service: Arc<dyn PeerService>,
}

impl PeerService for Tapped {
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerReply> {
        let (me, overhear) = (self.me, Arc::clone(&self.overhear));
        let service = Arc::clone(&self.service);
        let answered = async move {
            if let Some(append) = heartbeat(&request) {
                overhear.append_heard(me, append);
            }
            let reply = service.call(request.clone()).await;
            overhear.answered(me, &request, &reply);
            reply
        };
        let answered = self.process.run(|| ProcessRuntime::spawn(answered));
        Box::pin(async move {
            match answered.await {
                Ok(reply) => reply,
                // It panicked, which the process has noted.
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, AppendReply> {
        let (me, process, overhear) = (self.me, &self.process, &self.overhear);
        let (heard, said) = (Arc::clone(overhear), Arc::clone(overhear));
        // One reply per request, in order.
        let terms = Arc::new(Mutex::new(VecDeque::new()));
        let asked = Arc::clone(&terms);
        let requests = requests.inspect(move |request| {
            asked.lock().push_back(request.vote.map_or(0, |vote| vote.term));
            heard.append_heard(me, request);
        });
        let replies = process.run(|| self.service.append(requests.boxed()));
        let replies = replies.inspect(move |reply| {
            let term = terms.lock().pop_front().unwrap_or(0);
            said.append_answered(me, term, reply);
        });
        process.enter_stream(replies).boxed()
    }
}

fn heartbeat(request: &PeerRequest) -> Option<&AppendRequest> {
    use vetch_proto::vetchpb::peer_request::Request;
    match &request.request {
        Some(Request::Heartbeat(append)) => Some(append),
        Some(
            Request::Vote(_)
            | Request::PreVote(_)
            | Request::Transfer(_)
            | Request::Propose(_)
            | Request::ReadIndex(_)
            | Request::Snapshot(_)
            | Request::ChangeMember(_)
            | Request::Members(_)
            | Request::Ask(_)
            | Request::Compare(_)
            | Request::Hash(_),
        )
        | None => None,
    }
}
