//! Deadlines and the bound on what waits, with a disk that stalls.

use futures::future::join_all;

use super::*;
use crate::disk::sim::Fault;

fn stall(machine: &Sim, extra: Duration) {
    let wal = machine.disk(&data_dir().join("member/wal"));
    wal.inject(Fault::Stall { at: wal.steps(), extra });
}

async fn open_with(machine: &Sim, settings: Settings) -> Replica<Sim> {
    Replica::open(machine.clone(), start(&data_dir(), settings)).await.unwrap()
}

fn refused<T>(answers: &[Result<T, ProposeError>]) -> usize {
    answers.iter().filter(|one| matches!(one, Err(ProposeError::TooManyRequests))).count()
}

#[test]
fn too_many_proposals_are_refused_at_once_and_the_others_land() {
    let machine = Sim::new(1);
    let settings = Settings { max_inflight_proposals: 5, ..Settings::for_tests() };
    on_sim(1, async {
        let replica = open_with(&machine, settings).await;
        stall(&machine, Duration::from_secs(2));
        let answers = join_all((0..12).map(|n| replica.propose(put(&n.to_string(), "v")))).await;
        assert_eq!(refused(&answers), 7);
        assert_eq!(answers.iter().filter(|one| one.is_ok()).count(), 5);
        assert_eq!(replica.view().revision(), Revision(6), "what was refused never lands");
        assert_eq!(replica.status().pending, 0);
        replica.propose(put("after", "v")).await.unwrap();
        replica.shutdown().await;
    });
}

#[test]
fn too_many_bytes_are_refused() {
    let machine = Sim::new(1);
    let settings = Settings { max_inflight_bytes: 10_000, ..Settings::for_tests() };
    on_sim(1, async {
        let replica = open_with(&machine, settings).await;
        stall(&machine, Duration::from_secs(2));
        let large = "x".repeat(4_000);
        let answers = join_all((0..5).map(|n| replica.propose(put(&n.to_string(), &large)))).await;
        assert_eq!(refused(&answers), 3);
        replica.shutdown().await;
    });
}

/// The deadline passes, the command lands all the same: exactly what the error says.
#[test]
fn a_proposal_that_timed_out_may_still_land() {
    let machine = Sim::new(1);
    let settings = Settings { request_timeout: Duration::from_secs(1), ..Settings::for_tests() };
    on_sim(1, async {
        let replica = open_with(&machine, settings).await;
        let before = replica.status().applied;
        stall(&machine, Duration::from_secs(3));
        let answer = replica.propose(put("k", "v")).await;
        assert!(matches!(answer, Err(ProposeError::TimedOut)), "{answer:?}");
        assert_eq!(replica.status().applied, before);
        assert_eq!(replica.status().pending, 1, "it keeps its place while it is in the log");
        let waited = replica.wait_applied(before.next()).await;
        assert!(matches!(waited, Err(ReadIndexError::TimedOut)), "{waited:?}");
        // Reads do not wait for a stalled disk.
        replica.linearizable_view().await.unwrap();
        replica.inner.progress.wait(before.next()).await.unwrap();
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("v"));
        assert_eq!(replica.status().pending, 0);
        replica.shutdown().await;
    });
}

/// A client that goes away does not make room for more while its entry is held.
#[test]
fn an_abandoned_proposal_keeps_its_place() {
    let machine = Sim::new(1);
    let settings = Settings { max_inflight_proposals: 1, ..Settings::for_tests() };
    on_sim(1, async {
        let replica = open_with(&machine, settings).await;
        stall(&machine, Duration::from_secs(2));
        let abandoned = replica.propose(put("k", "v"));
        let abandoned = SimRuntime::timeout(Duration::from_millis(10), Box::pin(abandoned)).await;
        assert!(abandoned.is_err());
        let next = replica.propose(put("l", "v")).await;
        assert!(matches!(next, Err(ProposeError::TooManyRequests)), "{next:?}");
        replica.shutdown().await;
        assert_eq!(get::<Sim>(&replica.view(), "k").as_deref(), Some("v"), "shutdown drains");
    });
}
