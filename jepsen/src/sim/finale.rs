//! After the storm: everything is mended, and then what must come true has to, in bounded time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use vetch_raft::transport::sim::Weather;
use vetch_storage::NodeId;

use super::calls;
use super::coverage::Reached;
use super::life::Life;
use super::process::world_time;
use super::shape::{ELECTION, LEASE_CHECKPOINT, REQUEST};
use super::world::{Death, World};
use crate::history::{Answer, KeyRange, KeyValue, LeaseId, Op, Outcome, Put, Range};

/// By when the operator has done what he is at, in a mended group: a few changes, each with a newcomer
/// that may have to be given the whole state.
const OPERATED: Duration = Duration::from_mins(1);
/// By when a mended group has a leader, and has caught up.
const SETTLED: Duration = Duration::from_secs(30);
/// Steps of waiting.
const STEP: Duration = Duration::from_millis(10);

/// What did not come true.
pub(super) struct Stuck(String);

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Mends everything and waits for what must come true; the keys that are there in the end.
pub(super) async fn run(world: &Arc<World>) -> Result<Vec<KeyValue>, Stuck> {
    mend(world).await;
    until(world, OPERATED, "the end of the operators' work", || world.operations().is_empty())
        .await?;
    until(world, SETTLED, "one leader that all follow", || agreed(world).is_some()).await?;
    let told = || world.stragglers().is_empty();
    until(world, SETTLED, "the stop of every member that was removed", told).await?;
    let served = || world.all_serving().len() == world.ids().len();
    until(world, SETTLED, "clients served on every member", served).await?;
    world.trace.note("one leader");
    for id in world.ids() {
        write(world, id, &format!("calm {id}")).await?;
    }
    if world.shape.lease_checkpoints && world.ids().len() > 1 {
        leases_keep_their_remaining_time(world).await?;
    }
    leases_end(world).await?;
    converge(world).await?;
    same_hash(world)?;
    let last = world.all_up().first().map_or(0, |life| life.replica.view().revision().0);
    world.watch_until(crate::history::Revision(last));
    let told = || world.watchers_left() == 0;
    until(world, SETTLED, "every event told to every watcher", told).await?;
    let mut keys: Option<Vec<KeyValue>> = None;
    for id in world.ids() {
        let found = read_all(world, id).await?;
        if keys.as_ref().is_some_and(|first| *first != found) {
            return Err(Stuck(format!("m{id} shows other keys than the first member")));
        }
        keys = Some(found);
    }
    Ok(keys.unwrap_or_default())
}

/// Ends all faults; members on whom one is still waiting are started anew.
async fn mend(world: &Arc<World>) {
    world.trace.note("the storm is over");
    world.network.heal();
    world.network.set_weather(Weather::default());
    world.network.damage_chunks(0);
    for id in world.machines() {
        if let Some(life) = world.up(id) {
            life.process.resume();
        }
    }
    for id in world.ids() {
        world.sim(id).engine().set_congested(false);
        world.restore(id);
        if world.is_rigged(id) || world.wal(id).is_dark() {
            world.die(id, Death::Kill);
        }
    }
    // Whoever waits for a restart is started now; it finds nothing to do then.
    for id in world.ids() {
        world.boot(id).await;
    }
}

async fn until(
    world: &Arc<World>,
    within: Duration,
    what: &str,
    holds: impl Fn() -> bool,
) -> Result<(), Stuck> {
    let deadline = world_time() + within;
    while !holds() {
        if world_time() > deadline {
            let mut all: Vec<_> = world.machines().iter().map(|id| world.show(*id)).collect();
            all.extend(world.operations().iter().map(|operation| format!("operator: {operation}")));
            return Err(Stuck(format!("not within {within:?}: {what}; {}", all.join(", "))));
        }
        SimRuntime::sleep(STEP).await;
    }
    Ok(())
}

/// The leader that every member follows.
fn agreed(world: &World) -> Option<Arc<Life>> {
    let up = world.all_up();
    if up.len() != world.ids().len() {
        return None;
    }
    let mut statuses = up.iter().map(|life| life.status());
    let first = statuses.next()?;
    let leader = first.leader?;
    let agree = statuses.all(|status| status.leader == Some(leader) && status.term == first.term);
    let leader = up.iter().find(|life| NodeId(life.id) == leader)?;
    (agree && leader.status().is_leader).then(|| Arc::clone(leader))
}

async fn write(world: &Arc<World>, id: u64, value: &str) -> Result<(), Stuck> {
    let deadline = world_time() + SETTLED;
    for attempt in 0.. {
        let value = format!("{value}.{attempt}").into();
        let put = Put { key: "calm".into(), value, lease: LeaseId::NONE, prev_kv: false };
        let op = Op::Put(put);
        let Some(life) = world.up(id) else {
            SimRuntime::sleep(STEP).await;
            continue;
        };
        let recorded = world.recorder.begin(5_000, op.clone());
        let outcome = calls::call(world, &life, &op).await;
        world.recorder.finish(recorded, outcome.clone());
        match outcome {
            Outcome::Ok(_) => return Ok(()),
            Outcome::Fail(why) | Outcome::Unknown(why) if world_time() > deadline => {
                return Err(Stuck(format!(
                    "not within {SETTLED:?}: a write by way of m{id}: {why}"
                )));
            }
            // One that refuses at once would be asked for ever at the same moment.
            Outcome::Fail(_) | Outcome::Unknown(_) => SimRuntime::sleep(STEP).await,
        }
    }
    unreachable!("it ends with an answer or at its deadline")
}

