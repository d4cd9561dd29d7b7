//! A group of one: a real state machine on the memory engine, a log that takes a while, leadership
//! that comes and goes, and proposals that fail when a test says so.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use openraft_rt::{Watch, WatchReceiver, WatchSender};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, PutRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::replica::NoAnswer;
use vetch_raft::{AsyncRuntime, LeaderChange, ProposeError, ReadIndexError};
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::lease::LeaseTable;
use vetch_storage::machine::Options;
use vetch_storage::{Applied, Entry, LeaseId, LogId, LogIndex, StateMachine, Term};

use crate::lease::clock::LeaseClock;
use crate::lease::group::Group;
use crate::lease::leases::LeaseSettings;
use crate::metrics::LeaseMetrics;
use crate::rpc::Refusal;

type Latest<T> = <<SimRuntime as AsyncRuntime>::Watch as Watch>::Sender<T>;
type LatestReader<T> = <<SimRuntime as AsyncRuntime>::Watch as Watch>::Receiver<T>;
type Clock = LeaseClock<Site>;

pub(super) const SETTINGS: LeaseSettings = LeaseSettings {
    min_ttl: 2,
    extension: Duration::from_secs(1),
    request_timeout: Duration::from_secs(7),
    checkpoint_interval: Some(LeaseSettings::CHECKPOINT_INTERVAL),
};

/// How a proposal fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It never enters the log.
    Refused,
    /// It is answered with a timeout, and applied so much later.
    Late(Duration),
}

#[derive(Clone)]
pub(super) struct Site(Arc<Inner>);

pub(super) struct Inner {
    machine: Mutex<StateMachine<MemEngine>>,
    clock: OnceLock<Arc<Clock>>,
    leadership: Mutex<Latest<LeaderChange>>,
    term: AtomicU64,
    /// How long an entry takes to be committed.
    pub(super) log_delay: Mutex<Duration>,
    /// What happens to the next proposals of the driver and of renewals.
    pub(super) faults: Mutex<VecDeque<Fault>>,
    /// What the driver and renewals proposed.
    pub(super) proposed: Mutex<Vec<Command>>,
    /// The replica stops, and says so to whoever asks the leader.
    pub(super) stops: AtomicBool,
    /// Runs once, right after the table was read.
    pub(super) after_reading: Mutex<Option<Interruption>>,
}

/// What happens in between.
type Interruption = Box<dyn FnOnce(&Site) + Send>;

