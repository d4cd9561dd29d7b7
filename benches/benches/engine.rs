//! The engines under the shape of load the state machine gives them: a batch per group of puts, with
//! the version, the revision and the state of each batch, persisted now and then.
//!
//! `cargo bench -p vetch-benches --bench engine`. The load of a million keys is printed first, with
//! memory, disk and the longest single `apply`; then points.
#![expect(clippy::print_stdout, reason = "a benchmark reports on stdout")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

use std::ops::Bound;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use vetch_benches::size;
use vetch_storage::LogIndex;
use vetch_storage::engine::fjall::FjallEngine;
use vetch_storage::engine::sled::SledEngine;
use vetch_storage::engine::{Batch, Change, Engine, Family, Options, Order};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PUTS_PER_BATCH: u64 = 16;

/// A version's key: 48 bytes of user key, scattered, and 14 of revision.
fn version_key(n: u64) -> Bytes {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = format!("/registry/pods/namespace-{:04}/pod-{scattered:014x}", scattered >> 52)
        .into_bytes();
    key.truncate(48);
    key.push(0);
    key.extend_from_slice(&(!n).to_be_bytes());
    key.extend_from_slice(&[0xff; 4]);
    Bytes::from(key)
}

/// 256 bytes that lz4 finds little in.
fn value(n: u64) -> Bytes {
    let mut state = n | 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    noise.take(256).collect()
}

fn batch(index: u64) -> Batch {
    let mut changes = Vec::with_capacity(PUTS_PER_BATCH as usize * 2 + 1);
    for n in index * PUTS_PER_BATCH..(index + 1) * PUTS_PER_BATCH {
        let key = version_key(n);
        let revision = Bytes::copy_from_slice(&n.to_be_bytes());
        let user_key = key.slice(..48);
        changes.push(Change::Put { family: Family::Versions, key, value: value(n) });
        changes.push(Change::Put { family: Family::Revisions, key: revision, value: user_key });
    }
    let state = Bytes::from(vec![7; 48]);
    changes.push(Change::Put { family: Family::State, key: "meta".into(), value: state });
    Batch { changes, applied: Some(LogIndex(index + 1)) }
}

/// A line of `/proc/self/status` in MB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a known line");
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<f64>().expect("a number") / 1e3
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(12) + ticks(13)) / 100.0
}

/// Loads a million keys while another thread persists each second.
fn load(name: &str, engine: &impl Engine, keys: u64) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut times = Vec::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::sleep(Duration::from_secs(1));
                engine.persist().expect("persists");
            }
        });
        for index in 0..keys / PUTS_PER_BATCH {
            let batch = batch(index);
            let before = Instant::now();
            engine.apply(batch).expect("applies");
            times.push(before.elapsed());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: {keys} puts of 256 B in {:.2?}, CPU {:.1} µs per put; apply of {PUTS_PER_BATCH}: p50 {:?}, p99 {:?}, p99.9 {:?}, \
         longest {:?}, over 10 ms {}; peak RSS {:.0} MB, RSS {:.0} MB; {:?}",
        start.elapsed(),
        (cpu_seconds() - cpu) * 1e6 / keys as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        times.iter().filter(|time| **time > Duration::from_millis(10)).count(),
        memory("VmHWM"),
        memory("VmRSS"),
        engine.sizes(),
    );
}

fn points(c: &mut Criterion, name: &str, engine: &impl Engine, keys: u64) {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        version_key((state >> 33) % keys)
    };
    c.bench_function(&format!("{name}/get of 1 M"), |b| {
        b.iter_batched(
            &mut random,
            |key| engine.get(Family::Versions, &key).expect("reads"),
            BatchSize::SmallInput,
        );
    });
    c.bench_function(&format!("{name}/scan of 500 of 1 M"), |b| {
        b.iter_batched(
            &mut random,
            |key| {
                let bounds = (Bound::Included(key), Bound::Unbounded);
                let scan = engine.scan(Family::Versions, bounds, Order::Ascending);
                scan.take(500).map(|pair| pair.expect("reads").1.len()).sum::<usize>()
            },
            BatchSize::SmallInput,
        );
    });
    let mut index = keys;
    c.bench_function(&format!("{name}/apply of {PUTS_PER_BATCH} puts"), |b| {
        b.iter_batched(
            || {
                index += 1;
                batch(index)
            },
            |batch| engine.apply(batch).expect("applies"),
            BatchSize::SmallInput,
        );
    });
}

fn fjall(c: &mut Criterion) {
    let keys = size::keys(1_000_000);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("engine");
    let open = || FjallEngine::open(&path, Options::default()).expect("opens");
    let engine = open();
    load("fjall", &engine, keys);
    drop(engine);
    let start = Instant::now();
    let engine = open();
    println!("fjall: opened in {:?}, RSS {:.0} MB", start.elapsed(), memory("VmRSS"));
    points(c, "fjall", &engine, keys);
}

fn sled(c: &mut Criterion) {
    let keys = size::keys(1_000_000);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("engine");
    let engine = SledEngine::open(&path, Options::default()).expect("opens");
    load("sled", &engine, keys);
    points(c, "sled", &engine, keys);
}

criterion_group!(benches, fjall, sled);
criterion_main!(benches);
