//! What is due goes, in time and never before; what is asked about it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use openraft_rt_sim::SimRuntime;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::AsyncRuntime;
use vetch_storage::LeaseId;

use super::site::{Fault, run, sleep, sleep_secs};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_lease_goes_with_its_keys_when_its_ttl_is_over_and_not_before() {
    run(|site, clock| async move {
        site.grant(1, 5);
        site.put("a".into(), 1);
        sleep(Duration::from_millis(4_999)).await;
        assert!(site.has(1));
        assert_eq!(site.keys(), 1);
        sleep(4 * MILLI).await;
        assert!(!site.has(1));
        assert_eq!(site.keys(), 0);
        assert_eq!(clock.metrics().unwrap().expired.get(), 1);
    });
}

#[test]
fn the_driver_does_not_sleep_through_a_lease_shorter_than_the_one_it_waits_for() {
    run(|site, _| async move {
        site.grant(1, 1000);
        sleep_secs(1.0).await;
        site.grant(2, 2);
        sleep_secs(2.01).await;
        assert!(site.has(1) && !site.has(2));
    });
}

#[test]
fn ten_thousand_leases_due_at_once_are_gone_within_a_second() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_millis(20);
        for id in 1..=10_000 {
            site.grant(id, 5);
            site.put(format!("k{id:05}"), id);
        }
        sleep_secs(6.0).await;
        assert!(site.table().is_empty());
        assert_eq!(site.keys(), 0);
        assert_eq!(site.proposals().len(), 10);
        assert_eq!(clock.metrics().unwrap().expired.get(), 10_000);
    });
}

#[test]
fn one_entry_takes_a_bounded_number_of_keys() {
    run(|site, _| async move {
        for id in 1..=5 {
            site.grant(id, 5);
            for key in 0..400 {
                site.put(format!("{id}/{key}"), id);
            }
        }
        sleep_secs(5.1).await;
        assert!(site.table().is_empty());
        let sizes: Vec<_> = site
            .proposals()
            .iter()
            .map(|command| {
                let Command::LeaseExpire(entry) = command else { panic!("{command:?}") };
                entry.ids.len()
            })
            .collect();
        assert_eq!(sizes, [2, 2, 1]);
    });
}

#[test]
fn a_renewed_lease_lives_on() {
    run(|site, clock| async move {
        site.grant(1, 5);
        for _ in 0..10 {
            sleep_secs(4.0).await;
            assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(5));
        }
        assert!(site.has(1));
        assert_eq!(site.proposals().len(), 0, "a renewal is no log entry");
        assert_eq!(clock.metrics().unwrap().renewed.get(), 10);
        sleep_secs(5.01).await;
        assert!(!site.has(1));
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), None);
    });
}

#[test]
fn a_renewal_of_a_due_lease_waits_for_its_revoke_and_answers_that_it_is_gone() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_secs(2);
        site.grant(1, 5);
        sleep_secs(5.5).await;
        assert!(site.has(1), "still in the log");
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), Some(0));
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), None);
        assert!(!site.has(1));
    });
}

#[test]
fn a_renewal_does_not_wait_for_a_revoke_longer_than_a_request_may_take() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_mins(1);
        site.grant(1, 5);
        sleep_secs(5.5).await;
        let (code, text) = super::site::text(clock.renew(LeaseId(1)).await);
        assert_eq!((code, text), (tonic::Code::Unavailable, "etcdserver: request timed out"));
    });
}

#[test]
fn a_revoke_refused_under_load_is_tried_again() {
    run(|site, _| async move {
        site.faults.lock().extend([Fault::Refused; 5]);
        site.grant(1, 5);
        sleep_secs(5.45).await;
        assert!(site.has(1), "four retries were refused too");
        sleep_secs(0.1).await;
        assert!(!site.has(1));
        assert_eq!(site.proposals().len(), 6);
    });
}

#[test]
fn a_revoke_that_may_be_in_the_log_is_not_proposed_twice() {
    run(|site, _| async move {
        site.faults.lock().push_back(Fault::Late(Duration::from_secs(3)));
        site.grant(1, 5);
        sleep_secs(14.0).await;
        assert!(site.has(1), "not applied yet");
        sleep_secs(2.0).await;
        assert!(!site.has(1));
        site.grant(1, 5);
        sleep_secs(4.9).await;
        assert!(site.has(1), "nothing of its predecessor's revoke is left");
        assert_eq!(site.proposals().len(), 1);
    });
}

#[test]
fn a_renewal_racing_an_explicit_revoke_is_never_answered_with_a_ttl_after_it() {
    run(|site, clock| async move {
        site.grant(1, 5);
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(5));
        site.revoke(1);
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), None);
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), None);
    });
}

#[test]
fn waiting_renewals_are_all_answered_when_the_revoke_is_applied() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_secs(1);
        site.grant(1, 5);
        sleep_secs(5.5).await;
        let renewals: Vec<_> = (0..3)
            .map(|_| {
                let clock = Arc::clone(&clock);
                SimRuntime::spawn(async move { clock.renew(LeaseId(1)).await.unwrap() })
            })
            .collect();
        for renewal in renewals {
            assert_eq!(renewal.await.unwrap(), None);
        }
    });
}

#[test]
fn remaining_time_is_told_in_whole_seconds_rounded_down() {
    run(|site, clock| async move {
        site.grant(1, 5);
        sleep_secs(0.5).await;
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), Some(4));
    });
}

#[test]
fn new_ids_are_positive_and_not_taken() {
    run(|site, clock| async move {
        let twin =
            crate::lease::clock::LeaseClock::<super::site::Site>::new(super::site::SETTINGS, 1);
        let first = twin.new_id();
        site.grant(first.get(), 5);
        let id = clock.new_id();
        assert!(id.get() > 0);
        assert_ne!(id, first, "the same seed draws it first, and it is taken");
    });
}
