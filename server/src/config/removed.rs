//! Flags that etcd once had: what to write instead.

use super::flags;

/// Gates that replaced `--experimental-` flags of the same meaning.
const TO_GATES: &[(&str, &str)] = &[
    ("compact-hash-check-enabled", "CompactHashCheck"),
    ("enable-lease-checkpoint", "LeaseCheckpoint"),
    ("enable-lease-checkpoint-persist", "LeaseCheckpointPersist"),
    ("initial-corrupt-check", "InitialCorruptCheck"),
    ("set-member-localaddr", "SetMemberLocalAddr"),
    ("stop-grpc-service-on-defrag", "StopGRPCServiceOnDefrag"),
    ("txn-mode-write-with-shared-buffer", "TxnModeWriteWithSharedBuffer"),
];

/// What to do about a flag of this name, if etcd ever had it.
pub(super) fn remedy(name: &str) -> Option<String> {
    if let Some(plain) = name.strip_prefix("experimental-") {
        if let Some((_, gate)) = TO_GATES.iter().find(|(old, _)| *old == plain) {
            return Some(format!("removed in etcd 3.7: use --feature-gates={gate}=true"));
        }
        return Some(match flags::find(plain) {
            Some(_) => format!("removed in etcd 3.7: use --{plain}"),
            None => "removed in etcd 3.7, as all experimental flags".to_owned(),
        });
    }
    let text = match name {
        "discovery" | "discovery-proxy" => "v2 discovery was removed from etcd",
        "enable-v2" => "the v2 API was removed in etcd 3.6",
        _ if name == "proxy" || name.starts_with("proxy-") => "the v2 proxy was removed from etcd",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experimental_flags_name_their_successor() {
        let initial = remedy("experimental-initial-corrupt-check").unwrap();
        assert!(initial.contains("--feature-gates=InitialCorruptCheck=true"), "{initial}");
        let notify = remedy("experimental-watch-progress-notify-interval").unwrap();
        assert!(notify.ends_with("use --watch-progress-notify-interval"), "{notify}");
        assert_eq!(remedy("bogus"), None);
    }
}
