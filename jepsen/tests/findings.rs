//! What the simulator has found, once more: the steps that led there, in worlds of their own.
//!
//! A seed is another world after the next change; these are not. Each failed before its fix.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use vetch_jepsen::sim::scenario::{Step, Who};
use vetch_jepsen::sim::{Report, Scenario, Shape, play};
use vetch_raft::log::LogOptions;

/// So many members on true clocks, whom nobody talks to but the steps.
fn members(seed: u64, members: u64) -> Shape {
    let log = LogOptions { segment_bytes: 4 << 10, tail_bytes: 4_000, read_bytes: 4_000 };
    let checkpoint = (1_000, 5_000);
    let shape = Shape { members, watchers: 0, checkpoint, log, ..Shape::of(seed) };
    Shape { lease_checkpoints: false, ..shape }.with_faults([])
}

/// Puts of one client, `gap` milliseconds apart.
fn puts(from: u64, count: u64, gap: u64, via: Who) -> impl Iterator<Item = (u64, Step)> {
    (0..count).map(move |n| (from + n * gap, Step::Put(via, "key", "value")))
}

/// The world passes, and ends: one whose members never come to rest would keep the test for ever.
fn passes(scenario: Scenario) -> Report {
    let (said, says) = mpsc::channel();
    let shown = format!("{scenario:?}");
    thread::spawn(move || drop(said.send(play(&scenario))));
    let report = says.recv_timeout(Duration::from_mins(10));
    let report = report.unwrap_or_else(|_| panic!("it does not end, or panics: {shown}"));
    let log = report.events.join("\n");
    assert_eq!(report.violations, [""; 0], "{log}\n{shown}");
    report
}

/// A learner answers whoever puts by way of it as soon as it has applied that, which the only voter may
/// still have to: its reads answered from what it had applied itself.
#[test]
fn a_lone_voter_that_lags_reads_what_its_learner_acknowledged() {
    let (voter, learner) = (Who::Member(1), Who::Member(2));
    let steps = vec![
        (500, Step::Add { learner: true, stall: None }),
        (5_000, Step::Put(voter, "key", "before")),
        (5_500, Step::Congest(voter)),
        (5_600, Step::Put(learner, "key", "acknowledged")),
        (6_200, Step::Read(voter, "key")),
        (7_000, Step::Relieve(voter)),
    ];
    passes(Scenario { shape: members(1, 1), steps });
}

/// That its log has begun was noted while its first entries were not on disk: after a power cut, a member
/// that had joined took its own empty log for a lost one.
#[test]
fn a_joiner_whose_power_goes_out_before_its_first_entries_are_on_disk_starts_again() {
    for step in 0..10 {
        let stall = Some((step, Duration::from_secs(2)));
        let steps = vec![
            (2_500, Step::Add { learner: false, stall }),
            (3_100, Step::PowerCut(Who::Member(4))),
            (3_200, Step::Start(Who::Member(4))),
        ];
        passes(Scenario { shape: members(step, 3), steps });
    }
}

/// Followers that never need each other had never met: of one that had lost its disks, the other took the
/// word, and the vote, while the leader was away.
#[test]
fn a_wiped_follower_is_known_to_the_other_while_the_leader_is_away() {
    for seed in 0..4 {
        let steps = puts(1_500, 20, 50, Who::Leader)
            .chain([
                (6_000, Step::Isolate(Who::Leader)),
                (6_010, Step::Wipe(Who::Follower(0))),
                (20_000, Step::Mend),
            ])
            .collect();
        passes(Scenario { shape: members(seed, 3), steps });
    }
}

/// A leader that nobody confirmed within a request's time was never asked again, and led no more although
/// nobody else did.
#[test]
fn a_leader_that_is_cut_off_as_soon_as_it_is_elected_leads_later() {
    for seed in 0..3 {
        let steps = vec![
            (2_500, Step::Delay(20, 30)),
            (2_600, Step::Kill(Who::Leader)),
            (2_601, Step::IsolateElected),
            (14_000, Step::Mend),
        ];
        passes(Scenario { shape: members(seed, 3), steps });
    }
}
