//! Renewals and remaining time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use openraft_rt::Select2;
use vetch_proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use vetch_proto::vetchpb::lease_question::Subject;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{AsyncRuntime, ProposeError, ReadIndexError};
use vetch_storage::{LeaseId, LogIndex, Planted, Term};

use super::{LeaseClock, Time};
use crate::lease::group::Group;
use crate::lease::lessor::Renewal;
use crate::lease::role::Woken;
use crate::rpc::Refusal;

/// As etcd: how long KeepAlive and TimeToLive wait for what is committed to be applied.
const APPLY_WAIT: Duration = Duration::from_secs(1);

impl<G: Group> LeaseClock<G> {
    pub(in crate::lease) async fn renew(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        let group = self.group().ok_or(Refusal::NoLeader)?;
        let renewed = self.within_request_timeout(async {
            loop {
                if let Some(time) = self.renew_here(group, id).await? {
                    return Ok(time);
                }
                if let Some(time) = self.elsewhere(group, Subject::Renew(id.get())).await? {
                    return Ok(time);
                }
            }
        });
        renewed.await.map(Time::seconds)
    }

    /// What the leader says; `None` when deadlines are kept here by now.
    async fn elsewhere(&self, group: &G, subject: Subject) -> Result<Option<Time>, Refusal> {
        let (promoted, asked) = (pin!(self.until_promoted()), pin!(self.ask(group, subject)));
        match <G::Runtime as AsyncRuntime>::select2(promoted, asked).await {
            Select2::First(promoted) => promoted.map(|()| None),
            Select2::Second(answer) => answer,
        }
    }

    /// Renews a lease whose deadline this member keeps; `None` while it keeps none.
    pub(in crate::lease) async fn renew_here(
        &self,
        group: &G,
        id: LeaseId,
    ) -> Result<Option<Time>, Refusal> {
        while let Some((renewal, term)) = self.try_renew(id) {
            match renewal {
                Renewal::Renewed { ttl } => {
                    if !Planted::RenewalUnconfirmed.is_on() {
                        group.read_index().await?;
                        still_in(group, term)?;
                    }
                    self.metrics().inspect(|metrics| metrics.renewed.inc());
                    return Ok(Some(Time::Seconds(ttl)));
                }
                Renewal::ClearFirst => self.clear_checkpoint(group, id, term).await?,
                Renewal::Due | Renewal::CheckpointInFlight => {
                    if self.next_event(id, renewal).await == Some(Woken::Revoked) {
                        return Ok(Some(Time::Gone));
                    }
                }
                Renewal::Unknown => {
                    // Its grant may be committed and not applied yet.
                    self.catch_up(group).await?;
                    still_in(group, term)?;
                    if self.is_unknown_in(id, term) {
                        return Ok(Some(Time::Gone));
                    }
                }
            }
        }
        Ok(None)
    }

    fn try_renew(&self, id: LeaseId) -> Option<(Renewal, Term)> {
        let mut state = self.state.lock();
        let lessor = state.lessor()?;
        Some((lessor.renew(id, self.now()), lessor.term()))
    }

    /// Waits for what stands in a renewal's way, unless it has gone already.
    async fn next_event(&self, id: LeaseId, seen: Renewal) -> Option<Woken> {
        let woken = {
            let mut state = self.state.lock();
            let now = self.now();
            if state.lessor().map(|lessor| lessor.renew(id, now)) != Some(seen) {
                return None;
            }
            state.wait_for(id)
        };
        woken.await.ok()
    }

    async fn clear_checkpoint(&self, group: &G, id: LeaseId, term: Term) -> Result<(), Refusal> {
        let clear = LeaseCheckpoint { id: id.get(), remaining_ttl: 0 };
        let request = LeaseCheckpointRequest { checkpoints: vec![clear] };
        match group.propose_in_term(Command::LeaseCheckpoint(request), term).await {
            Ok(_) => Ok(()),
            Err(ProposeError::NoLeader) => Err(leader_changed()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_unknown_in(&self, id: LeaseId, term: Term) -> bool {
        let mut state = self.state.lock();
        let now = self.now();
        let lessor = state.lessor().filter(|lessor| lessor.term() == term);
        lessor.is_some_and(|lessor| lessor.remaining(id, now).is_none())
    }

    pub(in crate::lease) async fn remaining(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        let group = self.group().ok_or(Refusal::NoLeader)?;
        let remaining = self.within_request_timeout(async {
            loop {
                if let Some(time) = self.remaining_here(group, id).await? {
                    return Ok(time);
                }
                if let Some(time) = self.elsewhere(group, Subject::Remaining(id.get())).await? {
                    return Ok(time);
                }
            }
        });
        remaining.await.map(Time::seconds)
    }

    /// As [`renew_here`](Self::renew_here), without the renewal.
    pub(in crate::lease) async fn remaining_here(
        &self,
        group: &G,
        id: LeaseId,
    ) -> Result<Option<Time>, Refusal> {
        if self.state.lock().lessor().is_none() {
            return Ok(None);
        }
        self.catch_up(group).await?;
        let mut state = self.state.lock();
        let now = self.now();
        let lessor = state.lessor().filter(|lessor| lessor.term() == group.term());
        let lessor = lessor.ok_or_else(leader_changed)?;
        let seconds = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let left = lessor.remaining(id, now);
        Ok(Some(left.map_or(Time::Gone, |left| Time::Seconds(seconds(left)))))
    }

    /// Confirms leadership and waits until all that was committed is applied.
    async fn catch_up(&self, group: &G) -> Result<(), Refusal> {
        let index = group.read_index().await?;
        self.until_applied(group, index).await
    }

    pub(in crate::lease) async fn until_applied(
        &self,
        group: &G,
        index: LogIndex,
    ) -> Result<(), Refusal> {
        let applied = group.wait_applied(index);
        match <G::Runtime as AsyncRuntime>::timeout(APPLY_WAIT, applied).await {
            Ok(applied) => Ok(applied?),
            Err(_) => Err(Refusal::AppliedTooLate),
        }
    }

    async fn within_request_timeout<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send,
    ) -> Result<T, Refusal> {
        let limit = self.settings.request_timeout;
        match <G::Runtime as AsyncRuntime>::timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(ProposeError::TimedOut.into()),
        }
    }
}

/// etcd says "not a primary lessor", as Unknown, which clients do not retry; this they do.
fn leader_changed() -> Refusal {
    Refusal::ReadIndex(ReadIndexError::LeaderChanged)
}

/// Leadership was confirmed in this very term. Otherwise the client tries again: the driver, which
/// has to hear of the change first, may be waiting for this task.
fn still_in<G: Group>(group: &G, term: Term) -> Result<(), Refusal> {
    if group.term() == term { Ok(()) } else { Err(leader_changed()) }
}
