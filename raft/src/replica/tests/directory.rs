//! What a data directory is refused for, and who may use it.

use super::*;
use crate::disk::FileName;
use crate::disk::sim::SimDisk;
use crate::manifest::ManifestError;

#[test]
fn a_second_process_waits_for_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(async {
        let first = open(&in_memory(), dir.path()).await;
        // Of an engine that forgets, so a new one would find its log's past missing: what counts
        // here is when the wait ends.
        let mut second =
            Box::pin(Replica::open(in_memory(), start(dir.path(), Settings::for_tests())));
        let early = TokioRuntime::timeout(Duration::from_millis(300), &mut second).await;
        assert!(early.is_err(), "it must wait");
        first.shutdown().await;
        drop(first);
        let second = TokioRuntime::timeout(Duration::from_secs(10), second).await.unwrap();
        second.unwrap().shutdown().await;
    });
}

#[test]
fn the_directory_keeps_its_identity() {
    let machine = Sim::new(1);
    on_sim(1, async {
        let replica = open(&machine, &data_dir()).await;
        let identity = replica.identity();
        assert_eq!((identity.member, identity.cluster), (NodeId(7), ClusterId(3)));
        replica.shutdown().await;
        let other = Start {
            cluster: ClusterId(99),
            ..start(&data_dir(), Settings { id: NodeId(98), ..Settings::for_tests() })
        };
        let replica = Replica::open(machine.clone(), other).await.unwrap();
        assert_eq!(replica.identity(), identity);
        replica.shutdown().await;
    });
}

#[test]
fn a_changed_name_or_url_is_published() {
    let machine = Sim::new(1);
    on_sim(1, async {
        open(&machine, &data_dir()).await.shutdown().await;
        let mut renamed = start(&data_dir(), Settings::for_tests());
        renamed.member.name = "two".into();
        renamed.member.peer_ur_ls = vec!["http://elsewhere:2380".into()];
        let replica = Replica::open(machine.clone(), renamed).await.unwrap();
        let member = replica.view().members().get(NodeId(7)).cloned().unwrap();
        assert_eq!(member.name, "two");
        assert_eq!(member.peer_ur_ls, ["http://localhost:2380"], "flags do not move a peer URL");
        assert_eq!(replica.view().revision(), Revision::EMPTY_STORE);
        replica.shutdown().await;
    });
}

#[test]
fn another_engine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(async {
        open(&in_memory(), dir.path()).await.shutdown().await;
        let refused = Replica::open(shipped(), start(dir.path(), Settings::for_tests())).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::Manifest(ManifestError::OtherEngine { .. })), "{error}");
    });
}

#[test]
fn a_damaged_manifest_is_refused_and_left_alone() {
    let machine = Sim::new(1);
    on_sim(1, async {
        open(&machine, &data_dir()).await.shutdown().await;
        machine.disk(&data_dir()).flip(&FileName::new("MANIFEST"), 20, 1);
        let again = Replica::open(machine.clone(), start(&data_dir(), Settings::for_tests())).await;
        let error = again.unwrap_err();
        assert!(matches!(error, OpenError::Manifest(ManifestError::Damaged { .. })), "{error}");
        machine.disk(&data_dir()).flip(&FileName::new("MANIFEST"), 20, 1);
        open(&machine, &data_dir()).await.shutdown().await;
    });
}

#[test]
fn an_engine_older_than_the_log_is_a_gap() {
    let machine = Sim::new(1);
    on_sim(1, async {
        let settings =
            Settings { checkpoint_entries: 10, catchup_entries: 5, ..Settings::for_tests() };
        let replica = Replica::open(machine.clone(), start(&data_dir(), settings)).await.unwrap();
        for n in 0..100 {
            replica.propose(put("k", &n.to_string())).await.unwrap();
        }
        replica.shutdown().await;
        let emptied = machine.with_engine(MemEngine::new());
        let refused = Replica::open(emptied, start(&data_dir(), Settings::for_tests())).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::Gap { applied: LogIndex(0), .. }), "{error}");
        assert!(error.to_string().contains("snapshot"), "{error}");
        // Nothing was touched: with its engine back the member starts.
        let replica = open(&machine, &data_dir()).await;
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("99"));
        replica.shutdown().await;
    });
}

#[test]
fn a_lost_log_is_not_taken_for_a_fresh_one() {
    let machine = Sim::new(1);
    on_sim(1, async {
        open(&machine, &data_dir()).await.shutdown().await;
        let wal = data_dir().join("member/wal");
        let lost = SimDisk::on_runtime::<SimRuntime>(9, crate::disk::sim::Timing::default());
        for platform in [machine.clone(), machine.with_engine(MemEngine::new())] {
            let platform = platform.with_disk(&wal, lost.copy());
            let refused = Replica::open(platform, start(&data_dir(), Settings::for_tests())).await;
            let error = refused.unwrap_err();
            assert!(matches!(error, OpenError::LogLost { .. }), "{error}");
        }
    });
}