impl std::ops::Deref for Site {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Runs a test on virtual time, with a member that leads in term 1.
pub(super) fn run<F: Future<Output = ()>>(test: impl FnOnce(Site, Arc<Clock>) -> F) {
    SimRuntime::with_seed(1).block_on(async {
        let site = Site::new();
        let clock = Arc::new(Clock::new(SETTINGS, 1));
        assert!(site.clock.set(Arc::clone(&clock)).is_ok());
        let stop = CancellationToken::new();
        let driver =
            SimRuntime::spawn(clock.start(site.clone(), LeaseMetrics::default(), stop.clone()));
        site.lead(1);
        sleep(Duration::from_millis(1)).await;
        test(site, clock).await;
        stop.cancel();
        driver.await.unwrap();
    });
}

pub(super) async fn sleep(duration: Duration) {
    SimRuntime::sleep(duration).await;
}

pub(super) async fn sleep_secs(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

impl Site {
    fn new() -> Self {
        let engine = Arc::new(MemEngine::new());
        let machine = StateMachine::open(engine, Options::default()).unwrap();
        let (leadership, _) = <SimRuntime as AsyncRuntime>::Watch::channel(LeaderChange::Lost);
        Self(Arc::new(Inner {
            machine: Mutex::new(machine),
            clock: OnceLock::new(),
            leadership: Mutex::new(leadership),
            term: AtomicU64::new(0),
            log_delay: Mutex::new(Duration::from_millis(1)),
            faults: Mutex::default(),
            proposed: Mutex::default(),
            stops: AtomicBool::new(false),
            after_reading: Mutex::default(),
        }))
    }

    /// This member leads from now on, in `term`.
    pub(super) fn lead(&self, term: u64) {
        self.another_term(term);
        self.leadership.lock().send_if_different(LeaderChange::Gained(Term(term)));
    }

    /// This member leads no more.
    pub(super) fn lose(&self) {
        self.leadership.lock().send_if_different(LeaderChange::Lost);
    }

    /// The term goes on, and the driver has not heard of it.
    pub(super) fn another_term(&self, term: u64) {
        self.term.store(term, Ordering::Relaxed);
    }

    /// Applies an entry now, and tells the clock.
    pub(super) fn apply(&self, command: Command) -> Arc<Applied> {
        let applied = {
            let mut machine = self.machine.lock();
            let index = machine.applied().index.next();
            let id = LogId { term: Group::term(self), index };
            let proposal = Proposal { command: Some(command), ..Proposal::default() };
            let applied = machine.apply(id, Entry::Proposal(&proposal)).unwrap();
            machine.commit().unwrap();
            Arc::new(applied)
        };
        self.clock.get().unwrap().on_applied(&[Arc::clone(&applied)]);
        applied
    }

    pub(super) fn grant(&self, id: i64, ttl: i64) {
        let request = LeaseGrantRequest { id, ttl };
        assert!(self.apply(Command::LeaseGrant(request)).response.is_ok());
    }

    pub(super) fn revoke(&self, id: i64) {
        let request = LeaseRevokeRequest { id };
        assert!(self.apply(Command::LeaseRevoke(request)).response.is_ok());
    }

    pub(super) fn put(&self, key: String, lease: i64) {
        let request = PutRequest { key: key.into(), lease, ..PutRequest::default() };
        assert!(self.apply(Command::Put(request)).response.is_ok());
    }

    /// Whether the replicated table has the lease.
    pub(super) fn has(&self, id: i64) -> bool {
        self.table().get(LeaseId(id)).is_some()
    }

    pub(super) fn table(&self) -> LeaseTable {
        self.machine.lock().view().leases().clone()
    }

    pub(super) fn keys(&self) -> u64 {
        self.machine.lock().view().index().live_len() as u64
    }

    pub(super) fn proposals(&self) -> Vec<Command> {
        self.proposed.lock().clone()
    }

    async fn log(&self, command: Command, term: Term) -> Result<Arc<Applied>, ProposeError> {
        let delay = *self.log_delay.lock();
        sleep(delay).await;
        if Group::term(self) != term {
            return Err(ProposeError::NoLeader);
        }
        Ok(self.apply(command))
    }
}

impl Group for Site {
    type Runtime = SimRuntime;
    type News = (bool, LatestReader<LeaderChange>);

    async fn propose_in_term(
        &self,
        command: Command,
        term: Term,
    ) -> Result<Arc<Applied>, ProposeError> {
        self.proposed.lock().push(command.clone());
        let fault = self.faults.lock().pop_front();
        match fault {
            None => self.log(command, term).await,
            Some(Fault::Refused) => Err(ProposeError::TooManyRequests),
            Some(Fault::Late(by)) => {
                let site = self.clone();
                drop(SimRuntime::spawn(async move {
                    sleep(SETTINGS.request_timeout + by).await;
                    site.log(command, term).await
                }));
                sleep(SETTINGS.request_timeout).await;
                Err(ProposeError::TimedOut)
            }
        }
    }

    async fn read_index(&self) -> Result<LogIndex, ReadIndexError> {
        Ok(self.machine.lock().applied().index)
    }

    async fn ask_leader(&self, _: Bytes, _: Duration) -> Result<Bytes, NoAnswer> {
        if self.stops.load(Ordering::Relaxed) {
            return Err(NoAnswer::Stopped);
        }
        std::future::pending().await
    }

    async fn wait_applied(&self, _: LogIndex) -> Result<(), ReadIndexError> {
        Ok(())
    }

    fn term(&self) -> Term {
        Term(self.0.term.load(Ordering::Relaxed))
    }

    fn leases(&self) -> (LogIndex, LeaseTable) {
        let read = {
            let view = self.machine.lock().view();
            (view.applied().index, view.leases().clone())
        };
        if let Some(then) = self.after_reading.lock().take() {
            then(self);
        }
        read
    }

    fn news(&self) -> Self::News {
        (true, self.leadership.lock().subscribe())
    }

    async fn next_news((first, news): &mut Self::News) -> Option<LeaderChange> {
        if !std::mem::take(first) {
            news.changed().await.ok()?;
        }
        Some(*news.borrow_and_update())
    }
}

/// The answer's code and text, for what was refused.
pub(super) fn text<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> (tonic::Code, &'static str) {
    answer.unwrap_err().code_and_text()
}
