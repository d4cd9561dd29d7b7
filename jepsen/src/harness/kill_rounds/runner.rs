//! One run under way.

use super::KillRounds;
use crate::harness::collect::{Evidence, collect};
use crate::harness::connection::Connection;
use crate::harness::error::HarnessError;
use crate::harness::findings::{Finding, judge};
use crate::harness::gate::{Gate, State};
use crate::harness::kill_report::{KillReport, acknowledged_writes, median};
use crate::harness::server::{Server, ServerSpec};
use crate::harness::watchers::{Sessions, Watcher};
use crate::harness::workload::{Client, Load};
use crate::history::{
    Answer, Event, KeyRange, KeyValue, LeaseId, Op, Outcome, Put, Range, Recorder, Response,
    Revision,
};
use crate::persisted::PersistedLog;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long an undisturbed server may take for one operation.
const PATIENCE: Duration = Duration::from_secs(10);

/// The runner records under this client number.
const RUNNER: u32 = 1_000;

/// What a run has done and found so far.
pub(super) struct Runner<'a> {
    plan: &'a KillRounds,
    pub(super) spec: ServerSpec,
    random: StdRng,
    recorder: Recorder,
    sessions: Sessions,
    gate: Gate,
    tasks: JoinSet<()>,
    told: Vec<watch::Receiver<Revision>>,
    log: PersistedLog,
    /// What the server told of its history; what it was allowed to forget stays for good.
    collected: Vec<Event>,
    final_keys: Vec<KeyValue>,
    epoch: u32,
    starts: Vec<Duration>,
    killed_starting: u32,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(plan: &'a KillRounds) -> Result<Self, HarnessError> {
        let mut spec = ServerSpec::new(&plan.binary, &plan.folder)?;
        spec.extra_args.clone_from(&plan.extra_args);
        let (recorder, sessions, gate) = (Recorder::default(), Sessions::default(), Gate::new());
        let mut tasks = JoinSet::new();
        let load = Load { keys: plan.keys, pause: plan.pause, leases: plan.leases };
        for id in 0..plan.clients {
            let client = Client::new(id, load, plan.seed, recorder.clone());
            tasks.spawn(client.run(spec.endpoint(), gate.entrance()));
        }
        let mut told = Vec::new();
        for number in 0..plan.watchers {
            let watcher = Watcher::new(number, plan.seed, recorder.clone(), sessions.clone());
            told.push(watcher.told());
            tasks.spawn(watcher.run(spec.endpoint(), gate.entrance()));
        }
        Ok(Self {
            plan,
            spec,
            random: StdRng::seed_from_u64(plan.seed),
            recorder,
            sessions,
            gate,
            tasks,
            told,
            log: PersistedLog::default(),
            collected: Vec::new(),
            final_keys: Vec::new(),
            epoch: 0,
            starts: Vec::new(),
            killed_starting: 0,
            findings: Vec::new(),
        })
    }

    pub(super) async fn round(&mut self, round: u32) -> Result<(), HarnessError> {
        let every = |every: u32| every > 0 && round % every == every - 1;
        // The very first start makes the data directory; a torn first start is a case of its own.
        if round > 0 && self.random.random_ratio(1, 8) {
            return self.kill_while_starting().await;
        }
        let (mut server, connection) = self.start().await?;
        let (shortest, longest) = self.plan.uptime;
        let mut uptime = self.random.random_range(shortest..=longest);
        if every(self.plan.long_round_every) {
            uptime += Duration::from_secs(4);
        }
        sleep(uptime).await;
        if every(self.plan.compact_every) {
            self.compact(connection).await?;
        }
        if let Some(status) = server.exited()? {
            return Err(server.exit_error(status));
        }
        server.kill().await?;
        self.gate.set(State::Down);
        Ok(())
    }

    async fn kill_while_starting(&mut self) -> Result<(), HarnessError> {
        let typical = median(&self.starts).max(Duration::from_millis(20));
        let mut server = self.spec.start()?;
        let moment = self.random.random_range(Duration::ZERO..=typical);
        sleep(moment).await;
        if let Some(status) = server.exited()? {
            return Err(server.exit_error(status));
        }
        self.killed_starting += 1;
        server.kill().await
    }

    async fn start(&mut self) -> Result<(Server, Connection), HarnessError> {
        let began = Instant::now();
        let mut server = self.spec.start()?;
        let connection = server.until_ready().await?;
        self.starts.push(began.elapsed());
        self.epoch += 1;
        self.gate.set(State::Up(self.epoch));
        Ok((server, connection))
    }

    /// Saves the history so far, then lets the server forget a part of it.
    async fn compact(&mut self, mut connection: Connection) -> Result<(), HarnessError> {
        let until = self.write_marker(&mut connection).await?;
        self.collect(&connection, until).await?;
        let mut lowest = self.log.compacted().next().max(Revision(2));
        if self.random.random_bool(0.5) {
            // So close to the newest revision that watchers and readers of the past are hit.
            lowest = lowest.max(Revision(until.0 - 5));
        }
        let revision = Revision(self.random.random_range(lowest.0..=until.0));
        let refused = HarnessError::refused(format!("compact at {revision}"));
        // From here on the server may forget, whether or not its answer arrives.
        self.log.compacted_at(revision);
        connection.compact(revision).await.map_err(refused)
    }

    /// Replaces everything the server can still tell by what it tells now.
    async fn collect(
        &mut self,
        connection: &Connection,
        until: Revision,
    ) -> Result<(), HarnessError> {
        let from = self.log.compacted().next().max(Revision(2));
        self.collected.retain(|event| event.revision() < from);
        let told = collect(connection, from, until, &self.recorder, &self.sessions).await?;
        self.collected.extend(told);
        Ok(())
    }

    /// A write of the runner, so that the newest revision is known to have an event.
    async fn write_marker(&self, connection: &mut Connection) -> Result<Revision, HarnessError> {
        let value = format!("marker{}", self.recorder.len()).into();
        let put = Put { key: "marker".into(), value, lease: LeaseId::NONE, prev_kv: true };
        self.call(connection, Op::Put(put)).await.map(|response| response.revision)
    }

    /// An operation that has to succeed.
    async fn call(&self, connection: &mut Connection, op: Op) -> Result<Response, HarnessError> {
        let id = self.recorder.begin(RUNNER, op.clone());
        let outcome = connection.call(&op, PATIENCE).await;
        self.recorder.finish(id, outcome.clone());
        match outcome {
            Outcome::Ok(response) => Ok(response),
            Outcome::Fail(why) | Outcome::Unknown(why) => {
                Err(HarnessError::refused(format!("{op:?}"))(tonic::Status::unknown(why)))
            }
        }
    }

    /// Starts once more, lets watchers finish, and asks for everything.
    pub(super) async fn finish(&mut self) -> Result<(), HarnessError> {
        let (server, mut connection) = self.start().await?;
        sleep(self.plan.uptime.1).await;
        let until = self.write_marker(&mut connection).await?;
        for (number, told) in self.told.iter_mut().enumerate() {
            let caught_up = told.wait_for(|told| *told >= until);
            if timeout(PATIENCE, caught_up).await.is_err() {
                let what = format!("watcher {number} was not told of revision {until} in time");
                self.findings.push(Finding::Server(what));
            }
        }
        self.gate.set(State::Over);
        while self.tasks.join_next().await.is_some() {}

        let newest = self.write_marker(&mut connection).await?;
        let lowest = self.log.compacted().max(Revision(1));
        for _ in 0..100 {
            let at = Revision(self.random.random_range(lowest.0..=newest.0));
            self.call(&mut connection, Op::Range(everything_at(at))).await?;
        }
        // Leases may go on expiring, so the log is taken up to a write after all that is judged,
        // and the last read is no part of the history.
        let until = self.write_marker(&mut connection).await?;
        self.collect(&connection, until).await?;
        match connection.call(&Op::Range(everything_at(until)), PATIENCE).await {
            Outcome::Ok(Response { answer: Answer::Range { kvs, .. }, .. }) => {
                self.final_keys = kvs;
            }
            other @ (Outcome::Ok(_) | Outcome::Fail(_) | Outcome::Unknown(_)) => {
                self.findings.push(Finding::Server(format!("read of everything: {other:?}")));
            }
        }
        server.terminate().await.map(drop)
    }

    pub(super) fn report(mut self) -> Result<KillReport, HarnessError> {
        self.tasks.abort_all();
        for event in std::mem::take(&mut self.collected) {
            self.log.push(event);
        }
        let evidence = Evidence {
            history: self.recorder.history(),
            watches: self.sessions.all(),
            log: self.log,
            final_keys: self.final_keys,
        };
        let io = HarnessError::io(format!("write evidence to {}", self.plan.folder.display()));
        evidence.write(&self.plan.folder).map_err(io)?;
        // Without the server's history, found out of order above, there is nothing to hold
        // clients' words against.
        let mut findings = self.findings;
        if !evidence.final_keys.is_empty() {
            findings.extend(judge(&evidence));
            findings.extend(vacuous(self.plan, &evidence));
        } else if findings.is_empty() {
            findings.push(Finding::Server("holds no key at the end".into()));
        }
        Ok(KillReport::new(
            findings,
            (self.plan.rounds, self.killed_starting),
            &evidence,
            &self.starts,
        ))
    }
}

fn everything_at(revision: Revision) -> Range {
    Range { range: KeyRange::all(), revision: Some(revision), serializable: false }
}

/// A run in which hardly anything was acknowledged or watched proves nothing.
fn vacuous(plan: &KillRounds, evidence: &Evidence) -> Option<Finding> {
    let writes = acknowledged_writes(evidence);
    let events: usize = evidence.watches.iter().map(|session| session.events().count()).sum();
    let least = plan.rounds as usize * 5;
    (writes < least || (plan.watchers > 0 && events < least)).then(|| {
        Finding::Vacuous(format!("{writes} acknowledged writes and {events} events; {least} due"))
    })
}
