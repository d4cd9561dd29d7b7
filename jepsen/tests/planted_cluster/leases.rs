//! Remaining time and renewal around changes of leaders.

use std::time::Duration;

use vetch_jepsen::sim::Shape;
use vetch_jepsen::sim::coverage::Fault;
use vetch_storage::planted::Planted;

use crate::{Bug, bugs, three};

fn holders(seed: u64, faults: &[Fault]) -> Shape {
    Shape { holders: 6, clients: 1, controllers: 0, ..three(seed, faults) }
}

bugs! {
    a_ttl_that_starts_anew_with_each_leader: Bug {
        planted: &[Planted::TtlStartsAnew],
        shape: |seed| Shape { lease_checkpoints: true, ..holders(seed, &[Fault::Transfer]) },
        seen_as: "the end of a lease after a change of leaders",
    };
    a_renewal_by_a_deposed_leader: Bug {
        // One that leads no more in time renews nothing that outlives what the next leader gives: with
        // that alone the bug harms nobody.
        planted: &[Planted::RenewalUnconfirmed, Planted::LeadsWithoutQuorum],
        // Cut off for longer than the lease lives elsewhere.
        shape: |seed| Shape {
            storm: Duration::from_secs(20),
            fault_gap: Duration::from_secs(4),
            ..holders(seed, &[Fault::Isolation])
        },
        seen_as: "was promised until",
    };
    the_end_of_a_lease_that_an_old_leader_decided_on: Bug {
        planted: &[Planted::RevokeWithoutTermFence],
        // The next leader renews what the one that stands still will find due.
        shape: |seed| Shape {
            storm: Duration::from_secs(30),
            fault_gap: Duration::from_secs(9),
            ..holders(seed, &[Fault::LeaderPause])
        },
        seen_as: "was promised until",
    };
}
