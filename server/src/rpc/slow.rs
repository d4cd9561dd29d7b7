//! The log's lines about what took too long, in etcd's words. Values never appear in them.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use vetch_proto::etcdserverpb::{RangeRequest, TxnRequest};
use vetch_proto::vetchpb::proposal::Command;

use crate::metrics::Metrics;

/// Counts and logs an application or a read that took longer than `--warning-apply-duration`.
pub fn warn_apply(
    metrics: &Metrics,
    prefix: &str,
    took: Duration,
    expected_duration: Duration,
    request: &str,
    error: Option<&str>,
) {
    metrics.server.slow_apply.inc();
    tracing::warn!(
        took = ?took,
        expected_duration = ?expected_duration,
        prefix,
        request,
        error,
        "apply request took too long"
    );
}

/// A command as a line of the log shows it.
pub fn command(command: &Command) -> String {
    match command {
        Command::Put(put) => {
            format!("put:<key:{} value_size:{}>", shown(&put.key), put.value.len())
        }
        Command::DeleteRange(delete) => {
            format!("delete_range:<{}>", keys(&delete.key, &delete.range_end))
        }
        Command::Txn(request) => format!("txn:<{}>", txn(request)),
        Command::Compaction(_)
        | Command::LeaseGrant(_)
        | Command::LeaseRevoke(_)
        | Command::LeaseCheckpoint(_)
        | Command::LeaseExpire(_)
        | Command::Alarm(_)
        | Command::ClusterVersionSet(_)
        | Command::MemberPublish(_)
        | Command::MemberUpdate(_) => format!("{command:?}"),
    }
}

/// A range.
pub fn range(request: &RangeRequest) -> String {
    let mut text = keys(&request.key, &request.range_end);
    let numbers = [("limit", request.limit), ("revision", request.revision)];
    for (name, number) in numbers.iter().filter(|(_, number)| *number != 0) {
        let _never_fails = write!(text, " {name}:{number}");
    }
    let switches = [
        ("serializable", request.serializable),
        ("keys_only", request.keys_only),
        ("count_only", request.count_only),
    ];
    for (name, _) in switches.iter().filter(|(_, on)| *on) {
        let _never_fails = write!(text, " {name}:true");
    }
    text
}

/// A transaction: how many of what.
pub fn txn(request: &TxnRequest) -> String {
    let TxnRequest { compare, success, failure } = request;
    format!("compare:{} success:{} failure:{}", compare.len(), success.len(), failure.len())
}

fn keys(key: &Bytes, range_end: &Bytes) -> String {
    if range_end.is_empty() {
        format!("key:{}", shown(key))
    } else {
        format!("key:{} range_end:{}", shown(key), shown(range_end))
    }
}

/// Keys are bytes; most of them are text.
fn shown(key: &Bytes) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}
