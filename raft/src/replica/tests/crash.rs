//! Power cuts, kills and disk errors at every step: nothing acknowledged is lost, nothing is applied
//! twice, nothing is acknowledged after an error.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::*;
use crate::disk::sim::Fault;

/// What the clients of one history know.
#[derive(Clone, Debug, Default)]
struct Clients {
    /// Keys whose put was answered, with the revision of the answer.
    acknowledged: Arc<Mutex<BTreeMap<String, Revision>>>,
    /// Puts that were begun at all.
    begun: Arc<Mutex<u64>>,
}

impl Clients {
    /// Four clients, each putting keys of its own one after another.
    async fn run<P: Platform>(&self, replica: &Replica<P>, life: u64, puts: u64) {
        join_all((0..4).map(|client| async move {
            for n in 0..puts {
                let key = format!("{life}.{client}.{n}");
                *self.begun.lock() += 1;
                let Ok(answer) = replica.propose(put(&key, &key)).await else { return };
                let before = self.acknowledged.lock().insert(key, answer.revision);
                assert_eq!(before, None);
            }
        }))
        .await;
    }

    /// Every acknowledged key is there as it was acknowledged, and no put was applied twice.
    fn check<P: Platform>(&self, view: &ReadView<P::Engine>, context: &str) {
        let acknowledged = self.acknowledged.lock();
        let all = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..RangeRequest::default()
        };
        let mut answer = view.range(&all).unwrap();
        let applied = answer.count();
        assert_eq!(
            view.revision().0,
            1 + i64::try_from(applied).unwrap(),
            "{context}: a put applied twice"
        );
        assert!(applied <= *self.begun.lock(), "{context}");
        let stored: BTreeMap<String, Revision> = answer
            .next_records(usize::MAX)
            .unwrap()
            .into_iter()
            .map(|kv| (String::from_utf8(kv.key.to_vec()).unwrap(), Revision(kv.mod_revision)))
            .collect();
        for (key, revision) in acknowledged.iter() {
            assert_eq!(stored.get(key), Some(revision), "{context}: {key} was acknowledged");
        }
    }
}

/// One life of the machine: opens, checks, serves until `for_at_most` of virtual time has passed.
fn live(machine: &Sim, seed: u64, clients: &Clients, life: u64, puts: u64, for_at_most: Duration) {
    on_sim(seed, async {
        let serve = async {
            let settings = Settings { checkpoint_entries: 7, ..Settings::for_tests() };
            let settings = Settings { catchup_entries: 3, ..settings };
            let opened = Replica::open(machine.clone(), start(&data_dir(), settings)).await;
            let Ok(replica) = opened else { return };
            let view = replica.linearizable_view().await.unwrap();
            clients.check::<Sim>(&view, &format!("seed {seed} life {life}"));
            clients.run(&replica, life, puts).await;
        };
        let serve = Box::pin(serve);
        // Over in time or not: either way this life ends here.
        let _ = SimRuntime::timeout(for_at_most, serve).await;
    });
}

/// The last life: it must open, have everything, and take more.
fn last_life(machine: &Sim, seed: u64, clients: &Clients, context: &str) {
    on_sim(seed, async {
        let replica = open(machine, &data_dir()).await;
        clients.check::<Sim>(&replica.linearizable_view().await.unwrap(), context);
        clients.run(&replica, u64::MAX, 2).await;
        clients.check::<Sim>(&replica.linearizable_view().await.unwrap(), context);
        replica.shutdown().await;
    });
}

#[test]
fn power_cuts_and_kills_at_random_moments() {
    let mut acknowledged = 0;
    for seed in 0..12 {
        let mut machine = Sim::new(seed);
        let clients = Clients::default();
        for life in 0..4 {
            let moment = Duration::from_micros(100 + machine.random() % 12_000);
            live(&machine, seed, &clients, life, 1000, moment);
            machine = if machine.random().is_multiple_of(2) {
                machine.power_cut(machine.random())
            } else {
                machine.process_killed()
            };
        }
        last_life(&machine, seed, &clients, &format!("seed {seed}"));
        acknowledged += clients.acknowledged.lock().len();
    }
    assert!(acknowledged > 2_000, "only {acknowledged} puts: the lives are too short to tell");
}

/// The directories whose disk steps are faults' places.
fn faulty_dirs() -> [PathBuf; 2] {
    [data_dir(), data_dir().join("member/wal")]
}

/// Steps a run of `live` without faults takes on the disk of `dir`.
fn steps(dir: &Path) -> u64 {
    let machine = Sim::new(1);
    live(&machine, 1, &Clients::default(), 0, 10, Duration::from_secs(1));
    machine.disk(dir).steps()
}

