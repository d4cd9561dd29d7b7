//! One test per statement about who expires when; in `model` a random walk beside an obvious lessor.

mod model;

use std::time::Duration;

use vetch_storage::{LeaseChange, LeaseId, Term};

use super::{CheckpointOutcome, LeaseFacts, Lessor, Renewal};

const EXTENSION: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_mins(5);

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn leader_of(leases: &[(i64, i64, i64)]) -> Lessor {
    let facts = leases.iter().map(|&(id, ttl, remaining_ttl)| LeaseFacts {
        id: LeaseId(id),
        ttl,
        remaining_ttl,
    });
    Lessor::promote(Term(1), Duration::ZERO, facts, EXTENSION, Some(INTERVAL))
}

fn granted(lessor: &mut Lessor, id: i64, ttl: i64, now: f64) {
    lessor.apply(LeaseChange::Granted { id: LeaseId(id), ttl }, at(now));
}

fn revoked(lessor: &mut Lessor, id: i64, now: f64) {
    lessor.apply(LeaseChange::Revoked { id: LeaseId(id) }, at(now));
}

fn checkpointed(lessor: &mut Lessor, id: i64, remaining_ttl: i64, now: f64) {
    lessor.apply(LeaseChange::Checkpointed { id: LeaseId(id), remaining_ttl }, at(now));
}

fn due(lessor: &mut Lessor, now: f64) -> Vec<i64> {
    lessor.due(at(now), usize::MAX).into_iter().map(LeaseId::get).collect()
}

#[test]
fn a_lease_is_due_its_ttl_after_its_grant_was_applied_and_not_before() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 7, 5, 10.0);
    assert_eq!(lessor.next_deadline(), Some(at(15.0)));
    assert_eq!(due(&mut lessor, 14.999_999), Vec::<i64>::new());
    assert_eq!(due(&mut lessor, 15.0), [7]);
    assert_eq!(due(&mut lessor, 16.0), Vec::<i64>::new(), "handed out once");
}

#[test]
fn a_renewal_starts_the_ttl_again_and_answers_the_granted_ttl() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 7, 5, 0.0);
    assert_eq!(lessor.renew(LeaseId(7), at(4.0)), Renewal::Renewed { ttl: 5 });
    assert_eq!(due(&mut lessor, 8.999), Vec::<i64>::new());
    assert_eq!(due(&mut lessor, 9.0), [7]);
}

#[test]
fn a_lease_that_is_due_is_not_renewed_whether_handed_out_or_not() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 7, 5, 0.0);
    assert_eq!(lessor.renew(LeaseId(7), at(5.0)), Renewal::Due);
    assert_eq!(due(&mut lessor, 5.0), [7]);
    assert_eq!(lessor.renew(LeaseId(7), at(5.1)), Renewal::Due);
    lessor.retry(&[LeaseId(7)], at(20.0));
    assert_eq!(lessor.renew(LeaseId(7), at(6.0)), Renewal::Due, "a later try is no reprieve");
    revoked(&mut lessor, 7, 6.0);
    assert_eq!(lessor.renew(LeaseId(7), at(6.0)), Renewal::Unknown);
}

#[test]
fn what_could_not_be_revoked_is_handed_out_again_later() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 7, 5, 0.0);
    granted(&mut lessor, 8, 5, 0.0);
    assert_eq!(due(&mut lessor, 5.0), [7, 8]);
    revoked(&mut lessor, 8, 5.1);
    lessor.retry(&[LeaseId(7), LeaseId(8)], at(5.2));
    assert_eq!(lessor.next_deadline(), Some(at(5.2)));
    assert_eq!(due(&mut lessor, 5.1), Vec::<i64>::new());
    assert_eq!(due(&mut lessor, 5.2), [7]);
}

#[test]
fn an_id_granted_again_has_nothing_of_its_predecessor() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 7, 5, 0.0);
    assert_eq!(due(&mut lessor, 5.0), [7]);
    revoked(&mut lessor, 7, 5.1);
    granted(&mut lessor, 7, 5, 5.2);
    lessor.retry(&[LeaseId(7)], at(5.3));
    assert_eq!(due(&mut lessor, 10.1), Vec::<i64>::new());
    assert_eq!(lessor.renew(LeaseId(7), at(10.1)), Renewal::Renewed { ttl: 5 });
}

#[test]
fn remaining_time_runs_down_to_zero() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 7, 5, 0.0);
    assert_eq!(lessor.remaining(LeaseId(7), at(0.5)), Some(at(4.5)));
    assert_eq!(lessor.remaining(LeaseId(7), at(99.0)), Some(Duration::ZERO));
    assert_eq!(lessor.remaining(LeaseId(8), at(0.0)), None);
}

#[test]
fn leases_are_listed_soonest_expiry_first() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 1, 30, 0.0);
    granted(&mut lessor, 2, 10, 0.0);
    granted(&mut lessor, 3, 20, 0.0);
    assert_eq!(lessor.list(), [LeaseId(2), LeaseId(3), LeaseId(1)]);
    assert_eq!(due(&mut lessor, 10.0), [2]);
    assert_eq!(lessor.list(), [LeaseId(2), LeaseId(3), LeaseId(1)], "due and not revoked yet");
}

