//! What follows from a comparison.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::NodeId;
use vetch_storage::alarm::{AlarmKind, NOBODY};

use super::judge::{Dispute, Divergence, judge};
use super::{PERIOD, remedy};
use crate::platform::{InstantOf, Platform};
use crate::replica::{Inner, StopReason};

/// Members differ and too few voters are heard to say who is right: how long is waited for the others.
const PATIENCE: Duration = Duration::from_secs(5);
/// A member that does not lead leaves the alarm to the leader for this long.
const LEADERS_TURN: Duration = PERIOD.saturating_mul(2);

impl<P: Platform> Inner<P> {
    /// Draws the conclusions from what is known now.
    pub(super) async fn conclude(&self) {
        let Some(group) = self.compared_group() else { return };
        let known = {
            let mut heard = self.comparison.heard.lock();
            heard.known.retain(|member, _| group.others.contains(member));
            let mut known = heard.known.clone();
            known.insert(self.identity.member, self.comparison.recent.marks());
            known
        };
        let findings = judge(self.identity.member, &group.voters, &known);
        if let Some(own) = findings.diverged.get(&self.identity.member) {
            return self.quarantine(*own).await;
        }
        if let Some(agreed) = findings.agreed {
            self.comparison.agreed.fetch_max(agreed.index.0, Ordering::AcqRel);
        }
        for divergence in findings.diverged.values() {
            if self.accuse(divergence.member) {
                tracing::error!("{divergence}; {}", remedy::replace_it("its data directory"));
            }
            self.raise_alarm(divergence.member).await;
        }
        match findings.dispute {
            Some(dispute) => self.settle_dispute(&dispute).await,
            None => self.comparison.heard.lock().disputed_since = None,
        }
    }

    /// This member's state is wrong: it must neither serve nor lead, now or after a restart.
    async fn quarantine(&self, divergence: Divergence) {
        if self.stop.has_begun() {
            return;
        }
        let data_dir = self.engines.data_dir().to_owned();
        if self.leadership.leading().is_some() {
            // The others would raise it too, but not before they have another leader.
            self.accuse(divergence.member);
            self.raise_alarm(divergence.member).await;
        }
        if let Err(fatal) = self.engines.note_divergence(&divergence).await {
            return self.stop.raise(fatal);
        }
        self.stop.raise(StopReason::Diverged { divergence, data_dir });
    }

    /// Nobody can tell who is right. Nothing is written until somebody looks.
    async fn settle_dispute(&self, dispute: &Dispute) {
        let now = InstantOf::<P>::now();
        let since = *self.comparison.heard.lock().disputed_since.get_or_insert(now);
        if !dispute.is_final && now < since + PATIENCE {
            return;
        }
        if self.accuse(NOBODY) {
            tracing::error!(
                "members differ and no state has a quorum of the voters, so none is known to be right: \
                 {dispute}; {}",
                remedy::FIND_OUT
            );
        }
        self.raise_alarm(NOBODY).await;
    }

    /// Notes that `member` was found wrong; `true` for the first time.
    fn accuse(&self, member: NodeId) -> bool {
        let mut heard = self.comparison.heard.lock();
        let is_new = !heard.accused.contains_key(&member);
        heard.accused.entry(member).or_insert_with(InstantOf::<P>::now);
        is_new
    }

    /// Has the log say that `member` is corrupt, unless it does already.
    async fn raise_alarm(&self, member: NodeId) {
        let view = self.views.latest();
        if view.alarms().names(member, AlarmKind::Corrupt) {
            // Whoever ends the alarm is not told of it again by what a member said before that.
            self.comparison.heard.lock().known.remove(&member);
            return;
        }
        let accused = self.comparison.heard.lock().accused.get(&member).copied();
        let waits = accused.is_none_or(|since| since.elapsed() < LEADERS_TURN);
        if self.leadership.leading().is_none() && waits {
            return;
        }
        let alarm = Command::Alarm(AlarmKind::Corrupt.activation(member));
        let proposal = Proposal { command: Some(alarm), ..Proposal::default() };
        let raised = Box::pin(self.propose(proposal, None));
        let named = format!("{:x}", member.0);
        match P::Runtime::timeout(self.settings.election_timeout, raised).await {
            Ok(Ok(_)) => tracing::error!(member = named, "raised the CORRUPT alarm"),
            Ok(Err(error)) => {
                tracing::warn!(member = named, %error, "the CORRUPT alarm is not raised yet");
            }
            Err(_) => tracing::warn!(member = named, "the CORRUPT alarm is not raised yet"),
        }
    }
}
