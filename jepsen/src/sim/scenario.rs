//! A world whose course is written down instead of drawn: what a finding needs to happen once more.
//!
//! A seed stops standing for its world as soon as anything before the finding draws once more or once
//! less. The steps that led to it stay. The oracles, the finale and the checkers are those of every world.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use vetch_raft::disk::sim::Fault as DiskFault;
use vetch_raft::transport::sim::Weather;
use vetch_storage::NodeId;

use super::calls;
use super::life::Life;
use super::operator::Operator;
use super::process::world_time;
use super::shape::Shape;
use super::world::{Death, World};
use crate::history::{Blob, KeyRange, LeaseId, Op, Outcome, Put, Range};

/// Members, and what happens to them when.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The members. Its faults, clients and holders are not asked for; its watchers are.
    pub shape: Shape,
    /// In order: milliseconds after the beginning, and what begins then.
    pub steps: Vec<(u64, Step)>,
}

/// Whom a step is about, found when it begins.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// The member of this id: founders count from 1, and whoever is added goes on from there.
    Member(u64),
    /// Whoever leads.
    Leader,
    /// The member that has this many before it, by id, who do not lead either.
    Follower(usize),
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// The member's engine begins to lag.
    Congest(Who),
    /// It lags no more.
    Relieve(Who),
    /// Nothing comes to the member or leaves it.
    Isolate(Who),
    /// The same for whoever is elected next, before anybody has confirmed it.
    IsolateElected,
    /// Messages are under way for so many milliseconds, at least and at most.
    Delay(u64, u64),
    /// All cuts end.
    Mend,
    /// The power of the member's machine goes out, and comes back with [`Start`](Self::Start).
    PowerCut(Who),
    /// The member's process is killed, and not started again before [`Start`](Self::Start).
    Kill(Who),
    /// It is started.
    Start(Who),
    /// The member's disks are lost. On empty ones it is started again, under its id.
    Wipe(Who),
    /// A member is added and started.
    Add {
        /// It does not vote.
        learner: bool,
        /// How many steps after it has begun to run its log's disk stalls, and for how long.
        stall: Option<(u64, Duration)>,
    },
    /// A client writes by way of the member, and is told that it is done.
    Put(Who, &'static str, &'static str),
    /// A client reads on the member, and gets an answer.
    Read(Who, &'static str),
}

/// How long what a step began may take after the last step.
const PATIENCE: Duration = Duration::from_mins(1);

type Task = <SimRuntime as AsyncRuntime>::JoinHandle<()>;

/// Takes one step after the other, and waits for what they began.
pub(super) async fn play(world: &Arc<World>, steps: &[(u64, Step)]) {
    let mut begun: Vec<Task> = Vec::new();
    for (number, (at, step)) in steps.iter().enumerate() {
        let at = Duration::from_millis(*at);
        SimRuntime::sleep(at.saturating_sub(world_time())).await;
        world.trace.note(format_args!("step: {step:?}"));
        let player = Player { world: Arc::clone(world), number };
        begun.extend(player.take(step));
    }
    for task in begun {
        if SimRuntime::timeout(PATIENCE, task).await.is_err() {
            world.oracle.violated("what a step began does not end".to_owned());
        }
    }
}

/// Carries out one step.
struct Player {
    world: Arc<World>,
    number: usize,
}

