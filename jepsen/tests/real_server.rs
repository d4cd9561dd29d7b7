//! Real processes. The server is `$VETCH_BIN` (any program with etcd's flags), else the `vetch`
//! that the workspace's build left beside this test; without either these tests say so and pass.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use vetch_jepsen::durability::Rule;
use vetch_jepsen::harness::{
    BitFlips, DiskFull, Evidence, FilledStore, Finding, KillRounds, Report, ServerArgs, ServerSpec,
    fill_disk, flip_bits, judge, kill_rounds,
};
use vetch_jepsen::history::{LeaseId, Op, Outcome, Put};

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn server() -> Option<PathBuf> {
    if let Some(binary) = std::env::var_os("VETCH_BIN") {
        let binary = PathBuf::from(binary);
        assert!(binary.is_file(), "VETCH_BIN names no file: {}", binary.display());
        return Some(binary);
    }
    let test = std::env::current_exe().expect("this test has a path");
    let beside = test.parent()?.parent()?.join("vetch");
    if !beside.is_file() {
        println!("skipped: no VETCH_BIN and no {}", beside.display());
        return None;
    }
    println!("server under test: {}", beside.display());
    Some(beside)
}

fn plan(binary: &Path, folder: &Path, rounds: u32) -> KillRounds {
    KillRounds {
        long_round_every: 0,
        compact_every: 3,
        ..KillRounds::new(binary, folder, rounds, 11)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing() {
    let Some(binary) = server() else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let plan = plan(&binary, folder.path(), 6);
    let report = kill_rounds(&plan, |_, _| {}).await.expect("carried out");
    // The evidence says the same when it is read back.
    assert_eq!(judge(&Evidence::read(folder.path()).expect("evidence")), report.findings);
    let kept = (!report.findings.is_empty()).then(|| folder.keep());
    assert_eq!(kept, None, "seed {}:\n{report}", plan.seed);
}

/// The harness must see a server that forgets: at one restart the data directory is replaced by
/// an older copy of itself, which is just what a disk without fsync would do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_set_back_is_noticed() {
    let Some(binary) = server() else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let copy = folder.path().join("older");
    let mut plan = plan(&binary, folder.path(), 5);
    plan.compact_every = 0;
    plan.uptime = (Duration::from_millis(400), Duration::from_millis(600));
    let report = kill_rounds(&plan, |round, data| match round {
        1 => replace(data, &copy),
        3 => replace(&copy, data),
        _ => {}
    });
    let report = report.await.expect("carried out");
    let rules: BTreeSet<Rule> = report
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Durability(violation) => Some(violation.rule),
            Finding::Linearizability(_)
            | Finding::Serializable(_)
            | Finding::Watch(_)
            | Finding::Server(_)
            | Finding::Vacuous(_) => None,
        })
        .collect();
    assert!(rules.contains(&Rule::LostWrite), "{report}");
    assert!(rules.contains(&Rule::RevisionWentBack), "{report}");
    let refuted = report.findings.iter().any(|found| matches!(found, Finding::Linearizability(_)));
    assert!(refuted, "{report}");
    let watch_noticed = report.findings.iter().any(|found| matches!(found, Finding::Watch(_)));
    assert!(watch_noticed, "{report}");
}

/// One bit in any file: found and named, or harmless. etcd itself does not pass this: its database
/// pages carry no checksums.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_served() {
    let Some(binary) = server() else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let plan = BitFlips {
        server: ServerArgs { binary, extra_args: Vec::new() },
        folder: folder.path().to_owned(),
        seed: 5,
        writes: 300,
        flips_per_class: 2,
        folder_is_enough: false,
    };
    let report = flip_bits(&plan).await.expect("carried out");
    assert!(report.passed(), "seed {}:\n{report}", plan.seed);
}

/// The verification behind the bit flips must see a single changed key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_store_is_noticed() {
    let Some(binary) = server() else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut server = ServerSpec::new(&binary, folder.path()).and_then(|spec| spec.start());
    let server = server.as_mut().expect("started");
    let mut connection = server.until_ready().await.expect("serves");
    let filled = FilledStore::fill(&mut connection, 3, 50).await.expect("filled");
    filled.verify(&mut connection).await.expect("just written");

    let key = filled.last_key().expect("keys");
    let put = Put { key, value: "other".into(), lease: LeaseId::NONE, prev_kv: false };
    let outcome = connection.call(&Op::Put(put), Duration::from_secs(5)).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    let error = filled.verify(&mut connection).await.expect_err("a key was changed");
    assert!(error.to_string().contains("other"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    let Some(binary) = server() else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let plan = DiskFull {
        server: ServerArgs { binary, extra_args: Vec::new() },
        folder: folder.path().to_owned(),
        disk_mib: 512,
        room_mib: 64,
    };
    let report = fill_disk(&plan).await.expect("carried out");
    println!("{report}");
    assert!(report.passed(), "{report}");
}

fn replace(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).expect("removed");
    }
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}
