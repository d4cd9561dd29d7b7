//! Who writes and reads while faults happen.
//!
//! Every client has its own stream of chance and a member it likes best; it asks another when that
//! one is away, and now and then for no reason.

use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::calls;
use super::coverage::Reached;
use super::life::Life;
use super::world::World;
use crate::harness::workload::{Client, Load};
use crate::history::{
    Answer, Blob, Compare, Delete, Expected, KeyRange, KeyValue, LeaseId, Op, Outcome, Put, Range,
    Relation, Revision, Step, Txn,
};

/// A caller: who it is, and whom it asks.
pub(super) struct Caller {
    world: Arc<World>,
    id: u32,
    random: SmallRng,
    favourite: u64,
}

impl Caller {
    pub(super) fn new(world: &Arc<World>, id: u32) -> Self {
        let seed = world.shape.seed ^ (u64::from(id) << 32) ^ 0xca11;
        let mut random = SmallRng::seed_from_u64(seed);
        let favourite = world.ids().choose(&mut random).copied().unwrap_or(1);
        Self { world: Arc::clone(world), id, random, favourite }
    }

    /// A member that serves; waits for one. `None` when the run is over.
    pub(super) async fn member(&mut self) -> Option<Arc<Life>> {
        while !self.world.has_ended() {
            if self.random.random_ratio(1, 6) {
                self.choose();
            }
            if let Some(life) = self.world.serving(self.favourite) {
                return Some(life);
            }
            if let Some(life) = self.world.all_serving().choose(&mut self.random) {
                self.favourite = life.id;
            }
            SimRuntime::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    fn choose(&mut self) {
        if let Some(id) = self.world.ids().choose(&mut self.random) {
            self.favourite = *id;
        }
    }

    async fn pause(&mut self) {
        let most = self.world.shape.client_pause;
        SimRuntime::sleep(self.random.random_range(Duration::ZERO..=most)).await;
    }

    /// Carries out and records one operation.
    async fn call(&mut self, op: &Op) -> Option<Outcome> {
        let life = self.member().await?;
        let id = self.world.recorder.begin(self.id, op.clone());
        let outcome = calls::call(&self.world, &life, op).await;
        if let Outcome::Unknown(_) = outcome {
            // Another asks next: the member may be cut off.
            self.choose();
        }
        self.world.trace.mix((self.id, &format!("{outcome:?}")));
        self.world.recorder.finish(id, outcome.clone());
        Some(outcome)
    }
}

/// Registers and transactions over several keys.
pub(super) async fn mixed(world: Arc<World>, id: u32) {
    let mut caller = Caller::new(&world, id);
    let shape = &world.shape;
    let load = Load { keys: shape.keys, pause: shape.client_pause, leases: false };
    let mut script = Client::new(id, load, shape.seed, world.recorder.clone());
    loop {
        caller.pause().await;
        let op = script.draw();
        let Some(outcome) = caller.call(&op).await else { return };
        if let Outcome::Ok(response) = &outcome {
            let failed = matches!(response.answer, Answer::Txn { succeeded: false, .. });
            world.coverage.add(Reached::Conflict, u64::from(failed));
            script.learn(&op, response);
        }
    }
}

/// Reads an object, changes it if nobody else has meanwhile, and begins anew: as controllers do.
pub(super) async fn controller(world: Arc<World>, id: u32) {
    let mut caller = Caller::new(&world, id);
    let mut number = 0_u64;
    let mut known: Option<(Blob, Revision)> = None;
    loop {
        caller.pause().await;
        let Some((key, seen)) = known.take() else {
            let key = Blob::from(format!("object{}", caller.random.random_range(0..3)));
            let range = KeyRange::single(key.clone());
            let read = Op::Range(Range { range, revision: None, serializable: false });
            let Some(outcome) = caller.call(&read).await else { return };
            if let Outcome::Ok(response) = outcome {
                known = Some((key, newest(&response.answer).unwrap_or_default()));
            }
            continue;
        };
        number += 1;
        let txn = update(&key, seen, format!("{id}/{number}"), caller.random.random_ratio(1, 8));
        let Some(outcome) = caller.call(&Op::Txn(txn)).await else { return };
        let Outcome::Ok(response) = outcome else { continue };
        let Answer::Txn { succeeded, answers } = &response.answer else { continue };
        world.coverage.add(Reached::Conflict, u64::from(!succeeded));
        known = match answers.first() {
            Some(Answer::Put { .. }) => Some((key, response.revision)),
            Some(read @ Answer::Range { .. }) => Some((key, newest(read).unwrap_or_default())),
            Some(Answer::Delete { .. } | Answer::Txn { .. } | Answer::LeaseRevoke) | None => None,
        };
    }
}

fn newest(answer: &Answer) -> Option<Revision> {
    match answer {
        Answer::Range { kvs, .. } => kvs.first().map(|kv: &KeyValue| kv.mod_revision),
        Answer::Put { .. } | Answer::Delete { .. } | Answer::Txn { .. } | Answer::LeaseRevoke => {
            None
        }
    }
}

/// A change of `key` on the condition that it is as of `seen`; else it is read.
fn update(key: &Blob, seen: Revision, value: String, delete: bool) -> Txn {
    let range = KeyRange::single(key.clone());
    let put = Put { key: key.clone(), value: value.into(), lease: LeaseId::NONE, prev_kv: false };
    let change = if delete && seen.0 > 0 {
        Step::Delete(Delete { range: range.clone(), prev_kv: false })
    } else {
        Step::Put(put)
    };
    Txn {
        compares: vec![Compare {
            key: key.clone(),
            expected: Expected::ModRevision(seen),
            relation: Relation::Equal,
        }],
        success: vec![change],
        failure: vec![Step::Range(Range { range, revision: None, serializable: false })],
    }
}

/// Seconds that leases are granted for, at most.
const MAX_TTL: i64 = 9;

/// Holds leases: keeps some alive for a while, lets them run out, or gives them back.
pub(super) async fn holder(world: Arc<World>, id: u32) {
    let mut caller = Caller::new(&world, id);
    let mut number = 0;
    loop {
        caller.pause().await;
        number += 1;
        let lease = LeaseId(i64::from(id) * 1_000 + number);
        let ttl = caller.random.random_range(2..=MAX_TTL);
        let Some(life) = caller.member().await else { return };
        // Its end is an operation that nobody gets an answer to, possible from the grant on.
        let _expiry = world.recorder.begin(1_000 + id, Op::LeaseRevoke { lease });
        if !calls::grant(&world, &life, lease, ttl).await {
            continue;
        }
        let put = Put {
            key: format!("held{id}.{}", number % 4).into(),
            value: format!("{id}:{number}").into(),
            lease,
            prev_kv: false,
        };
        if caller.call(&Op::Put(put)).await.is_none() {
            return;
        }
        let renewals = caller.random.random_range(0..6);
        for _ in 0..renewals {
            let half = Duration::from_millis(u64::try_from(ttl * 500).unwrap_or(0));
            SimRuntime::sleep(caller.random.random_range(half / 4..=half)).await;
            let Some(life) = caller.member().await else { return };
            match calls::renew(&world, &life, lease, half).await {
                Some(true) => {}
                Some(false) => break,
                // Its time runs: another is asked next.
                None => caller.choose(),
            }
        }
        if caller.random.random_ratio(1, 4)
            && caller.call(&Op::LeaseRevoke { lease }).await.is_none()
        {
            return;
        }
    }
}

/// Has history forgotten now and then.
pub(super) async fn compactor(world: Arc<World>, id: u32) {
    let mut caller = Caller::new(&world, id);
    loop {
        SimRuntime::sleep(Duration::from_millis(caller.random.random_range(800..4_000))).await;
        let Some(life) = caller.member().await else { return };
        let back = caller.random.random_range(0..30);
        let revision = Revision(life.replica.view().revision().0 - back);
        if revision.0 <= 1 {
            continue;
        }
        world.compacts(revision);
        if calls::compact(&world, &life, revision).await {
            world.coverage.reach(Reached::Compacted);
        }
    }
}