impl Player {
    fn take(self, step: &Step) -> Option<Task> {
        let world = &self.world;
        match step {
            Step::Congest(who) => world.sim(self.id(*who)?).engine().set_congested(true),
            Step::Relieve(who) => world.sim(self.id(*who)?).engine().set_congested(false),
            Step::Isolate(who) => world.network.isolate(NodeId(self.id(*who)?)),
            Step::IsolateElected => return Some(SimRuntime::spawn(self.isolate_elected())),
            Step::Delay(least, most) => {
                let delay = (Duration::from_millis(*least), Duration::from_millis(*most));
                world.network.set_weather(Weather { delay, ..Weather::default() });
            }
            Step::Mend => world.network.heal(),
            Step::Kill(who) => {
                world.die(self.id(*who)?, Death::Kill);
            }
            Step::PowerCut(who) => {
                world.die(self.id(*who)?, Death::PowerCut);
            }
            Step::Start(who) => {
                let (id, world) = (self.id(*who)?, Arc::clone(world));
                return Some(SimRuntime::spawn(async move { world.boot(id).await }));
            }
            Step::Wipe(who) => {
                let (id, world) = (self.id(*who)?, Arc::clone(world));
                world.die(id, Death::PowerCut);
                world.lose_disks(id, true);
                return Some(SimRuntime::spawn(async move { world.boot(id).await }));
            }
            Step::Add { learner, stall } => {
                let (learner, stall) = (*learner, *stall);
                return Some(SimRuntime::spawn(self.add(learner, stall)));
            }
            Step::Put(who, key, value) => {
                let put = Put {
                    key: Blob::from(*key),
                    value: Blob::from(*value),
                    lease: LeaseId::NONE,
                    prev_kv: false,
                };
                return Some(SimRuntime::spawn(self.ask(*who, Op::Put(put))));
            }
            Step::Read(who, key) => {
                let range = KeyRange::single(Blob::from(*key));
                let range = Range { range, revision: None, serializable: false };
                return Some(SimRuntime::spawn(self.ask(*who, Op::Range(range))));
            }
        }
        None
    }

    fn id(&self, who: Who) -> Option<u64> {
        let leader = self.world.leader().map(|life| life.id);
        let mut followers = self.world.ids().into_iter().filter(|id| Some(*id) != leader);
        let found = match who {
            Who::Member(id) => Some(id),
            Who::Leader => leader,
            Who::Follower(before) => leader.and_then(|_| followers.nth(before)),
        };
        if found.is_none() {
            self.world.oracle.violated(format!("step {}: nobody is {who:?}", self.number));
        }
        found
    }

    async fn ask(self, who: Who, op: Op) {
        let Some(id) = self.id(who) else { return };
        let Some(life) = self.world.serving(id) else {
            let what = format!("step {}: m{id} does not serve", self.number);
            return self.world.oracle.violated(what);
        };
        let client = u32::try_from(self.number).unwrap_or(u32::MAX);
        let recorded = self.world.recorder.begin(client, op.clone());
        let outcome = calls::call(&self.world, &life, &op).await;
        self.world.recorder.finish(recorded, outcome.clone());
        self.world.trace.note(format_args!("step {}: {outcome:?}", self.number));
        if !matches!(outcome, Outcome::Ok(_)) {
            self.world.oracle.violated(format!("step {} has no answer: {outcome:?}", self.number));
        }
    }

    async fn isolate_elected(self) {
        let itself = |life: &Arc<Life>| {
            let mut leaders = life.replica.leaders();
            leaders.changed().now_or_never() == Some(Some(Some(NodeId(life.id))))
        };
        while !self.world.has_ended() {
            if let Some(life) = self.world.all_up().iter().find(|life| itself(life)) {
                self.world.trace.note(format_args!("m{} is elected, and cut off", life.id));
                return self.world.network.isolate(NodeId(life.id));
            }
            SimRuntime::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn add(self, learner: bool, stall: Option<(u64, Duration)>) {
        let number = self.world.begin_operation(None, false, "a step adds a member".to_owned());
        let mut operator = Operator::new(&self.world, number, self.number as u64);
        let id = operator.invite(learner).await;
        self.world.boot(id).await;
        if let Some((steps, extra)) = stall {
            let wal = self.world.wal(id);
            let at = wal.steps() + steps;
            self.world.rig(id);
            wal.inject(DiskFault::Stall { at, extra });
        }
        operator.start(id).await;
        operator.ends();
    }
}
