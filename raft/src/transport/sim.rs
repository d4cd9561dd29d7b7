//! A simulated network, on virtual time, whose every chance comes from one seed.
//!
//! What a message meets is drawn when it is sent: its delay, whether it is lost, whether it comes
//! twice; a cut is looked at when it would arrive. Calls overtake each other. Appends keep their order,
//! as on a connection: a lost one ends the stream, and in a cut the stream goes silent until pings end it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use openraft_rt::{AsyncRuntime, Instant, Select2};
use openraft_rt_sim::{SimInstant, SimRuntime};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest, SnapshotRequest};
use vetch_storage::NodeId;

use super::{Addresses, Channel, Link, LinkError, PeerService, Transport};

/// Messages of one direction of a stream that may be under way at once.
const WINDOW: usize = 64;

/// How long a connection may be silent until it is found dead, as by pings.
const PING: Duration = Duration::from_secs(3);

/// What messages meet.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest and longest time under way.
    pub delay: (Duration, Duration),
    /// Messages lost of a thousand.
    pub lost: u32,
    /// Calls that are idempotent and arrive twice, of a thousand.
    pub doubled: u32,
}

impl Default for Weather {
    /// A calm local network.
    fn default() -> Self {
        Self { delay: (Duration::from_micros(50), Duration::from_micros(200)), lost: 0, doubled: 0 }
    }
}

/// The network between simulated members. Clones are the same network.
#[derive(Clone)]
pub struct SimNetwork {
    world: Arc<Mutex<World>>,
}

struct World {
    chance: SmallRng,
    weather: Weather,
    /// Directions in which nothing arrives.
    cuts: BTreeSet<(NodeId, NodeId)>,
    members: BTreeMap<NodeId, Arc<Member>>,
    dials: u64,
    damaged_chunks: u32,
}

struct Member {
    service: Arc<dyn PeerService>,
    machine: Arc<AtomicBool>,
}

/// An item of a stream, or its end, and what it meets.
type UnderWay<T> = (Fate, Option<T>);

/// What one message will meet.
struct Fate {
    arrives: SimInstant,
    lost: bool,
    doubled: bool,
}

impl SimNetwork {
    /// A network without members.
    pub fn new(seed: u64) -> Self {
        let world = World {
            chance: SmallRng::seed_from_u64(seed),
            weather: Weather::default(),
            cuts: BTreeSet::new(),
            members: BTreeMap::new(),
            dials: 0,
            damaged_chunks: 0,
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Sets what messages sent from now on meet.
    pub fn set_weather(&self, weather: Weather) {
        self.world.lock().weather = weather;
    }

    /// Of a thousand chunks of a snapshot so many arrive with a bit that is not as it was sent.
    pub fn damage_chunks(&self, of_a_thousand: u32) {
        self.world.lock().damaged_chunks = of_a_thousand;
    }

    fn maybe_damage(&self, request: &mut PeerRequest) {
        let Some(Request::Snapshot(SnapshotRequest { contents, .. })) = &mut request.request else {
            return;
        };
        let mut guard = self.world.lock();
        let world = &mut *guard;
        if contents.is_empty() || world.damaged_chunks == 0 {
            return;
        }
        if world.chance.random_range(0..1000) < world.damaged_chunks {
            let mut bytes = contents.to_vec();
            let at = world.chance.random_range(0..bytes.len());
            bytes[at] ^= 1 << world.chance.random_range(0..8);
            *contents = bytes.into();
        }
    }

    /// Lets nothing from `from` arrive at `to`.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.world.lock().cuts.insert((from, to));
    }

    /// Cuts every way between `one` and the others that are here now, both directions.
    pub fn isolate(&self, one: NodeId) {
        let mut world = self.world.lock();
        let others: Vec<NodeId> = world.members.keys().copied().filter(|id| *id != one).collect();
        world.cuts.extend(others.iter().flat_map(|other| [(one, *other), (*other, one)]));
    }

    /// Ends every cut.
    pub fn heal(&self) {
        self.world.lock().cuts.clear();
    }

    /// Attempts to reach a member so far, whatever became of them.
    pub fn dials(&self) -> u64 {
        self.world.lock().dials
    }

    fn fate(&self) -> Fate {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        let Weather { delay: (least, most), lost, doubled } = world.weather;
        let delay = world.chance.random_range(least.as_nanos()..=most.as_nanos());
        let delay = Duration::from_nanos(u64::try_from(delay).unwrap_or(u64::MAX));
        Fate {
            arrives: SimInstant::now() + delay,
            lost: world.chance.random_range(0..1000) < lost,
            doubled: world.chance.random_range(0..1000) < doubled,
        }
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.world.lock().cuts.contains(&(from, to))
    }

    fn member(&self, id: NodeId) -> Option<Arc<Member>> {
        let member = self.world.lock().members.get(&id).cloned()?;
        member.machine.load(Ordering::Acquire).then_some(member)
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world.lock();
        f.debug_struct("SimNetwork")
            .field("members", &world.members.keys())
            .field("cuts", &world.cuts)
            .finish_non_exhaustive()
    }
}

/// One machine's end of the network; silent once the machine is dead.
#[derive(Clone, Debug)]
pub struct SimTransport {
    network: SimNetwork,
    machine: Arc<AtomicBool>,
}

impl SimTransport {
    pub(crate) fn new(network: SimNetwork) -> Self {
        Self { network, machine: Arc::new(AtomicBool::new(true)) }
    }

