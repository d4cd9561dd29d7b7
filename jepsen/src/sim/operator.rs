//! Operators: change who is in the group, each one thing at a time, while faults go on.
//!
//! Each knows what one knows from outside: which machines there are, what members answer, and what a
//! confirmed view of the member table shows. What he is not told for certain he asks for again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use vetch_raft::{MemberChange, MemberRules};
use vetch_storage::NodeId;
use vetch_storage::member::Members;

use super::calls::PATIENCE;
use super::coverage::Reached;
use super::life::{Life, record};
use super::watchers;
use super::world::{Death, World};

/// Steps of waiting.
const STEP: Duration = Duration::from_millis(20);
/// How long a member on empty disks is given to be told, in a network that may be cut.
const TOLD: Duration = Duration::from_secs(6);
/// A group of so many voters goes on when one of them is lost for good.
const SPARE: usize = 3;

/// What is done to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A new member, at first a learner if so.
    Grow { learner: bool },
    /// This member leaves.
    Remove(u64),
    /// This member's machine is given up, and another takes its place.
    Replace(u64),
    /// This member's disks are lost.
    ReplaceWiped(u64),
    /// This member gets another address.
    Relocate(u64),
}

impl Plan {
    /// Whether it may begin now.
    pub(super) fn is_possible(self, world: &World) -> bool {
        let members = world.ids().len();
        if !world.may_operate(self.member(), self.takes()) {
            return false;
        }
        match self {
            Self::Grow { .. } => (members as u64) < world.shape.most_members,
            Self::Remove(_) => members > 1,
            // Whoever is lost has a vote, and the others are a quorum without it.
            Self::Replace(id) | Self::ReplaceWiped(id) => world.leader().is_some_and(|leader| {
                let voters = leader.replica.voters();
                members >= SPARE && voters.len() >= SPARE && voters.contains(&NodeId(id))
            }),
            Self::Relocate(_) => true,
        }
    }

    /// Whom it is about, if that is there already.
    fn member(self) -> Option<u64> {
        match self {
            Self::Grow { .. } => None,
            Self::Remove(id) | Self::Replace(id) | Self::ReplaceWiped(id) | Self::Relocate(id) => {
                Some(id)
            }
        }
    }

    /// Whether a member is gone meanwhile: two at a time may be more than the group can spare.
    fn takes(self) -> bool {
        match self {
            Self::Grow { .. } | Self::Relocate(_) => false,
            Self::Remove(_) | Self::Replace(_) | Self::ReplaceWiped(_) => true,
        }
    }

    /// An operator begins with it.
    pub(super) fn begin(self, world: &Arc<World>, seed: u64) -> impl Future<Output = ()> + use<> {
        let number = world.begin_operation(self.member(), self.takes(), format!("{self:?}"));
        self.carry_out(Operator::new(world, number, seed))
    }

    async fn carry_out(self, mut operator: Operator) {
        match self {
            Self::Grow { learner } => operator.grow(learner).await,
            Self::Remove(id) => operator.remove(id).await,
            Self::Replace(id) => operator.replace(id).await,
            Self::ReplaceWiped(id) => operator.replace_wiped(id).await,
            Self::Relocate(id) => operator.relocate(id).await,
        }
        operator.ends();
    }
}

/// Who carries out plans, one step after the other.
pub(super) struct Operator {
    world: Arc<World>,
    number: u64,
    random: SmallRng,
}

impl Operator {
    /// The one of this number; what he draws comes from `seed`.
    pub(super) fn new(world: &Arc<World>, number: u64, seed: u64) -> Self {
        Self { world: Arc::clone(world), number, random: SmallRng::seed_from_u64(seed) }
    }

    fn begins(&self, id: u64, what: String) {
        self.world.go_on_with_operation(self.number, id, what);
    }

    /// He has done it.
    pub(super) fn ends(&self) {
        self.world.end_operation(self.number);
    }

    fn some_time(&mut self, most_ms: u64) -> Duration {
        Duration::from_millis(self.random.random_range(20..=most_ms))
    }

    /// One more member, which becomes a voter at once or after a while.
    async fn grow(&mut self, learner: bool) {
        let id = self.invite(learner).await;
        self.start(id).await;
        if learner {
            let rest = self.some_time(3_000);
            SimRuntime::sleep(rest).await;
            self.begins(id, format!("promote m{id}"));
            self.insist(MemberChange::Promote(NodeId(id))).await;
            self.world.coverage.reach(Reached::Promoted);
        }
        self.begins(id, format!("wait until m{id} votes"));
        let votes = |leader: Arc<Life>| leader.replica.voters().contains(&NodeId(id));
        self.until(|world| world.leader().is_some_and(votes)).await;
        self.world.coverage.reach(Reached::Grown);
    }

    /// The group knows a new member, whose machine is there.
    pub(super) async fn invite(&mut self, learner: bool) -> u64 {
        let id = self.world.new_id();
        let kind = if learner { "learner" } else { "voter" };
        self.begins(id, format!("add m{id} as a {kind}"));
        let peer_urls = record(id).peer_ur_ls;
        let members = self.insist(MemberChange::Add { id: NodeId(id), peer_urls, learner }).await;
        let others = members.iter().filter(|member| member.id != id).cloned().collect();
        self.world.add_machine(id, others);
        id
    }

