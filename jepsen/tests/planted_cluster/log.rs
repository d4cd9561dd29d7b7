//! What is acknowledged, voted and found again on disk.

use std::time::Duration;

use vetch_jepsen::sim::Shape;
use vetch_jepsen::sim::coverage::Fault;
use vetch_raft::disk::sim::Timing;
use vetch_storage::planted::Planted;

use crate::{Bug, bugs, three, three_that_purge};

/// Disks on which much is under way when the power goes out.
fn slow_disks(shape: Shape) -> Shape {
    let timing = Timing { write: Duration::from_millis(1), sync: Duration::from_millis(9) };
    Shape { disk: (timing, timing), ..shape }
}

bugs! {
    an_entry_that_is_acknowledged_before_it_is_on_disk: Bug {
        planted: &[Planted::AckBeforeSync],
        shape: |seed| slow_disks(three(seed, &[Fault::PowerCut])),
        seen_as: "on disk, and its log ends with",
    };
    a_vote_that_is_not_written: Bug {
        planted: &[Planted::VoteNotWritten],
        shape: |seed| three(seed, &[Fault::Kill, Fault::PowerCut]),
        seen_as: "voted for",
    };
    a_torn_end_that_is_kept: Bug {
        planted: &[Planted::TornTailKept],
        shape: |seed| slow_disks(three(seed, &[Fault::TornWrite, Fault::PowerCut])),
        seen_as: "does not start",
    };
    a_restart_that_drops_committed_entries: Bug {
        planted: &[Planted::CommittedEntryTruncated],
        // Engines that come back a few entries behind their logs.
        shape: |seed| Shape { checkpoint: (20, 5_000), ..three(seed, &[Fault::PowerCut]) },
        seen_as: "was committed",
    };
    a_log_that_is_purged_behind_what_was_not_flushed: Bug {
        planted: &[Planted::CheckpointNotSynced],
        shape: |seed| three_that_purge(seed, &[Fault::PowerCut]),
        seen_as: "does not start",
    };
}
