//! EIO and ENOSPC at each kind of write of what ships: real files, the real engine. Writes of the log
//! fail at each of their steps on the simulated disk, in `crash` and in the log's own tests.

use std::os::unix::fs::symlink;

use futures::FutureExt;
use vetch_storage::engine::failing::{Call, FailingEngine, Fault, Plan};

use super::*;
use crate::disk::sim::Fault as DiskFault;
use crate::replica::checkpoint::Checkpoints;

type Failing = Tokio<FailingEngine<FjallEngine>>;

fn failing(plan: &Plan) -> Failing {
    let plan = plan.clone();
    let open = move |dir: &Path| {
        let engine = FjallEngine::open(dir, Options::default())?;
        Ok(FailingEngine::new(engine, dir, plan.clone()))
    };
    Tokio::new("fjall", open, Arc::new(Unobserved))
}

/// Puts until one fails; the keys that were acknowledged.
async fn put_until_it_fails<P: Platform>(replica: &Replica<P>, most: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0..most {
        let key = format!("{n:04}");
        if replica.propose(put(&key, &key)).await.is_err() {
            break;
        }
        acknowledged.push(key);
    }
    acknowledged
}

/// What ships finds everything acknowledged, and takes more.
async fn recovers(dir: &Path, acknowledged: &[String], context: &str) {
    let replica = open(&shipped(), dir).await;
    let view = replica.linearizable_view().await.unwrap();
    for key in acknowledged {
        let found = get::<Tokio<FjallEngine>>(&view, key);
        assert_eq!(found.as_ref(), Some(key), "{context}: it was acknowledged");
    }
    replica.propose(put("more", "more")).await.unwrap();
    replica.shutdown().await;
}

fn often() -> Settings {
    Settings { checkpoint_entries: 5, ..Settings::for_tests() }
}

#[test]
fn a_failing_engine_write_stops_the_node_with_its_place_and_remedy() {
    for call in [Call::Apply, Call::Persist] {
        for (fault, full) in [(Fault::Io, false), (Fault::NoSpace, true)] {
            for nth in [1, 2, 5] {
                let context = format!("{call:?} {nth}, {fault:?}");
                let dir = tempfile::tempdir().unwrap();
                let (plan, path) = (Plan::default(), dir.path());
                on_tokio(async {
                    let started = start(path, often());
                    let replica = Replica::open(failing(&plan), started).await.unwrap();
                    plan.fail(call, nth, fault);
                    let acknowledged = put_until_it_fails(&replica, 2_000).await;
                    let fatal = replica.fatal().await;
                    assert!(plan.has_struck(), "{context}");
                    assert!(
                        matches!(&fatal, StopReason::Failed(Fatal::Io { no_space, .. }) if *no_space == full),
                        "{context}: {fatal}"
                    );
                    let (text, place) = (fatal.to_string(), path.join("member/engine"));
                    assert!(text.contains(&place.display().to_string()), "{context}: {text}");
                    assert!(text.contains("restart"), "{context}: {text}");
                    let late = replica.propose(put("late", "")).await;
                    assert!(matches!(late, Err(ProposeError::Stopped)), "{context}: {late:?}");
                    replica.shutdown().await;
                    drop(replica);
                    recovers(path, &acknowledged, &context).await;
                });
            }
        }
    }
}

/// The engine's note of what is durable, written through a device that is always full.
#[test]
fn a_full_disk_under_the_durable_mark_stops_the_node_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(async {
        let replica = Replica::open(shipped(), start(dir.path(), often())).await.unwrap();
        let next = dir.path().join("member/engine/durable.new");
        symlink("/dev/full", &next).unwrap();
        let acknowledged = put_until_it_fails(&replica, 2_000).await;
        let fatal = replica.fatal().await;
        assert!(matches!(&fatal, StopReason::Failed(Fatal::Io { no_space: true, .. })), "{fatal}");
        assert!(fatal.to_string().contains("member/engine/durable"), "{fatal}");
        replica.shutdown().await;
        drop(replica);
        std::fs::remove_file(next).unwrap();
        recovers(dir.path(), &acknowledged, "the durable mark").await;
    });
}

