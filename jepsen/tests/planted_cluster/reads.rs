//! Read indexes.

use std::time::Duration;

use vetch_jepsen::sim::Shape;
use vetch_jepsen::sim::coverage::Fault;
use vetch_storage::planted::Planted;

use crate::{Bug, bugs, three};

bugs! {
    a_stale_read_of_a_leader_that_stood_still: Bug {
        planted: &[Planted::ReadWithoutQuorum],
        // One at a time: the others must go on without it.
        shape: |seed| Shape {
            clients: 8,
            storm: Duration::from_secs(20),
            fault_gap: Duration::from_secs(5),
            ..three(seed, &[Fault::Pause])
        },
        seen_as: "linearizability",
    };
    a_read_that_does_not_wait_for_what_it_must_see: Bug {
        planted: &[Planted::ReadBeforeApplied],
        shape: |seed| three(seed, &[Fault::Congestion]),
        seen_as: "linearizability",
    };
}