#[test]
fn a_power_cut_before_every_step() {
    for dir in faulty_dirs() {
        let steps = steps(&dir);
        assert!(steps >= 4, "{steps} steps in {}", dir.display());
        for at in 0..steps {
            let machine = Sim::new(1);
            machine.disk(&dir).inject(Fault::PowerCut { at });
            let clients = Clients::default();
            live(&machine, 1, &clients, 0, 10, Duration::from_secs(1));
            assert!(machine.disk(&dir).is_dark(), "the fault struck");
            let context = format!("power cut before step {at} in {}", dir.display());
            last_life(&machine.power_cut(at), 1, &clients, &context);
        }
    }
}

/// After a failed write or flush nothing is acknowledged that is not there after a power cut, and the
/// node says why it stops.
#[test]
fn a_disk_error_at_every_step_stops_the_node() {
    let wal = data_dir().join("member/wal");
    for at in 0..steps(&wal) {
        for fault in [Fault::Io { at }, Fault::NoSpace { at }] {
            let machine = Sim::new(1);
            machine.disk(&wal).inject(fault);
            let clients = Clients::default();
            let context = format!("{fault:?}");
            on_sim(1, async {
                let opened =
                    Replica::open(machine.clone(), start(&data_dir(), Settings::for_tests()));
                let replica = match opened.await {
                    Ok(replica) => replica,
                    Err(OpenError::Fatal(Fatal::Io { .. })) => return,
                    Err(error) => panic!("{context}: {error}"),
                };
                clients.run(&replica, 0, 20).await;
                let fatal = SimRuntime::timeout(Duration::from_secs(1), replica.fatal()).await;
                let full = matches!(fault, Fault::NoSpace { .. });
                assert!(
                    matches!(&fatal, Ok(StopReason::Failed(Fatal::Io { no_space, .. })) if *no_space == full),
                    "{context}: {fatal:?}"
                );
                let text = fatal.map(|fatal| fatal.to_string()).unwrap_or_default();
                assert!(text.contains("sim") && text.contains("restart"), "{context}: {text}");
                let refused = replica.propose(put("late", "")).await;
                assert!(matches!(refused, Err(ProposeError::Stopped)), "{context}: {refused:?}");
                assert!(replica.read_index().await.is_err(), "{context}");
                replica.shutdown().await;
            });
            last_life(&machine.power_cut(at), 1, &clients, &context);
        }
    }
}

/// What the state machine could not take is no answer; the log has it, and the next life applies it.
#[test]
fn an_engine_error_is_never_an_answer() {
    use vetch_storage::engine::mem::Fault as EngineFault;

    let machine = Sim::new(1);
    on_sim(1, async {
        let replica = open(&machine, &data_dir()).await;
        replica.propose(put("a", "1")).await.unwrap();
        machine.engine().fail_apply(1, EngineFault::Io);
        let answer = replica.propose(put("b", "2")).await;
        assert!(matches!(answer, Err(ProposeError::Stopped)), "{answer:?}");
        assert!(matches!(replica.fatal().await, StopReason::Failed(Fatal::Io { .. })));
        assert_eq!(get::<Sim>(&replica.view(), "b"), None, "nothing of it is visible");
        replica.shutdown().await;
    });
    let machine = machine.process_killed();
    on_sim(1, async {
        let replica = open(&machine, &data_dir()).await;
        assert_eq!(get::<Sim>(&replica.view(), "b").as_deref(), Some("2"));
        assert_eq!(replica.view().revision(), Revision(3));
        replica.shutdown().await;
    });
}

#[test]
fn a_failed_checkpoint_stops_the_node() {
    use vetch_storage::engine::mem::Fault as EngineFault;

    let machine = Sim::new(1);
    on_sim(1, async {
        let replica = open(&machine, &data_dir()).await;
        machine.engine().fail_persist(1, EngineFault::NoSpace);
        replica.propose(put("a", "1")).await.unwrap();
        let fatal = SimRuntime::timeout(Duration::from_secs(20), replica.fatal()).await;
        assert!(
            matches!(fatal, Ok(StopReason::Failed(Fatal::Io { no_space: true, .. }))),
            "{fatal:?}"
        );
        replica.shutdown().await;
    });
    on_sim(1, async {
        let replica = open(&machine.power_cut(1), &data_dir()).await;
        assert_eq!(get::<Sim>(&replica.view(), "a").as_deref(), Some("1"));
        replica.shutdown().await;
    });
}
