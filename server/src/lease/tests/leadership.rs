//! Leadership gained and lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft_rt_sim::SimRuntime;
use vetch_raft::AsyncRuntime;
use vetch_storage::LeaseId;

use super::site::{run, sleep_secs, text};

#[test]
fn a_follower_expires_nothing() {
    run(|site, _| async move {
        site.grant(1, 5);
        site.lose();
        sleep_secs(60.0).await;
        assert!(site.has(1));
        assert_eq!(site.proposals().len(), 0);
    });
}

#[test]
fn a_new_leader_gives_every_lease_its_ttl_and_an_election_timeout() {
    run(|site, clock| async move {
        site.grant(1, 5);
        sleep_secs(4.0).await;
        site.lose();
        sleep_secs(10.0).await;
        site.lead(2);
        sleep_secs(0.1).await;
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), Some(5));
        sleep_secs(5.8).await;
        assert!(site.has(1));
        sleep_secs(0.2).await;
        assert!(!site.has(1));
    });
}

#[test]
fn what_a_deposed_leader_found_due_is_not_revoked() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_millis(100);
        site.grant(1, 5);
        sleep_secs(5.05).await;
        assert_eq!(site.proposals().len(), 1, "proposed and not committed");
        site.lead(2);
        sleep_secs(1.0).await;
        assert!(site.has(1));
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(5));
    });
}

#[test]
fn what_is_applied_while_a_new_leader_reads_the_table_is_not_lost() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.grant(2, 5);
        site.lose();
        sleep_secs(1.0).await;
        *site.after_reading.lock() = Some(Box::new(|site| {
            site.revoke(1);
            site.grant(3, 5);
        }));
        site.lead(2);
        sleep_secs(0.1).await;
        assert_eq!(clock.list(), [LeaseId(3), LeaseId(2)], "3 has no election timeout on top");
    });
}

/// The clock itself hears of a stop later, or never: its driver may be the one that waits.
#[test]
fn a_renewal_on_a_follower_that_stops_ends_at_once() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.lose();
        sleep_secs(0.1).await;
        site.stops.store(true, Ordering::Relaxed);
        let stopped = (tonic::Code::Unavailable, "etcdserver: server stopped");
        let at_once = Duration::from_millis(1);
        let renewed = SimRuntime::timeout(at_once, clock.renew(LeaseId(1))).await.unwrap();
        assert_eq!(text(renewed), stopped);
        let remaining = SimRuntime::timeout(at_once, clock.remaining(LeaseId(1))).await.unwrap();
        assert_eq!(text(remaining), stopped);
    });
}

#[test]
fn without_a_leader_a_renewal_waits_as_long_as_a_request_may_take() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.lose();
        sleep_secs(0.1).await;
        let renewed = text(clock.renew(LeaseId(1)).await);
        assert_eq!(renewed, (tonic::Code::Unavailable, "etcdserver: request timed out"));
        let remaining = text(clock.remaining(LeaseId(1)).await);
        assert_eq!(remaining, (tonic::Code::Unavailable, "etcdserver: request timed out"));
    });
}

#[test]
fn a_renewal_that_waits_for_a_leader_is_answered_by_it() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.lose();
        sleep_secs(0.1).await;
        let renewing = Arc::clone(&clock);
        let renewal = SimRuntime::spawn(async move { renewing.renew(LeaseId(1)).await.unwrap() });
        sleep_secs(3.0).await;
        site.lead(2);
        assert_eq!(renewal.await.unwrap(), Some(5));
    });
}

#[test]
fn a_renewal_waiting_for_a_revoke_is_answered_by_the_next_leader_if_the_lease_lives() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_secs(2);
        site.grant(1, 5);
        sleep_secs(5.5).await;
        let renewing = Arc::clone(&clock);
        let renewal = SimRuntime::spawn(async move { renewing.renew(LeaseId(1)).await.unwrap() });
        sleep_secs(0.5).await;
        site.lead(2);
        assert_eq!(renewal.await.unwrap(), Some(5));
        assert!(site.has(1));
    });
}

#[test]
fn a_leader_that_does_not_know_yet_of_a_newer_term_renews_nothing() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.another_term(2);
        let changed = (tonic::Code::Unavailable, "etcdserver: leader changed");
        assert_eq!(text(clock.renew(LeaseId(1)).await), changed);
        assert_eq!(
            text(clock.renew(LeaseId(9)).await),
            changed,
            "nor denies what it does not know"
        );
        assert_eq!(text(clock.remaining(LeaseId(1)).await), changed);
    });
}

#[test]
fn a_follower_lists_what_is_in_the_table() {
    run(|site, clock| async move {
        site.grant(2, 5);
        site.grant(1, 60);
        assert_eq!(clock.list(), [LeaseId(2), LeaseId(1)], "soonest first while leading");
        site.lose();
        sleep_secs(0.1).await;
        assert_eq!(clock.list(), [LeaseId(1), LeaseId(2)]);
    });
}

#[test]
fn a_renewal_is_not_kept_waiting_by_a_node_that_stops() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.lose();
        sleep_secs(0.1).await;
        let renewing = Arc::clone(&clock);
        let renewal = SimRuntime::spawn(async move { renewing.renew(LeaseId(1)).await });
        sleep_secs(1.0).await;
        clock.end();
        let stopped = (tonic::Code::Unavailable, "etcdserver: server stopped");
        assert_eq!(text(renewal.await.unwrap()), stopped);
    });
}
