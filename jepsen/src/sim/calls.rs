//! One call of one client on one member, as the services answer it.

use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use vetch_proto::etcdserverpb::{CompactionRequest, LeaseGrantRequest, LeaseRevokeRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{ProposeError, ReadIndexError};
use vetch_storage::error::ReadError;
use vetch_storage::{Applied, Fatal, LeaseId as StoredLeaseId, Response as Stored};

use super::coverage::Reached;
use super::life::Life;
use super::process::{Gone, world_time};
use super::world::World;
use crate::harness::wire;
use crate::history::{Answer, LeaseId, Op, Outcome, Range, Response, Revision};

/// How long a client waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Calls `op` on the member that runs as `life`.
pub(super) async fn call(world: &World, life: &Arc<Life>, op: &Op) -> Outcome {
    let outcome = match command(op) {
        Some(command) => propose(world, life, command).await.map(|applied| answer(&applied)),
        None => match op {
            Op::Range(range) => return read(life, range).await,
            Op::Put(_) | Op::Delete(_) | Op::Txn(_) | Op::LeaseRevoke { .. } => {
                unreachable!("it is a command")
            }
        },
    };
    let outcome = outcome.unwrap_or_else(|outcome| outcome);
    match &outcome {
        Outcome::Ok(_) => {
            world.coverage.reach(Reached::Acknowledged);
            let led = !life.process.is_dead() && life.status().is_leader;
            world.coverage.add(Reached::Forwarded, u64::from(!led));
        }
        Outcome::Unknown(_) => world.coverage.reach(Reached::Unknown),
        Outcome::Fail(_) => {}
    }
    outcome
}

fn command(op: &Op) -> Option<Command> {
    Some(match op {
        Op::Put(put) => Command::Put(wire::put_request(put)),
        Op::Delete(delete) => Command::DeleteRange(wire::delete_request(delete)),
        Op::Txn(txn) => Command::Txn(wire::txn_request(txn)),
        Op::LeaseRevoke { lease } => Command::LeaseRevoke(LeaseRevokeRequest { id: lease.0 }),
        Op::Range(_) => return None,
    })
}

/// Proposes, and waits as long as a client does. The error is what the client knows then.
async fn propose(
    world: &World,
    life: &Arc<Life>,
    command: Command,
) -> Result<Arc<Applied>, Outcome> {
    let proposal = Proposal {
        wall_time_ms: world.wall_clock(life.id),
        command: Some(command),
        ..Proposal::default()
    };
    let replica = life.replica.clone();
    let proposed = life.process.enter(async move { replica.propose(proposal).await });
    let unknown = |text: &str| Err(Outcome::Unknown(text.to_owned()));
    match SimRuntime::timeout(PATIENCE, proposed).await {
        Err(_) => unknown("the client waits no more"),
        Ok(Err(Gone)) => unknown("the member died"),
        Ok(Ok(Ok(applied))) => match &applied.response {
            Ok(_) => Ok(applied),
            Err(refusal) => Err(Outcome::Fail(refusal.to_string())),
        },
        // By their promise neither has entered the log.
        Ok(Ok(Err(error @ (ProposeError::TooManyRequests | ProposeError::NoLeader)))) => {
            Err(Outcome::Fail(error.to_string()))
        }
        Ok(Ok(Err(
            error @ (ProposeError::TimedOut
            | ProposeError::TimedOutLeaderChanged
            | ProposeError::Stopped),
        ))) => unknown(&error.to_string()),
    }
}

fn answer(applied: &Applied) -> Outcome {
    let answer = match &applied.response {
        Ok(Stored::Put(response)) => wire::put_answer(response.clone()),
        Ok(Stored::DeleteRange(response)) => wire::delete_answer(response.clone()),
        Ok(Stored::Txn(response)) => wire::txn_answer(response.clone()),
        Ok(Stored::LeaseRevoke) => Answer::LeaseRevoke,
        Ok(
            Stored::None
            | Stored::Compaction
            | Stored::LeaseGrant { .. }
            | Stored::LeaseCheckpoint
            | Stored::LeaseExpire { .. }
            | Stored::Alarm(_),
        )
        | Err(_) => return Outcome::Unknown(format!("an answer of another kind: {applied:?}")),
    };
    Outcome::Ok(Response { revision: Revision(applied.revision.0), answer })
}

async fn read(life: &Arc<Life>, range: &Range) -> Outcome {
    let (replica, api, wanted) = (life.replica.clone(), Arc::clone(&life.api), range.clone());
    let read = life.process.enter(async move {
        // As the service does, which would not find it otherwise.
        let stop = |fatal: Fatal| {
            let said = fatal.to_string();
            let _refusal = api.stop(fatal);
            said
        };
        let view = if wanted.serializable {
            replica.view()
        } else {
            replica.linearizable_view().await.map_err(|error: ReadIndexError| error.to_string())?
        };
        let refused = |error: ReadError| match error {
            ReadError::Refused(refusal) => refusal.to_string(),
            ReadError::Fatal(fatal) => stop(fatal),
        };
        let mut answer = view.range(&wire::range_request(&wanted)).map_err(refused)?;
        let (revision, count) = (Revision(answer.revision().0), answer.count());
        let kvs = answer.next_records(usize::MAX).map_err(stop)?;
        let kvs = kvs.into_iter().map(wire::key_value).collect();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Response { revision, answer: Answer::Range { kvs, count } })
    });
    match SimRuntime::timeout(PATIENCE, read).await {
        Ok(Ok(Ok(response))) => Outcome::Ok(response),
        Ok(Ok(Err(refusal))) => Outcome::Fail(refusal),
        Ok(Err(Gone)) => Outcome::Fail("the member died".to_owned()),
        Err(_) => Outcome::Fail("the client waits no more".to_owned()),
    }
}

/// Grants a lease; whether the client knows that it has it.
pub(super) async fn grant(world: &World, life: &Arc<Life>, lease: LeaseId, ttl: i64) -> bool {
    let asked = world_time();
    let command = Command::LeaseGrant(LeaseGrantRequest { id: lease.0, ttl });
    let granted = propose(world, life, command).await.is_ok();
    if granted {
        world.oracle.lease_promised(StoredLeaseId(lease.0), ttl, asked);
    }
    granted
}

/// Renews a lease, and waits so long for it; `Some(false)` when it is gone, `None` when the client does
/// not know.
pub(super) async fn renew(
    world: &World,
    life: &Arc<Life>,
    lease: LeaseId,
    patience: Duration,
) -> Option<bool> {
    let asked = world_time();
    let leases = Arc::clone(&life.leases);
    let id = StoredLeaseId(lease.0);
    let renewed = life.process.enter(async move { leases.renew(id).await });
    let answer = SimRuntime::timeout(patience, renewed).await.ok()?.ok()?.ok()?;
    if let Some(ttl) = answer {
        world.oracle.lease_promised(id, ttl, asked);
        world.coverage.reach(Reached::Renewed);
        world
            .coverage
            .add(Reached::RenewedBehind, u64::from(world.leads_beside_one_that_stands_still()));
    }
    Some(answer.is_some())
}

/// Has the store forget what `revision` superseded.
pub(super) async fn compact(world: &World, life: &Arc<Life>, revision: Revision) -> bool {
    let request = CompactionRequest { revision: revision.0, physical: false };
    propose(world, life, Command::Compaction(request)).await.is_ok()
}
