//! One member on both platforms, and `cluster`s on the simulated one.

mod bounds;
mod cluster;
mod crash;
mod directory;
mod faults;
mod serving;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, WatchReceiver};
use openraft_rt_sim::SimRuntime;
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;
use vetch_proto::etcdserverpb::{Member, PutRequest, RangeRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::engine::fjall::{FjallEngine, Options};
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, ClusterId, Fatal, ReadView, Revision};

use super::*;
use crate::disk::Unobserved;
use crate::platform::sim::Sim;
use crate::platform::tokio::Tokio;
use crate::types::log_id;

/// Notes what was published, and checks that it comes in order.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    applied: Mutex<Vec<Arc<Applied>>>,
    /// Where each state that was put in the place of another ends.
    pub(super) installed: Mutex<Vec<LogIndex>>,
}

impl<P: Platform> ApplyObserver<P> for Recorder {
    fn on_applied(&self, view: &ReadView<P::Engine>, applied: &[Arc<Applied>]) {
        let last = applied.last().expect("a batch holds something");
        assert_eq!(view.applied(), last.id, "the view is as new as the batch");
        let mut all = self.applied.lock();
        for one in applied {
            let installed = self.installed.lock().last().map(|index| index.next());
            let expected = all.last().map(|before| before.id.index.next()).or(installed);
            assert!(
                expected.is_none_or(|index| one.id.index == index),
                "a gap before {:?}",
                one.id
            );
            all.push(Arc::clone(one));
        }
    }

    fn on_installed(&self, view: &ReadView<P::Engine>) {
        let mut all = self.applied.lock();
        let newest = all.last().map(|applied| applied.id.index);
        assert!(newest < Some(view.applied().index), "a state is replaced by a newer one");
        all.clear();
        self.installed.lock().push(view.applied().index);
    }
}

pub(super) fn start<P: Platform>(dir: &Path, settings: Settings) -> Start<P> {
    Start {
        data_dir: dir.to_owned(),
        settings,
        cluster: ClusterId(3),
        member: Member {
            name: "one".into(),
            peer_ur_ls: vec!["http://localhost:2380".into()],
            client_ur_ls: vec!["http://localhost:2379".into()],
            ..Member::default()
        },
        peers: Vec::new(),
        bootstrap: Bootstrap::New,
        observer: Arc::new(Recorder::default()),
    }
}

pub(super) async fn open<P: Platform>(platform: &P, dir: &Path) -> Replica<P> {
    Replica::open(platform.clone(), start(dir, Settings::for_tests())).await.unwrap()
}

pub(super) fn put(key: &str, value: &str) -> Proposal {
    let put = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    Proposal { command: Some(Command::Put(put)), ..Proposal::default() }
}

pub(super) fn get<P: Platform>(view: &ReadView<P::Engine>, key: &str) -> Option<String> {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let records = view.range(&request).unwrap().next_records(1).unwrap();
    records.first().map(|record| String::from_utf8(record.value.to_vec()).unwrap())
}

/// Tokio, files and fjall: what ships.
pub(super) fn shipped() -> Tokio<FjallEngine> {
    Tokio::new("fjall", |dir| FjallEngine::open(dir, Options::default()), Arc::new(Unobserved))
}

/// Tokio and files around an engine whose faults the test holds.
pub(super) fn in_memory() -> Tokio<MemEngine> {
    Tokio::new("mem", |_| Ok(MemEngine::new()), Arc::new(Unobserved))
}

pub(super) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

pub(super) fn on_sim<T>(seed: u64, future: impl Future<Output = T>) -> T {
    SimRuntime::with_seed(seed).block_on(future)
}

/// What takes longer never ends. On real files one put may take seconds, when the disk is busy with
/// something else; and a test makes hundreds.
const HANGS: Duration = Duration::from_mins(5);

pub(super) fn on_tokio<T>(future: impl Future<Output = T> + Send) -> T {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { TokioRuntime::timeout(HANGS, future).await.expect("the test hangs") })
}
