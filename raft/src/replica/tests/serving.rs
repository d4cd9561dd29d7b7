//! Proposals, reads, leadership and restarts when nothing goes wrong.

use futures::future::join_all;
use openraft_rt::Instant;
use openraft_rt_sim::SimInstant;

use super::*;

async fn serves<P: Platform>(platform: P, dir: PathBuf) {
    let replica = open(&platform, &dir).await;
    let status = replica.status();
    assert!(status.is_leader && !status.is_learner);
    assert_eq!(status.leader, Some(NodeId(7)));
    assert_eq!(status.term, Term(1));
    assert_eq!(replica.view().members().get(NodeId(7)).unwrap().name, "one");

    let before = replica.view().revision();
    assert_eq!(before, Revision::EMPTY_STORE, "bootstrap changes no key");
    let proposals = (0..100).map(|n| replica.propose(put(&format!("k{n}"), "v")));
    let mut revisions: Vec<_> =
        join_all(proposals).await.into_iter().map(|answer| answer.unwrap().revision).collect();
    revisions.sort_unstable();
    let expected: Vec<_> = (2..102).map(Revision).collect();
    assert_eq!(revisions, expected, "each applied once, each with its own revision");

    let view = replica.linearizable_view().await.unwrap();
    assert_eq!(get::<P>(&view, "k99").as_deref(), Some("v"));
    let status = replica.status();
    assert_eq!((status.pending, status.committed), (0, status.applied));
    replica.shutdown().await;
    assert!(matches!(replica.propose(put("k", "v")).await, Err(ProposeError::Stopped)));
    assert!(matches!(replica.read_index().await, Err(ReadIndexError::Stopped)));
}

#[test]
fn it_serves_on_files() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(serves(shipped(), dir.path().to_owned()));
}

#[test]
fn it_serves_in_the_simulator() {
    on_sim(1, serves(Sim::new(1), data_dir()));
}

#[test]
fn an_engine_that_lags_holds_up_writes_and_nothing_else() {
    let platform = Sim::new(1);
    on_sim(1, async {
        let replica = open(&platform, &data_dir()).await;
        replica.propose(put("k", "1")).await.unwrap();
        platform.engine().set_congested(true);
        let mut write = std::pin::pin!(replica.propose(put("k", "2")));
        let patience = Duration::from_millis(200);
        assert!(SimRuntime::timeout(patience, &mut write).await.is_err(), "it waits");
        let status = replica.status();
        assert!(status.is_leader && status.committed > status.applied, "{status:?}");
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("1"));
        platform.engine().set_congested(false);
        write.await.unwrap();
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("2"));
        replica.shutdown().await;
    });
}

async fn survives_restarts<P: Platform>(platform: P, dir: PathBuf) {
    let mut revision = Revision::EMPTY_STORE;
    for round in 1..=4 {
        let replica = open(&platform, &dir).await;
        assert_eq!(replica.status().term, Term(round), "each start is one election");
        assert_eq!(replica.view().revision(), revision);
        for n in 0..10 {
            let answer = replica.propose(put(&format!("k{round}.{n}"), "v")).await.unwrap();
            revision = revision.next();
            assert_eq!(answer.revision, revision);
        }
        replica.shutdown().await;
    }
}

#[test]
fn it_survives_restarts_on_files() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(survives_restarts(shipped(), dir.path().to_owned()));
}

#[test]
fn it_survives_restarts_in_the_simulator() {
    on_sim(1, survives_restarts(Sim::new(1), data_dir()));
}

/// A lone voter does not wait out an election timeout.
#[test]
fn it_leads_at_once() {
    let platform = Sim::new(1);
    on_sim(1, async {
        for _ in 0..3 {
            let began = SimInstant::try_now().unwrap();
            let replica = open(&platform, &data_dir()).await;
            let took = SimInstant::try_now().unwrap() - began;
            assert!(took < Duration::from_millis(50), "took {took:?} of virtual time");
            replica.shutdown().await;
        }
    });
}

/// The shared rounds, which a lone voter's reads bypass, give the same answer.
#[test]
fn a_confirmed_read_index_covers_what_was_acknowledged() {
    on_sim(1, async {
        let replica = open(&Sim::new(1), &data_dir()).await;
        for n in 0..20 {
            let acknowledged = replica.propose(put("k", &n.to_string())).await.unwrap().id.index;
            let confirmed = join_all((0..10).map(|_| replica.inner.shared_round())).await;
            for index in confirmed {
                assert!(index.unwrap() >= acknowledged);
            }
            assert!(replica.read_index().await.unwrap() >= acknowledged);
        }
        replica.shutdown().await;
    });
}

