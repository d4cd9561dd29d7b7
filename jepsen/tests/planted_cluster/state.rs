//! What is applied, and what a restart or a peer's state brings.

use vetch_jepsen::sim::Shape;
use vetch_jepsen::sim::coverage::Fault;
use vetch_storage::planted::Planted;

use crate::{Bug, bugs, three, three_that_purge};

/// Members that are away for long enough to be given a whole state.
fn laggards(seed: u64) -> Shape {
    three_that_purge(seed, &[Fault::Isolation, Fault::Kill, Fault::Pause])
}

bugs! {
    an_applied_position_that_is_written_apart: Bug {
        planted: &[Planted::AppliedOutsideBatch],
        shape: |seed| three(seed, &[Fault::EngineError]),
        seen_as: "does not start",
    };
    an_entry_that_is_applied_again_after_a_restart: Bug {
        planted: &[Planted::AppliesAgainAfterRestart],
        shape: |seed| three(seed, &[Fault::Restart, Fault::Kill]),
        seen_as: "did something else there",
    };
    a_state_for_a_peer_without_a_family: Bug {
        planted: &[Planted::SnapshotWithoutVersions],
        shape: laggards,
        seen_as: "stops by itself",
    };
    a_state_for_a_peer_without_leases: Bug {
        planted: &[Planted::SnapshotWithoutLeases],
        shape: |seed| Shape { holders: 3, ..laggards(seed) },
        seen_as: "did something else there",
    };
}