    pub(crate) fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// The machine has no effect on others any more.
    pub(crate) fn die(&self) {
        self.machine.store(false, Ordering::Release);
        // Nobody hears it again, and what it holds leads back to this network: it would keep both.
        let ours = |member: &Arc<Member>| Arc::ptr_eq(&member.machine, &self.machine);
        let gone: Vec<Arc<Member>> = {
            let members = &mut self.network.world.lock().members;
            members.extract_if(.., |_, member| ours(member)).map(|(_, member)| member).collect()
        };
        drop(gone);
    }
}

/// Takes the member off the network when dropped.
#[derive(Debug)]
pub struct SimServing {
    network: SimNetwork,
    me: NodeId,
    machine: Arc<AtomicBool>,
}

impl Drop for SimServing {
    fn drop(&mut self) {
        let mut world = self.network.world.lock();
        let ours = |member: &Arc<Member>| Arc::ptr_eq(&member.machine, &self.machine);
        let gone = if world.members.get(&self.me).is_some_and(ours) {
            world.members.remove(&self.me)
        } else {
            None
        };
        // The last hold on a member may be this one, and its end comes back here.
        drop(world);
        drop(gone);
    }
}

impl Transport for SimTransport {
    type Link = SimLink;
    type Serving = SimServing;

    fn link(&self, target: NodeId, _: Channel, _: &Addresses) -> SimLink {
        SimLink { network: self.network.clone(), machine: Arc::clone(&self.machine), target }
    }

    fn serve(&self, me: NodeId, service: Arc<dyn PeerService>) -> SimServing {
        let machine = Arc::clone(&self.machine);
        let member = Arc::new(Member { service, machine: Arc::clone(&machine) });
        let before = self.network.world.lock().members.insert(me, member);
        drop(before);
        SimServing { network: self.network.clone(), me, machine }
    }
}

/// A way to one simulated member.
#[derive(Clone, Debug)]
pub struct SimLink {
    network: SimNetwork,
    machine: Arc<AtomicBool>,
    target: NodeId,
}

impl SimLink {
    /// The other end after one way there, if it can be reached and hears it.
    async fn arrive(&self, from: NodeId, fate: &Fate) -> Result<Arc<Member>, LinkError> {
        SimRuntime::sleep_until(fate.arrives).await;
        self.pass(from, self.target, fate).await;
        let down = || LinkError::Unreachable(format!("member {:x} is down", self.target.0));
        self.network.member(self.target).ok_or_else(down)
    }

    /// Pending for ever when the message of `fate` is lost between `from` and `to`.
    async fn pass(&self, from: NodeId, to: NodeId, fate: &Fate) {
        let alive = self.machine.load(Ordering::Acquire);
        if fate.lost || !alive || self.network.is_cut(from, to) {
            std::future::pending::<()>().await;
        }
    }

    async fn exchange(
        self,
        from: NodeId,
        mut request: PeerRequest,
    ) -> Result<PeerReply, LinkError> {
        let there = self.network.fate();
        self.network.maybe_damage(&mut request);
        let member = self.arrive(from, &there).await?;
        if there.doubled && is_idempotent(&request) {
            let again = member.service.call(request.clone());
            drop(SimRuntime::spawn(again));
        }
        let reply = member.service.call(request).await;
        let back = self.network.fate();
        SimRuntime::sleep_until(back.arrives).await;
        if !member.machine.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        self.pass(self.target, from, &back).await;
        Ok(reply)
    }