/// A new leader goes on from what its predecessor recorded, instead of giving the whole TTL again.
async fn leases_keep_their_remaining_time(world: &Arc<World>) -> Result<(), Stuck> {
    const TTL: i64 = 24;
    let Some(leader) = agreed(world) else { return Ok(()) };
    let (lease, began) = (LeaseId(9_999_999), world_time());
    let _expiry = world.recorder.begin(5_001, Op::LeaseRevoke { lease });
    if !calls::grant(world, &leader, lease, TTL).await {
        return Ok(());
    }
    SimRuntime::sleep(Duration::from_secs(14)).await;
    let (Some(target), replica) =
        (world.ids().into_iter().find(|id| *id != leader.id), leader.replica.clone())
    else {
        return Ok(());
    };
    let moved =
        leader.process.enter(async move { replica.transfer_leadership(NodeId(target)).await });
    let moved = moved.await;
    world.trace.note(format_args!("a lease of {TTL} s; leadership to m{target}: {moved:?}"));
    // What was left at the last record, rounded up, the time without a leader, and slow clocks.
    let slack = LEASE_CHECKPOINT + ELECTION * 2 + Duration::from_secs(2);
    let due = began + Duration::from_secs(TTL.unsigned_abs()) * 11 / 10 + slack;
    let gone = || {
        let id = vetch_storage::LeaseId(lease.0);
        world.all_up().iter().all(|life| life.replica.view().leases().get(id).is_none())
    };
    let within = due.saturating_sub(world_time());
    until(world, within, "the end of a lease after a change of leaders", gone).await
}

/// Every lease that nobody renews ends, and none gets time for nothing: one that a leader renewed at the
/// last moment, or took over from another, has its TTL from then on, and no more.
async fn leases_end(world: &Arc<World>) -> Result<(), Stuck> {
    let term = || agreed(world).map(|leader| leader.status().term);
    let (began, mut led, mut since) = (world_time(), term(), world_time());
    loop {
        let views = world.all_up().into_iter().map(|life| life.process.run(|| life.replica.view()));
        let left: Vec<_> = views
            .flat_map(|view| view.leases().iter().map(|one| (one.id, one.ttl)).collect::<Vec<_>>())
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let now = term();
        if now.is_some() && now != led {
            (led, since) = (now, world_time());
        }
        // A renewal may have been on its way for as long as a request takes; clocks may be slow.
        let slack = REQUEST + ELECTION + Duration::from_secs(2);
        let over = |ttl: i64| since + Duration::from_secs(ttl.unsigned_abs()) * 11 / 10 + slack;
        let late = left.iter().find(|(_, ttl)| world_time() > over(*ttl));
        if late.is_some() || world_time() > began + OPERATED {
            let what = "the end of every lease that nobody renews";
            return Err(Stuck(format!("not in time: {what}, since {since:?}; left: {left:?}")));
        }
        SimRuntime::sleep(STEP).await;
    }
}

/// What is stored is the same, too: the digest runs along with what is applied and looks at no engine.
fn same_hash(world: &Arc<World>) -> Result<(), Stuck> {
    let mut first = None;
    for life in world.all_up() {
        let view = life.replica.view();
        let hash = life.process.run(|| view.hash_kv(view.revision()));
        let hash =
            hash.map_err(|error| Stuck(format!("m{} cannot be hashed: {error}", life.id)))?;
        let (m, of_first) = first.get_or_insert((life.id, hash));
        if *of_first != hash {
            return Err(Stuck(format!("m{m} is hashed {of_first:?}, m{} {hash:?}", life.id)));
        }
    }
    Ok(())
}

/// All members come to hold the same, and go on to.
async fn converge(world: &Arc<World>) -> Result<(), Stuck> {
    let same = || {
        let mut states = world.all_up().into_iter().map(|life| {
            let view = life.replica.view();
            (view.applied(), view.digest(), view.revision())
        });
        let first = states.next();
        world.all_up().len() == world.ids().len() && states.all(|state| Some(state) == first)
    };
    until(world, SETTLED, "the same state on all members", same).await
}

async fn read_all(world: &Arc<World>, id: u64) -> Result<Vec<KeyValue>, Stuck> {
    let range = Range { range: KeyRange::all(), revision: None, serializable: false };
    let op = Op::Range(range);
    let Some(life) = world.up(id) else { return Err(Stuck(format!("m{id} is gone again"))) };
    let recorded = world.recorder.begin(5_002, op.clone());
    let outcome = calls::call(world, &life, &op).await;
    world.recorder.finish(recorded, outcome.clone());
    match outcome {
        Outcome::Ok(response) => match response.answer {
            Answer::Range { kvs, .. } => {
                world.coverage.reach(Reached::Acknowledged);
                Ok(kvs)
            }
            other @ (Answer::Put { .. }
            | Answer::Delete { .. }
            | Answer::Txn { .. }
            | Answer::LeaseRevoke) => {
                Err(Stuck(format!("a read by way of m{id} is answered {other:?}")))
            }
        },
        Outcome::Fail(why) | Outcome::Unknown(why) => {
            Err(Stuck(format!("a read by way of m{id} in calm weather: {why}")))
        }
    }
}