    /// A new member runs, until it serves.
    pub(super) async fn start(&mut self, id: u64) {
        self.begins(id, format!("start m{id}"));
        self.world.boot(id).await;
        watchers::begin(&self.world, id);
        self.until(|world| world.serving(id).is_some()).await;
    }

    /// One member less. It stops by itself when it is told, which may be later.
    async fn remove(&mut self, id: u64) {
        self.begins(id, format!("remove m{id}"));
        self.world.leaves(id);
        self.insist(MemberChange::Remove(NodeId(id))).await;
        self.world.removed(id);
    }

    /// A machine is given up, and another takes its place; now and then it comes back all the same.
    async fn replace(&mut self, id: u64) {
        let death = if self.random.random() { Death::Kill } else { Death::PowerCut };
        self.world.die(id, death);
        self.remove(id).await;
        self.grow(false).await;
        if self.random.random_bool(0.5) {
            self.begins(id, format!("start m{id} again, which was removed"));
            self.world.boot(id).await;
        }
        self.world.coverage.reach(Reached::Replaced);
    }

    /// The disks of a member are lost. Started on empty ones, under the id that the others know, it
    /// must be refused; then it is replaced as any other.
    async fn replace_wiped(&mut self, id: u64) {
        self.begins(id, format!("m{id} has lost its disks"));
        // Who has never met a member can only believe what it says: the group is warned of it by those
        // who have, and none of them may be away. A founder alone would not even ask.
        let founds_alone = self.world.shape.members == 1 && id == 1;
        let comes_back = !founds_alone && self.world.is_known_to_all(id);
        self.world.die(id, Death::PowerCut);
        self.world.lose_disks(id, comes_back);
        if comes_back {
            let away = self.some_time(1_000);
            SimRuntime::sleep(away).await;
            self.world.boot(id).await;
            let told = self.until(|world| world.is_down(id));
            let _in_time = SimRuntime::timeout(TOLD, told).await;
            self.world.die(id, Death::Kill);
        }
        self.world.gives_up(id);
        self.remove(id).await;
        self.grow(false).await;
        self.world.coverage.reach(Reached::Replaced);
    }

    /// A member is reached elsewhere.
    async fn relocate(&mut self, id: u64) {
        let peer_urls = vec![format!("http://m{id}:{}", self.random.random_range(3000..4000))];
        self.begins(id, format!("m{id} moves to {peer_urls:?}"));
        self.insist(MemberChange::Update { id: NodeId(id), peer_urls }).await;
    }

    async fn until(&self, holds: impl Fn(&World) -> bool) {
        while !holds(&self.world) {
            SimRuntime::sleep(STEP).await;
        }
    }

    /// Asks for `change` until a confirmed view of the members shows it, and returns that.
    async fn insist(&mut self, change: MemberChange) -> Members {
        loop {
            let answer = match self.member() {
                Some(life) => ask(&life, change.clone()).await,
                None => None,
            };
            if let Some(answer) = &answer {
                self.world.trace.note(format_args!("operator: {change:?}: {answer:?}"));
            }
            let seen = match self.member() {
                Some(life) => members(&life).await,
                None => None,
            };
            if let Some(seen) = seen {
                if shows(&seen, &change) {
                    return seen;
                }
                if answer == Some(Ok(())) {
                    let lost = format!("{change:?} was acknowledged, and is not there: {seen:?}");
                    self.world.oracle.violated(lost);
                }
            }
            let rest = self.some_time(300);
            SimRuntime::sleep(rest).await;
        }
    }

    /// Some member that serves.
    fn member(&mut self) -> Option<Arc<Life>> {
        self.world.all_serving().choose(&mut self.random).cloned()
    }
}

/// What the member says to a change; `None` when it does not answer.
async fn ask(life: &Arc<Life>, change: MemberChange) -> Option<Result<(), String>> {
    let replica = life.replica.clone();
    let asked = life
        .process
        .enter(async move { replica.change_membership(change, MemberRules::default()).await });
    let answer = SimRuntime::timeout(PATIENCE, asked).await.ok()?.ok()?;
    Some(answer.map(drop).map_err(|error| error.to_string()))
}

/// The members, as the group's leader confirms them.
async fn members(life: &Arc<Life>) -> Option<Members> {
    let replica = life.replica.clone();
    let read = life.process.enter(async move { replica.linearizable_view().await });
    let view = SimRuntime::timeout(PATIENCE, read).await.ok()?.ok()?.ok()?;
    Some(view.members().clone())
}

fn shows(members: &Members, change: &MemberChange) -> bool {
    match change {
        MemberChange::Add { id, .. } => members.get(*id).is_some(),
        MemberChange::Promote(id) => members.get(*id).is_some_and(|member| !member.is_learner),
        MemberChange::Remove(id) => members.is_removed(*id),
        MemberChange::Update { id, peer_urls } => {
            members.get(*id).is_some_and(|member| member.peer_ur_ls == *peer_urls)
        }
    }
}
