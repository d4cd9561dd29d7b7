//! What happens: a log with what the model says of it, and a schedule of batches, restarts and reads.

use std::fmt;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use vetch_proto::etcdserverpb::{RangeRequest, TxnRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_storage::Applied;
use vetch_storage::testing::Model;
use vetch_storage::testing::generate::{self, LogEntry, Logged};

/// A log and all that must come of it.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) log: Vec<Logged>,
    /// What each entry does.
    pub(crate) expected: Vec<Applied>,
    /// The state after none, one, two.. entries.
    pub(crate) models: Vec<Model>,
}

impl fmt::Debug for Script {
    /// A line for each entry; the rest follows from them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for logged in &self.log {
            let (term, index) = (logged.id.term, logged.id.index);
            write!(f, "\n{index} in term {term}: ")?;
            if let LogEntry::Proposal(Proposal { command: Some(command), .. }) = &logged.entry {
                write!(f, "{command:?}")?;
            } else {
                write!(f, "{:?}", logged.entry)?;
            }
        }
        Ok(())
    }
}

impl Script {
    pub(crate) fn new(log: Vec<Logged>) -> Self {
        let mut model = Model::new();
        let mut script = Self { log, expected: Vec::new(), models: vec![model.clone()] };
        for logged in &script.log {
            script.expected.push(model.apply(logged.id, logged.entry.as_entry()));
            script.models.push(model.clone());
        }
        script
    }
}

pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    generate::logs(1..70).prop_map(Script::new)
}

/// What is done with the log.
#[derive(Clone)]
pub(crate) struct Schedule {
    pub(crate) steps: Vec<Step>,
    /// Whether index checkpoints are written, so that openings use them.
    pub(crate) checkpoints: bool,
    /// Changes that a step of the compactor looks at when all that is left is to be deleted.
    pub(crate) pace: usize,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index checkpoints: {}, pace: {}", self.checkpoints, self.pace)?;
        self.steps.iter().try_for_each(|step| write!(f, "\n{step:?}"))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The next entries go into the open batch.
    Apply(usize),
    /// The open batch goes into the engine.
    Commit,
    /// The engine makes durable what it has. `anew`: by a handle that has written no index
    /// checkpoint yet, so that it writes one.
    Persist {
        anew: bool,
    },
    /// Some of what compaction has to delete goes.
    Compact {
        steps: usize,
        limit: usize,
    },
    /// A reader takes the newest view, and keeps it.
    Hold,
    /// The oldest of these readers checks what it has once more, and goes.
    Release,
    /// The process ends, and another one starts on what it left.
    Reopen,
    /// The power fails.
    Crash,
    Range(RangeRequest),
    ReadTxn(TxnRequest),
    /// Watchers of a range read history, page by page. `behind`: how far they are.
    Events {
        range: (Bytes, Bytes),
        behind: i64,
        budget: usize,
        max_revisions: usize,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let compact = (1_usize..5, prop_oneof![1_usize..6, Just(1000)]);
    let events = (generate::ranges(), 0_i64..12, 0_usize..50, 1_usize..4);
    prop_oneof![
        30 => (1_usize..7).prop_map(Step::Apply),
        20 => Just(Step::Commit),
        6 => any::<bool>().prop_map(|anew| Step::Persist { anew }),
        14 => compact.prop_map(|(steps, limit)| Step::Compact { steps, limit }),
        4 => Just(Step::Hold),
        3 => Just(Step::Release),
        3 => Just(Step::Reopen),
        4 => Just(Step::Crash),
        16 => generate::range_requests().prop_map(Step::Range),
        6 => generate::read_txns().prop_map(Step::ReadTxn),
        6 => events.prop_map(|(range, behind, budget, max_revisions)| {
            Step::Events { range, behind, budget, max_revisions }
        }),
    ]
}

pub(crate) fn schedules() -> impl Strategy<Value = Schedule> {
    let pace = prop_oneof![1_usize..6, Just(1000)];
    (vec(steps(), 0..60), proptest::bool::weighted(0.3), pace)
        .prop_map(|(steps, checkpoints, pace)| Schedule { steps, checkpoints, pace })
}