/// Until the new leader has applied an entry of its own term, entries that were acknowledged before
/// the restart may be in the log only: a read must wait for them.
#[test]
fn no_read_before_the_terms_first_entry_is_applied() {
    let platform = Sim::new(1);
    on_sim(1, async {
        let replica = open(&platform, &data_dir()).await;
        replica.propose(put("k", "v")).await.unwrap();
        let progress = &replica.inner.progress;
        assert_eq!(progress.applied_term(), Term(1));
        // As right after an election that nothing has been applied in.
        replica.inner.leadership.pretend_leading(Term(2));
        let read = replica.inner.sole_leader_index();
        assert_eq!(read, None);
        replica.shutdown().await;
    });
}

#[test]
fn a_proposal_of_another_term_never_enters_the_log() {
    on_sim(1, async {
        let replica = open(&Sim::new(1), &data_dir()).await;
        let term = replica.status().term;
        replica.propose_in_term(put("k", "v"), term).await.unwrap();
        let applied = replica.status().applied;
        let refused = replica.propose_in_term(put("k", "w"), Term(term.0 - 1)).await;
        assert!(matches!(refused, Err(ProposeError::NoLeader)), "{refused:?}");
        assert_eq!(replica.status().applied, applied);
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("v"));
        replica.shutdown().await;
    });
}

#[test]
fn leadership_is_announced_and_withdrawn() {
    on_sim(1, async {
        let replica = open(&Sim::new(1), &data_dir()).await;
        let mut changes = replica.leader_changes();
        assert_eq!(changes.changed().await, Some(LeaderChange::Gained(Term(1))));
        replica.shutdown().await;
        assert_eq!(changes.changed().await, Some(LeaderChange::Lost));
        drop(replica);
        assert_eq!(changes.changed().await, None, "everything that held the replica is gone");
    });
}

/// A checkpoint lets the log go, and a restart replays only what the engine lacks.
#[test]
fn checkpoints_purge_the_log_behind_them() {
    let platform = Sim::new(1);
    let settings =
        Settings { checkpoint_entries: 50, catchup_entries: 10, ..Settings::for_tests() };
    on_sim(1, async {
        let replica =
            Replica::open(platform.clone(), start(&data_dir(), settings.clone())).await.unwrap();
        for n in 0..500 {
            replica.propose(put("k", &n.to_string())).await.unwrap();
        }
        replica.shutdown().await;
        let applied = replica.status().applied;
        assert_eq!(platform.engine().durable_applied(), applied, "the last act is a checkpoint");
        let purged = {
            let metrics = replica.inner.raft.metrics();
            let purged = metrics.borrow_watched().purged;
            log_id(&purged.unwrap()).index
        };
        assert!(purged.0 + 100 > applied.0 && purged.0 + 10 <= applied.0, "{purged} of {applied}");

        let recorder = Arc::new(Recorder::default());
        let again = Start { observer: Arc::clone(&recorder) as _, ..start(&data_dir(), settings) };
        let replica = Replica::open(platform.clone(), again).await.unwrap();
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("499"));
        let replayed = recorder.applied.lock().len();
        assert_eq!(replayed, 1, "nothing but the new term's first entry");
        replica.shutdown().await;
    });
}

/// The same seed gives the same run, event by event.
#[test]
fn a_seed_replays_exactly() {
    let trace = |seed: u64| {
        let mut runtime = SimRuntime::with_seed(seed);
        runtime.record_trace(true);
        let platform = Sim::new(seed);
        runtime.block_on(async {
            let replica = open(&platform, &data_dir()).await;
            let proposals = (0..50).map(|n| replica.propose(put(&format!("k{n}"), "v")));
            drop(join_all(proposals).await);
            drop(replica.linearizable_view().await);
            replica.shutdown().await;
        });
        (runtime.take_trace(), platform.engine().durable_applied())
    };
    assert_eq!(trace(5), trace(5));
    assert!(trace(5).0.len() > 100);
}

/// How long a restart takes is printed, not judged.
#[test]
fn a_restart_is_quick_on_files() {
    let dir = tempfile::tempdir().unwrap();
    on_tokio(async {
        let replica = open(&shipped(), dir.path()).await;
        for n in 0..100 {
            replica.propose(put("k", &n.to_string())).await.unwrap();
        }
        replica.shutdown().await;
        // The engine closes with the last handle on it.
        drop(replica);
        let began = <TokioRuntime as AsyncRuntime>::Instant::now();
        let replica = open(&shipped(), dir.path()).await;
        println!("restart to serving: {:?}", began.elapsed());
        assert_eq!(get::<Tokio<FjallEngine>>(&replica.view(), "k").as_deref(), Some("99"));
        replica.shutdown().await;
    });
}