#[test]
fn a_new_leader_gives_the_ttl_or_the_checkpointed_rest_and_an_election_timeout() {
    let lessor = leader_of(&[(1, 10, 0), (2, 600, 120)]);
    assert_eq!(lessor.remaining(LeaseId(1), Duration::ZERO), Some(at(11.0)));
    assert_eq!(lessor.remaining(LeaseId(2), Duration::ZERO), Some(at(121.0)));
}

#[test]
fn a_renewal_never_shortens_what_a_promotion_gave() {
    let mut lessor = leader_of(&[(1, 10, 0)]);
    assert_eq!(lessor.renew(LeaseId(1), at(0.5)), Renewal::Renewed { ttl: 10 });
    assert_eq!(lessor.remaining(LeaseId(1), at(0.5)), Some(at(10.5)));
}

#[test]
fn a_new_leader_spreads_more_than_a_thousand_leases() {
    let leases: Vec<_> = (1..=3000).map(|id| (id, 10, 0)).collect();
    let mut lessor = leader_of(&leases);
    assert_eq!(due(&mut lessor, 11.0).len(), 750);
    assert_eq!(due(&mut lessor, 11.999).len(), 0);
    assert_eq!(due(&mut lessor, 12.0).len(), 750);
    assert_eq!(due(&mut lessor, 14.0).len(), 1500);
}

#[test]
fn long_leases_are_checkpointed_every_interval_and_short_ones_never() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 1, 300, 0.0);
    granted(&mut lessor, 2, 1000, 0.0);
    assert_eq!(lessor.due_checkpoints(at(299.9), 10), []);
    assert_eq!(lessor.due_checkpoints(at(300.5), 10), [(LeaseId(2), 700)], "rounded up");
    assert_eq!(lessor.due_checkpoints(at(301.0), 10), [], "one at a time");
    checkpointed(&mut lessor, 2, 700, 301.0);
    lessor.settle_checkpoints([LeaseId(2)], at(301.0), CheckpointOutcome::Applied);
    assert_eq!(lessor.due_checkpoints(at(600.9), 10), []);
    assert_eq!(lessor.due_checkpoints(at(601.0), 10), [(LeaseId(2), 399)]);
}

#[test]
fn a_checkpoint_never_exceeds_the_granted_ttl() {
    let facts = [LeaseFacts { id: LeaseId(1), ttl: 400, remaining_ttl: 0 }];
    let extension = Duration::from_secs(500);
    let mut lessor = Lessor::promote(Term(1), Duration::ZERO, facts, extension, Some(INTERVAL));
    assert_eq!(lessor.due_checkpoints(at(300.0), 10), [(LeaseId(1), 400)]);
}

#[test]
fn a_renewal_clears_a_recorded_checkpoint_first() {
    let mut lessor = leader_of(&[(1, 600, 400)]);
    assert_eq!(lessor.renew(LeaseId(1), at(1.0)), Renewal::ClearFirst);
    assert_eq!(lessor.remaining(LeaseId(1), at(1.0)), Some(at(400.0)), "not renewed yet");
    checkpointed(&mut lessor, 1, 0, 1.1);
    assert_eq!(lessor.renew(LeaseId(1), at(1.2)), Renewal::Renewed { ttl: 600 });
}

#[test]
fn a_renewal_waits_for_a_checkpoint_under_way_and_clears_one_that_may_be_logged() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 1, 600, 0.0);
    assert_eq!(lessor.due_checkpoints(at(300.0), 10).len(), 1);
    assert_eq!(lessor.renew(LeaseId(1), at(300.1)), Renewal::CheckpointInFlight);
    lessor.settle_checkpoints([LeaseId(1)], at(301.0), CheckpointOutcome::Unknown);
    assert_eq!(lessor.renew(LeaseId(1), at(301.0)), Renewal::ClearFirst);
}

#[test]
fn a_checkpoint_that_never_entered_the_log_is_tried_again_soon_and_needs_no_clearing() {
    let mut lessor = leader_of(&[]);
    granted(&mut lessor, 1, 600, 0.0);
    assert_eq!(lessor.due_checkpoints(at(300.0), 10).len(), 1);
    lessor.settle_checkpoints([LeaseId(1)], at(300.0), CheckpointOutcome::NotLogged);
    assert_eq!(lessor.due_checkpoints(at(301.0), 10), [(LeaseId(1), 299)]);
    lessor.settle_checkpoints([LeaseId(1)], at(301.0), CheckpointOutcome::NotLogged);
    assert_eq!(lessor.renew(LeaseId(1), at(301.0)), Renewal::Renewed { ttl: 600 });
}

#[test]
fn limits_hold_and_the_rest_stays_due() {
    let mut lessor = leader_of(&[]);
    for id in 1..=5 {
        granted(&mut lessor, id, 600, 0.0);
    }
    assert_eq!(lessor.due_checkpoints(at(300.0), 3).len(), 3);
    assert_eq!(lessor.due_checkpoints(at(300.0), 3).len(), 2);
    assert_eq!(lessor.due(at(600.0), 3).len(), 3);
    assert_eq!(lessor.next_deadline(), Some(at(600.0)));
    assert_eq!(lessor.due(at(600.0), 3).len(), 2);
}

#[test]
fn the_longest_lease_and_an_imported_one_without_time_do_not_overflow() {
    let mut lessor = leader_of(&[(1, 9_000_000_000, 0), (2, -3, 0)]);
    assert_eq!(due(&mut lessor, 1.0), [2]);
    assert_eq!(lessor.renew(LeaseId(1), at(1e9)), Renewal::Renewed { ttl: 9_000_000_000 });
}
