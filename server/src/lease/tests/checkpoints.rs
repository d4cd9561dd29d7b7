//! Remaining time recorded in the log.

use std::time::Duration;

use vetch_storage::LeaseId;

use super::site::{Fault, Site, run, sleep_secs};

fn recorded(site: &Site, id: i64) -> i64 {
    site.table().get(LeaseId(id)).unwrap().remaining_ttl
}

#[test]
fn the_remaining_time_of_a_long_lease_outlives_a_leader_change() {
    run(|site, clock| async move {
        site.grant(1, 1000);
        sleep_secs(301.0).await;
        assert_eq!(recorded(&site, 1), 700);
        sleep_secs(300.0).await;
        assert_eq!(recorded(&site, 1), 400);
        site.lead(2);
        sleep_secs(0.5).await;
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), Some(400));
        site.lead(3);
        sleep_secs(0.5).await;
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), Some(400), "nor a third leader's");
    });
}

#[test]
fn a_renewal_clears_the_record_so_that_the_next_leader_gives_the_full_ttl() {
    run(|site, clock| async move {
        site.grant(1, 600);
        sleep_secs(301.0).await;
        assert_eq!(recorded(&site, 1), 300);
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(600));
        assert_eq!(recorded(&site, 1), 0);
        let entries = site.proposals().len();
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(600));
        assert_eq!(site.proposals().len(), entries, "once cleared, renewals are no log entries");
        site.lead(2);
        sleep_secs(0.5).await;
        assert_eq!(clock.remaining(LeaseId(1)).await.unwrap(), Some(600));
    });
}

#[test]
fn a_renewal_beside_a_checkpoint_under_way_is_never_undone_by_it() {
    run(|site, clock| async move {
        *site.log_delay.lock() = Duration::from_secs(1);
        site.grant(1, 600);
        sleep_secs(300.5).await;
        assert_eq!(site.proposals().len(), 1, "the checkpoint is proposed");
        assert_eq!(recorded(&site, 1), 0, "and not applied");
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(600));
        sleep_secs(10.0).await;
        assert_eq!(recorded(&site, 1), 0, "the renewal's clearing came last");
    });
}

#[test]
fn a_renewal_clears_a_checkpoint_whose_fate_is_unknown() {
    run(|site, clock| async move {
        site.faults.lock().push_back(Fault::Late(Duration::ZERO));
        site.grant(1, 600);
        sleep_secs(307.0).await;
        assert_eq!(clock.renew(LeaseId(1)).await.unwrap(), Some(600));
        sleep_secs(10.0).await;
        assert_eq!(recorded(&site, 1), 0);
        assert_eq!(site.proposals().len(), 2);
    });
}

#[test]
fn checkpoints_of_many_leases_share_entries() {
    run(|site, _| async move {
        for id in 1..=2500 {
            site.grant(id, 600);
        }
        sleep_secs(301.0).await;
        assert_eq!(site.proposals().len(), 3);
        assert!(site.table().iter().all(|lease| lease.remaining_ttl == 300));
    });
}
