//! One world from its seed to the verdict.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use super::clients;
use super::coverage::{Coverage, Reached};
use super::process::world_time;
use super::scenario::{self, Scenario, Step};
use super::shape::Shape;
use super::world::{Death, World};
use super::{finale, nemesis, watchers};
use crate::harness::{Evidence, judge};

/// What came of a world.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Everything that must not be; empty is a pass.
    pub violations: Vec<String>,
    /// What it came across.
    pub coverage: Coverage,
    /// The event log.
    pub events: Vec<String>,
    /// Over everything that was noticed: equal in every run of the seed.
    pub hash: u64,
    /// Operations that clients began.
    pub operations: usize,
    /// Virtual time it took.
    pub took: Duration,
}

impl Report {
    /// The command that runs this world again, and shows it.
    pub fn replay(&self) -> String {
        format!("cargo run --release -p vetch-jepsen --bin sim -- --seed {} --trace", self.seed)
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the world of `shape`.
pub fn run(shape: &Shape) -> Report {
    simulate(shape, None)
}

/// Runs the world of `scenario`, whose seed decides nothing but what no step says: delays, timeouts.
pub fn play(scenario: &Scenario) -> Report {
    simulate(&scenario.shape, Some(&scenario.steps))
}

fn simulate(shape: &Shape, steps: Option<&[(u64, Step)]>) -> Report {
    let mut runtime = SimRuntime::with_seed(shape.seed);
    let (mut report, lives) = runtime.block_on(async {
        let world = World::new(shape.clone());
        (live(&world, steps).await, world.remains())
    });
    drop(runtime);
    // Thousands of worlds run in one process, one after another: none may leave anything.
    let left = lives.into_iter().filter(|life| !life.are_gone());
    report.violations.extend(left.map(|life| format!("held after the end of the world: {life:?}")));
    report
}

async fn live(world: &Arc<World>, steps: Option<&[(u64, Step)]>) -> Report {
    world.trace.note(format_args!("{:?}", world.shape));
    let look = SimRuntime::spawn(look(Arc::clone(world)));
    join_all(world.ids().into_iter().map(|id| {
        let world = Arc::clone(world);
        async move { world.boot(id).await }
    }))
    .await;
    world.ids().into_iter().for_each(|id| watchers::begin(world, id));
    if let Some(steps) = steps {
        scenario::play(world, steps).await;
        world.end();
    } else {
        let clients = SimRuntime::spawn(join_all(client_tasks(world)));
        nemesis::run(Arc::clone(world)).await;
        world.end();
        drop(clients.await);
    }
    let ended = finale::run(world).await;
    let final_keys = match ended {
        Ok(keys) => Some(keys),
        Err(stuck) => {
            world.oracle.violated(stuck.to_string());
            None
        }
    };
    world.look_for_panics();
    drop(look);
    let report = verdict(world, final_keys);
    for id in world.machines() {
        world.die(id, Death::Kill);
    }
    report
}

fn client_tasks(world: &Arc<World>) -> Vec<Task> {
    let shape = &world.shape;
    let mut tasks: Vec<Task> = Vec::new();
    for id in 0..shape.clients {
        tasks.push(Box::pin(clients::mixed(Arc::clone(world), id)));
    }
    for id in 0..shape.controllers {
        tasks.push(Box::pin(clients::controller(Arc::clone(world), 100 + id)));
    }
    for id in 0..shape.holders {
        tasks.push(Box::pin(clients::holder(Arc::clone(world), 200 + id)));
    }
    tasks.push(Box::pin(clients::compactor(Arc::clone(world), 300)));
    tasks
}

/// Looks at all members, again and again.
async fn look(world: Arc<World>) {
    let mut leading = std::collections::BTreeMap::new();
    loop {
        for life in world.machines().into_iter().filter_map(|id| world.up(id)) {
            if life.process.is_paused() {
                continue;
            }
            let status = life.status();
            if world.is_wiped(life.id) && (status.is_leader || status.applied.0 > 0) {
                let lost = format!("m{} has lost its disks, and takes part: {status:?}", life.id);
                world.oracle.violated(lost);
            }
            if status.is_leader && status.is_learner {
                world.oracle.violated(format!("m{} leads, a learner", life.id));
            }
            if status.is_leader {
                world.leads(life.id, status.term);
                if leading.insert(status.term, life.id).is_none() {
                    world.coverage.reach(Reached::Election);
                    world.trace.note(format_args!("m{} leads in term {}", life.id, status.term));
                }
            }
            if status.applied > status.committed {
                world.oracle.violated(format!("m{} applies what is not committed", life.id));
            }
        }
        SimRuntime::sleep(Duration::from_millis(20)).await;
    }
}

fn verdict(world: &Arc<World>, final_keys: Option<Vec<crate::history::KeyValue>>) -> Report {
    let mut log = world.oracle.history();
    log.compacted_at(world.compacted());
    let history = world.recorder.history();
    let operations = history.len();
    let watches = world.sessions.all();
    if let Some(final_keys) = final_keys {
        let evidence = Evidence { history, watches, log, final_keys };
        for finding in judge(&evidence) {
            world.oracle.violated(finding.to_string());
        }
    }
    Report {
        seed: world.shape.seed,
        violations: world.oracle.violations(),
        coverage: world.coverage.clone(),
        events: world.trace.lines(),
        hash: world.trace.hash(),
        operations,
        took: world_time(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::coverage::Fault;
    use crate::sim::process::Remains;

    /// Runs a world; how many lives it had, and who of them is not let go of when it is over.
    fn left_of(shape: Shape) -> (usize, Vec<Remains>) {
        let mut runtime = SimRuntime::with_seed(shape.seed);
        let (world, lives) = runtime.block_on(async {
            let world = World::new(shape);
            live(&world, None).await;
            (Arc::downgrade(&world), world.remains())
        });
        drop(runtime);
        assert!(world.upgrade().is_none(), "something holds the world");
        let left = lives.iter().filter(|life| !life.are_gone()).cloned().collect();
        (lives.len(), left)
    }

    #[test]
    fn a_finished_world_is_freed() {
        let calm = Shape { members: 3, ..Shape::of(2) }.with_faults([]);
        let (lives, left) = left_of(calm.clone());
        assert_eq!(lives, 3);
        assert!(left.is_empty(), "of a calm world: {left:?}");
        let deaths = [Fault::Kill, Fault::PowerCut, Fault::Restart, Fault::TornWrite, Fault::Pause];
        let (lives, left) = left_of(calm.with_faults(deaths));
        assert!(lives > 6, "{lives}");
        assert!(left.is_empty(), "of one with deaths: {left:?}");
    }
}
