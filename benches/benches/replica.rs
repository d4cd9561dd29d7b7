//! What a put costs below gRPC: one member in this process, real files, one current-thread runtime.
//!
//! `cargo bench -p vetch-benches --bench replica [-- --dir <path>]`; `--dir` chooses the device.
#![expect(clippy::print_stdout, reason = "its output is the table")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::thread::ClockId;
use vetch_proto::etcdserverpb::{Member, PutRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::disk::Unobserved;
use vetch_raft::platform::tokio::Tokio;
use vetch_raft::{ApplyObserver, Platform, Replica, Settings, Start};
use vetch_storage::engine::fjall::FjallEngine;
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, ClusterId, Engine, NodeId, ReadView};

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);

struct Nobody;

impl<P: Platform> ApplyObserver<P> for Nobody {
    fn on_applied(&self, _: &ReadView<P::Engine>, _: &[Arc<Applied>]) {}
    fn on_installed(&self, _: &ReadView<P::Engine>) {}
}

fn start<P: Platform>(data_dir: &Path) -> Start<P> {
    Start {
        data_dir: data_dir.to_owned(),
        settings: Settings {
            id: NodeId(1),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(7),
            checkpoint_entries: 100_000,
            catchup_entries: 5_000,
            max_inflight_proposals: 5_000,
            max_inflight_bytes: 64 << 20,
            read_mode: vetch_raft::ReadMode::ReadIndex,
        },
        cluster: ClusterId(1),
        member: Member { name: "bench".into(), ..Member::default() },
        peers: Vec::new(),
        bootstrap: vetch_raft::Bootstrap::New,
        observer: Arc::new(Nobody),
    }
}

fn put(client: usize, n: u64) -> Proposal {
    let put = PutRequest {
        key: format!("bench/{client:04}/{:08}", n % 1_000).into(),
        value: vec![b'v'; 256].into(),
        ..PutRequest::default()
    };
    Proposal { command: Some(Command::Put(put)), ..Proposal::default() }
}

/// One client, until `until`; the latencies of what it did after `from`.
async fn client<P: Platform>(
    replica: &Replica<P>,
    id: usize,
    from: Instant,
    until: Instant,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for n in 0.. {
        let began = Instant::now();
        if began >= until {
            break;
        }
        replica.propose(put(id, n)).await.expect("the member serves");
        if began >= from {
            latencies.push(began.elapsed());
        }
    }
    latencies
}

/// CPU time of the whole process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]
async fn puts<P: Platform>(engine: &str, replica: &Replica<P>, clients: usize) {
    let from = Instant::now() + WARM_UP;
    let until = from + MEASURED;
    let cpu_before = cpu();
    let runs = join_all((0..clients).map(|id| client(replica, id, from, until))).await;
    let used = cpu().saturating_sub(cpu_before);
    let mut all: Vec<Duration> = runs.into_iter().flatten().collect();
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    let per_second = all.len() as f64 / MEASURED.as_secs_f64();
    // The warm-up's puts are in the CPU time too, so the figure per put is scaled by their share.
    let cpu_per_put = used.as_secs_f64() * 1e6 * MEASURED.as_secs_f64()
        / (WARM_UP + MEASURED).as_secs_f64()
        / all.len() as f64;
    println!(
        "{engine:6} put     {clients:4} clients  {per_second:9.0}/s  p50 {:>9.1?}  p99 {:>9.1?}  \
         max {:>9.1?}  cpu {cpu_per_put:5.1} us",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn reads<P: Platform>(engine: &str, replica: &Replica<P>) {
    const READS: u32 = 200_000;
    let began = Instant::now();
    for _ in 0..READS {
        drop(replica.linearizable_view().await.expect("the member serves"));
    }
    println!("{engine:6} linearizable view         {:>9.0?} each", began.elapsed() / READS);
}

fn measure<E: Engine + std::fmt::Debug>(platform: &Tokio<E>, dir: &Path) {
    let engine = platform.engine_name();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let began = Instant::now();
        let replica = Replica::open(platform.clone(), start(dir)).await.expect("a fresh directory");
        println!("{engine:6} first start               {:>9.1?}", began.elapsed());
        for clients in [1, 16, 256] {
            puts(engine, &replica, clients).await;
        }
        reads(engine, &replica).await;
        let began = Instant::now();
        replica.shutdown().await;
        drop(replica);
        println!("{engine:6} shutdown                  {:>9.1?}", began.elapsed());
        if engine == "fjall" {
            let began = Instant::now();
            let replica = Replica::open(platform.clone(), start(dir)).await.expect("it restarts");
            println!("{engine:6} restart to serving        {:>9.1?}", began.elapsed());
            replica.shutdown().await;
        }
    });
}

/// A bare write of 512 bytes and its fdatasync, for comparison.
fn bare_sync(dir: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(dir.join("bare")).expect("a file");
    file.write_all_at(&vec![0; 16 << 20], 0).and_then(|()| file.sync_all()).expect("space");
    let mut all: Vec<Duration> = (0..2_000)
        .map(|n| {
            let began = Instant::now();
            file.write_all_at(&[1; 512], n * 512).and_then(|()| file.sync_data()).expect("a write");
            began.elapsed()
        })
        .collect();
    all.sort_unstable();
    println!(
        "bare   write + fdatasync            p50 {:>9.1?}  p99 {:>9.1?}",
        all[1_000], all[1_980]
    );
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--dir").skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent).expect("a directory");
    bare_sync(dir.path());
    let mem = Tokio::new("mem", |_| Ok(MemEngine::new()), Arc::new(Unobserved));
    measure(&mem, &dir.path().join("mem"));
    let open = |path: &Path| FjallEngine::open(path, vetch_storage::engine::Options::default());
    measure(&Tokio::new("fjall", open, Arc::new(Unobserved)), &dir.path().join("fjall"));
}
