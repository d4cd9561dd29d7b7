//! Flags: how they are written, and which contradict each other.

use vetch_server::config::{AutoCompaction, Loaded, Quota, load};

use super::{error, owned, run};

#[test]
fn without_flags_there_is_one_member_called_default() {
    let config = run(&[], &[]).unwrap();
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir.to_str(), Some("default.etcd"));
    assert_eq!(config.listen.client_urls[0].as_str(), "http://localhost:2379");
    assert_eq!(config.listen.peer_urls[0].as_str(), "http://localhost:2380");
    assert_eq!(config.bootstrap.advertise_client_urls[0].as_str(), "http://localhost:2379");
    assert_eq!(config.bootstrap.token, "etcd-cluster");
    assert_eq!(config.storage.quota, Quota::Bytes(2_147_483_648));
    assert_eq!(config.compaction.auto, AutoCompaction::Off);
    assert_eq!(config.raft.min_lease_ttl_seconds(), 2);
    assert_eq!(config.raft.request_timeout().as_secs(), 7);
}

#[test]
fn every_way_of_writing_a_flag() {
    for arguments in [&["--name", "a"][..], &["-name", "a"], &["--name=a"], &["-name=a"]] {
        assert_eq!(run(arguments, &[]).unwrap().name, "a");
    }
    assert_eq!(run(&["--name", "a", "--name=b"], &[]).unwrap().name, "b", "the last wins");
    for (arguments, on) in [
        (&["--socket-reuse-port"][..], true),
        (&["--socket-reuse-port=F"], false),
        (&["--socket-reuse-port", "--socket-reuse-port=0"], false),
    ] {
        assert_eq!(run(arguments, &[]).unwrap().listen.reuse_port, on);
    }
    assert_eq!(run(&["--name=a=b"], &[]).unwrap().name, "a=b");
    assert!(matches!(load(&owned(&["--version"]), &[]), Ok(Loaded::Version)));
    assert!(matches!(load(&owned(&["-h"]), &[]), Ok(Loaded::Help)));
}

#[test]
fn a_command_line_that_cannot_be_read() {
    for (arguments, text) in [
        (&["--bogus"][..], "flag provided but not defined: -bogus"),
        (&["---x"], "bad flag syntax: ---x"),
        (&["--=x"], "bad flag syntax: --=x"),
        (&["--name"], "flag needs an argument: -name"),
        (
            &["--election-timeout=abc"],
            "invalid value \"abc\" for flag -election-timeout: parse error",
        ),
        (&["--snapshot-count=-1"], "invalid value \"-1\" for flag -snapshot-count: parse error"),
        (
            &["--election-timeout", "99999999999999999999"],
            "invalid value \"99999999999999999999\" for flag -election-timeout: value out of range",
        ),
        (&["--pre-vote=maybe"], "invalid boolean value \"maybe\" for -pre-vote: parse error"),
        (
            &["--grpc-keepalive-min-time=5"],
            "invalid value \"5\" for flag -grpc-keepalive-min-time: parse error",
        ),
        (
            &["--max-concurrent-streams", "4294967296"],
            "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: \
             parsing \"4294967296\": value out of range",
        ),
        (
            &["--listen-client-urls", "foo"],
            "invalid value \"foo\" for flag -listen-client-urls: URL scheme must be http, https, \
             unix, or unixs: foo",
        ),
        (
            &["--cors", "http://a.b"],
            "invalid value \"http://a.b\" for flag -cors: URL address does not have the form \
             \"host:port\": http://a.b",
        ),
        (
            &["--feature-gates", "Foo=true"],
            "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo",
        ),
    ] {
        assert_eq!(error(arguments), (text.to_owned(), 2));
    }
    let (text, _code) = error(&["--experimental-initial-corrupt-check=true"]);
    assert!(text.starts_with("flag provided but not defined: -experimental-initial-corrupt-check"));
    assert!(text.contains("--feature-gates=InitialCorruptCheck=true"), "{text}");
}

#[test]
fn settings_that_contradict_each_other() {
    for (arguments, text) in [
        (&["positional"][..], "\"positional\" is not a valid flag"),
        (&["--socket-reuse-port", "true"], "\"true\" is not a valid flag"),
        (
            &["--election-timeout=100"],
            "--election-timeout[100ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=60000"],
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (&["--compact-hash-check-time=0s"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (&["--compact-hash-check-time=-5s"], "--compact-hash-check-time must be >0 (set to -5s)"),
        (&["--corrupt-check-time=-5s"], "--corrupt-check-time must not be negative"),
        (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            &["--listen-client-urls=http://127.0.0.1:1"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            &["--listen-metrics-urls=http://foo.bar:2379"],
            "expected IP in URL for binding (http://foo.bar:2379)",
        ),
        (
            &["--initial-advertise-peer-urls=http://:2380"],
            "--initial-advertise-peer-urls \"http://:2380\" must be \"host:port\" (unexpected empty \
             host (http://:2380))",
        ),
        (
            &["--advertise-client-urls=http://:2379"],
            "--advertise-client-urls \"http://:2379\" must be in the format \"host:port\", \
             \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" (unexpected empty host \
             (http://:2379))",
        ),
        (
            &["--auto-compaction-retention=foo"],
            "error parsing CompactionRetention: time: invalid duration \"foo\"",
        ),
        (
            &["--auto-compaction-retention=-5"],
            "error parsing CompactionRetention: time: missing unit in duration \"-5\"",
        ),
        (
            &["--discovery-srv=example.org", "--initial-cluster=default=http://localhost:2380"],
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (&["--discovery-srv-name=prod"], "--discovery-srv-name needs --discovery-srv"),
        (&["--log-outputs=stderr,default"], "multi logoutput for \"default\" is not supported yet"),
    ] {
        assert_eq!(error(arguments), (text.to_owned(), 1));
    }
}