    /// Carries `items` from `from` to `to`, in order, until one is lost, or until pings find out
    /// that the sending machine has died or its way is cut.
    fn carry<T: Send + 'static>(
        &self,
        mut items: BoxStream<'static, T>,
        (from, to): (NodeId, NodeId),
        sender: Arc<AtomicBool>,
    ) -> BoxStream<'static, Result<T, LinkError>> {
        let (under_way, arriving) = mpsc::channel::<UnderWay<T>>(WINDOW);
        let (network, link) = (self.network.clone(), self.clone());
        drop(SimRuntime::spawn(async move {
            loop {
                // A connection that was let go of draws nothing more: what it drew would be missing on
                // the next one.
                let drawn = SimRuntime::select2(Box::pin(under_way.closed()), items.next()).await;
                let Select2::Second(item) = drawn else { return };
                let ended = item.is_none();
                if under_way.send((network.fate(), item)).await.is_err() || ended {
                    return;
                }
            }
        }));
        let next = move |state: Option<(mpsc::Receiver<UnderWay<T>>, Self)>| {
            let sender = Arc::clone(&sender);
            async move {
                let (mut arriving, link) = state?;
                let is_silent = || !sender.load(Ordering::Acquire) || link.network.is_cut(from, to);
                let (fate, item) = loop {
                    match SimRuntime::timeout(PING, arriving.recv()).await {
                        Ok(received) => break received?,
                        Err(_) if is_silent() => return Some((Err(unanswered()), None)),
                        Err(_) => {}
                    }
                };
                SimRuntime::sleep_until(fate.arrives).await;
                if is_silent() {
                    SimRuntime::sleep(PING).await;
                    return Some((Err(unanswered()), None));
                }
                if fate.lost {
                    return Some((Err(LinkError::Lost("reset".to_owned())), None));
                }
                let item = item?;
                Some((Ok(item), Some((arriving, link))))
            }
        };
        stream::unfold(Some((arriving, link)), next).boxed()
    }
}

fn unanswered() -> LinkError {
    LinkError::Lost("pings are not answered".to_owned())
}

/// Whether hearing it twice does what hearing it once does.
fn is_idempotent(request: &PeerRequest) -> bool {
    match request.request {
        Some(
            Request::Heartbeat(_)
            | Request::Vote(_)
            | Request::PreVote(_)
            | Request::ReadIndex(_)
            | Request::Snapshot(_)
            | Request::Members(_)
            | Request::Ask(_)
            | Request::Compare(_)
            | Request::Hash(_),
        ) => true,
        Some(Request::Transfer(_) | Request::Propose(_) | Request::ChangeMember(_)) | None => false,
    }
}

impl Link for SimLink {
    fn call(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, LinkError>> {
        self.network.world.lock().dials += 1;
        let from = NodeId(request.hello.map_or(0, |hello| hello.from));
        let exchange = self.clone().exchange(from, request);
        async move {
            match SimRuntime::timeout(within, Box::pin(exchange)).await {
                Ok(answer) => answer,
                Err(_) => Err(LinkError::Lost(format!("no answer within {within:?}"))),
            }
        }
        .boxed()
    }

    fn append(
        &self,
        mut requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<AppendReply, LinkError>> {
        self.network.world.lock().dials += 1;
        let link = self.clone();
        let dialled = async move {
            // Dialled before a request is drawn, as a connection is.
            let there = link.network.fate();
            SimRuntime::sleep_until(there.arrives).await;
            let Some(member) = link.network.member(link.target) else {
                let down = LinkError::Unreachable(format!("member {:x} is down", link.target.0));
                return stream::once(async { Err(down) }).boxed();
            };
            let Some(first) = requests.next().await else { return stream::empty().boxed() };
            let from = NodeId(first.hello.map_or(0, |hello| hello.from));
            let ways = ((from, link.target), (link.target, from));
            let requests = stream::once(async { first }).chain(requests).boxed();
            let heard = link.carry(requests, ways.0, Arc::clone(&link.machine));
            let heard = heard.take_while(|heard| futures::future::ready(heard.is_ok()));
            let heard = heard.filter_map(|heard| futures::future::ready(heard.ok())).boxed();
            let answers = member.service.append(heard);
            link.carry(answers, ways.1, Arc::clone(&member.machine))
        };
        stream::once(dialled).flatten().boxed()
    }
}