/// The index checkpoint only makes a restart shorter: without space it is left out.
#[test]
fn a_full_disk_under_the_index_checkpoint_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(async {
        let snap = dir.path().join("member/snap");
        std::fs::create_dir_all(&snap).unwrap();
        symlink("/dev/full", snap.join("index.new")).unwrap();
        let replica = Replica::open(shipped(), start(dir.path(), often())).await.unwrap();
        let acknowledged = put_until_it_fails(&replica, 300).await;
        assert_eq!(acknowledged.len(), 300);
        replica.shutdown().await;
        drop(replica);
        assert!(!snap.join("index.new").exists(), "what was begun is removed");
        recovers(dir.path(), &acknowledged, "the index checkpoint").await;
    });
}

#[test]
fn an_unwritable_index_checkpoint_stops_the_node_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(async {
        let next = dir.path().join("member/snap/index.new");
        std::fs::create_dir_all(&next).unwrap();
        let replica = Replica::open(shipped(), start(dir.path(), often())).await.unwrap();
        let acknowledged = put_until_it_fails(&replica, 2_000).await;
        let fatal = replica.fatal().await;
        assert!(matches!(&fatal, StopReason::Failed(Fatal::Io { no_space: false, .. })), "{fatal}");
        assert!(fatal.to_string().contains("member/snap/index"), "{fatal}");
        replica.shutdown().await;
        drop(replica);
        std::fs::remove_dir(next).unwrap();
        recovers(dir.path(), &acknowledged, "the index checkpoint").await;
    });
}

/// The manifest is written before anything else, and once more when the log has begun.
#[test]
fn an_error_at_every_step_of_the_manifest_refuses_the_start_and_names_it() {
    let steps = {
        let machine = Sim::new(1);
        on_sim(1, async { open(&machine, &data_dir()).await.shutdown().await });
        machine.disk(&data_dir()).steps()
    };
    assert!(steps >= 6, "{steps}");
    for at in 0..steps {
        for (fault, full) in [(DiskFault::Io { at }, false), (DiskFault::NoSpace { at }, true)] {
            let machine = Sim::new(1);
            machine.disk(&data_dir()).inject(fault);
            on_sim(1, async {
                let started = start(&data_dir(), Settings::for_tests());
                let Err(error) = Replica::open(machine.clone(), started).await else {
                    panic!("{fault:?} is ignored");
                };
                let OpenError::Fatal(fatal) = &error else { panic!("{fault:?}: {error}") };
                assert!(
                    matches!(fatal, Fatal::Io { no_space, .. } if *no_space == full),
                    "{fault:?}: {fatal}"
                );
                let text = error.to_string();
                assert!(text.contains("MANIFEST") || text.contains("directory"), "{text}");
                assert!(text.contains("restart"), "{text}");
            });
            let machine = machine.power_cut(at);
            on_sim(1, async {
                let replica = open(&machine, &data_dir()).await;
                replica.propose(put("a", "1")).await.unwrap();
                replica.shutdown().await;
            });
        }
    }
}

/// A checkpoint that is due when the member fails stays due: whoever looked for it again and again
/// would leave no turn for the shutdown.
#[test]
fn a_member_that_has_failed_looks_for_no_checkpoint() {
    on_sim(1, async {
        let replica = Replica::open(Sim::new(1), start(&data_dir(), often())).await.unwrap();
        assert_eq!(put_until_it_fails(&replica, 20).await.len(), 20);
        let inner = &replica.inner;
        let due = Checkpoints::new(Arc::clone(inner), inner.views.checkpointer());
        inner.stop.raise(Fatal::Io {
            path: data_dir(),
            message: "for the test".to_owned(),
            no_space: false,
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        assert_eq!(due.run(stopped).now_or_never(), Some(()));
        drop(stop);
        replica.shutdown().await;
    });
}
