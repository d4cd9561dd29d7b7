//! What watchers are told.

use vetch_jepsen::sim::Shape;
use vetch_jepsen::sim::coverage::Fault;
use vetch_server::watch;
use vetch_storage::planted::Planted;

use crate::{Bug, bugs, three, three_that_purge};

fn watched(shape: Shape) -> Shape {
    Shape { watchers: 3, ..shape }
}

bugs! {
    a_watcher_that_is_attached_one_revision_late: Bug {
        planted: &[Planted::WatcherOneRevisionLate],
        shape: |seed| watched(three(seed, &[Fault::Restart, Fault::Kill])),
        seen_as: "watch:",
    };
    watchers_that_miss_what_a_peers_state_skipped: Bug {
        planted: &[Planted::InstallSkipsEvents],
        shape: |seed| watched(three_that_purge(seed, &[Fault::Isolation, Fault::Pause])),
        seen_as: "watch:",
    };
    a_response_in_pieces_that_says_it_is_whole: Bug {
        planted: &[Planted::FragmentUnmarked],
        shape: |seed| {
            let shape = watched(three(seed, &[Fault::Kill]));
            Shape { watch: watch::Settings { fragment_bytes: 100, ..shape.watch }, ..shape }
        },
        seen_as: "watch:",
    };
}
