use futures::FutureExt;
use futures::executor::block_on;
use vetch_storage::ClusterId;

use super::*;
use crate::disk::sim::SimDisk;
use crate::disk::{DiskError, DiskObserver, FsDisk};

fn roster(disk: &SimDisk) -> Roster {
    let identity = Identity { cluster: ClusterId(9), member: NodeId(1), instance: 11 };
    Roster::load(Arc::new(disk.clone()), identity, Arc::new(Stop::new())).unwrap()
}

fn refusal(answer: Result<NodeId, Refusal>) -> String {
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.reason(), Reason::Stranger);
    refusal.message
}

#[test]
fn the_wrong_ones_are_told_what_is_wrong() {
    let roster = roster(&SimDisk::inline(1));
    let right = Hello { cluster: 9, from: 2, instance: 22, to: 1, to_instance: 11 };
    assert_eq!(block_on(roster.admit(Some(&right))), Ok(NodeId(2)));
    let other_cluster = Hello { cluster: 8, ..right };
    assert!(refusal(block_on(roster.admit(Some(&other_cluster)))).contains("--initial-cluster"));
    let cross_wired = Hello { to: 3, ..right };
    assert!(refusal(block_on(roster.admit(Some(&cross_wired)))).contains("wrong member"));
    let own_id = Hello { from: 1, ..right };
    assert!(refusal(block_on(roster.admit(Some(&own_id)))).contains("wrong member"));
    let wiped = Hello { instance: 23, ..right };
    assert!(refusal(block_on(roster.admit(Some(&wiped)))).contains("wiped"));
    refusal(block_on(roster.admit(None)));
    assert!(!roster.stop.has_failed());
    let remembers_another = Hello { to_instance: 12, ..right };
    assert!(refusal(block_on(roster.admit(Some(&remembers_another)))).contains("wiped"));
    assert!(roster.stop.has_failed(), "a member that has forgotten must not run");
}

#[test]
fn who_was_met_is_known_after_a_power_cut() {
    let disk = SimDisk::inline(1);
    block_on(roster(&disk).recognize(NodeId(2), 22)).unwrap();
    block_on(roster(&disk).recognize(NodeId(3), 33)).unwrap();
    let disk = disk.power_cut(7);
    let again = roster(&disk);
    block_on(again.recognize(NodeId(2), 22)).unwrap();
    assert!(block_on(again.recognize(NodeId(2), 99)).is_err());
    assert!(block_on(again.recognize(NodeId(3), 99)).is_err());
}

#[derive(Debug)]
struct Unobserved;

impl DiskObserver for Unobserved {
    fn synced(&self, _: std::time::Duration) {}
    fn wrote(&self, _: u64, _: std::time::Duration) {}
    fn failed(&self, _: &DiskError) {}
}

/// A peer may hang up at any moment, and its request ends there.
#[test]
fn a_request_that_is_cut_off_while_its_sender_is_noted_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap());
    let identity = Identity { cluster: ClusterId(9), member: NodeId(1), instance: 11 };
    let roster = Roster::load(Arc::clone(&disk), identity, Arc::new(Stop::new())).unwrap();
    for member in 2..20 {
        let cut_off = roster.recognize(NodeId(member), member).now_or_never();
        if cut_off.is_none() {
            // Until the next list is on its way, or has arrived.
            let line = format!("{member:x} {member:x}\n");
            let list = || std::fs::read_to_string(dir.path().join(NAME)).unwrap_or_default();
            while !dir.path().join(NEXT).exists() && !list().contains(&line) {}
        }
        block_on(roster.recognize(NodeId(member), member)).unwrap();
    }
    assert!(!roster.stop.has_failed());
    let again = Roster::load(disk, identity, Arc::new(Stop::new())).unwrap();
    assert_eq!(*again.known.lock(), (2..20).map(|id| (NodeId(id), id)).collect());
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let known = BTreeMap::from([(NodeId(2), u64::MAX), (NodeId(0xabc), 1)]);
    let bytes = encode(&known);
    assert_eq!(decode(&bytes), Some(known));
    for at in 0..bytes.len() {
        assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(decode(&flipped), None, "byte {at} bit {bit}");
        }
    }
}
