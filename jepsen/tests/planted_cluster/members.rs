//! Who votes.

use std::time::Duration;

use vetch_jepsen::sim::Shape;
use vetch_jepsen::sim::coverage::Fault;
use vetch_storage::planted::Planted;

use crate::{Bug, bugs, three};

bugs! {
    a_learner_that_votes: Bug {
        planted: &[Planted::LearnerVotes],
        shape: |seed| Shape {
            most_members: 7,
            storm: Duration::from_secs(20),
            fault_gap: Duration::from_millis(500),
            ..three(seed, &[Fault::Learner, Fault::Transfer, Fault::Kill])
        },
        seen_as: "leads, a learner",
    };
}
