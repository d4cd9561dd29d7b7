//! Reading the command line, the environment and a file, with etcd's errors.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "in a test a panic is the answer"
)]

use vetch_server::config::{
    AutoCompaction, Config, ConfigError, InitialMember, Loaded, Quota, Url, load,
};

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&text| text.to_owned()).collect()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: Vec<_> =
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    match load(&owned(arguments), &variables)? {
        Loaded::Run(config) => Ok(*config),
        other => panic!("not a run: {other:?}"),
    }
}

fn error(arguments: &[&str]) -> (String, u8) {
    let error = run(arguments, &[]).unwrap_err();
    (error.to_string(), error.exit_code())
}

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

/// The members that begin the cluster, as `name=URLs`.
fn initial(arguments: &[&str]) -> Result<Vec<String>, String> {
    let config = run(arguments, &[]).unwrap();
    let members = config.bootstrap.initial_members(&config.name, None);
    let members = members.map_err(|error| error.to_string())?;
    let show = |member: &InitialMember| {
        let urls: Vec<&str> = member.peer_urls.iter().map(Url::as_str).collect();
        format!("{}={}", member.name, urls.join("+"))
    };
    Ok(members.iter().map(show).collect())
}

#[test]
fn the_members_that_begin_a_cluster() {
    const AT_1: &str = "--initial-advertise-peer-urls=http://127.0.0.1:1";
    for (arguments, members) in [
        (&[][..], &["default=http://localhost:2380"][..]),
        (&["--name=a", AT_1], &["a=http://127.0.0.1:1"]),
        (
            &["--initial-cluster=c=http://h:3,default=http://127.0.0.1:1,b=http://h:2,", AT_1],
            &["b=http://h:2", "c=http://h:3", "default=http://127.0.0.1:1"],
        ),
        (
            // Two of a member, in any order; one resolves to what is advertised.
            &[
                "--initial-cluster=b=http://h:2,default=http://127.0.0.1:1,b=http://h:1",
                "--initial-advertise-peer-urls=http://127.0.0.1:1",
            ],
            &["b=http://h:1+http://h:2", "default=http://127.0.0.1:1"],
        ),
    ] {
        let members: Vec<String> = members.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(initial(arguments), Ok(members), "{arguments:?}");
    }
}

#[test]
fn a_cluster_that_cannot_begin_is_refused_in_etcds_words() {
    const AT_1: &str = "--initial-advertise-peer-urls=http://127.0.0.1:1";
    const AT_1_AND_9: &str = "--initial-advertise-peer-urls=http://127.0.0.1:1,http://127.0.0.1:9";
    let no_name = "couldn't find local name \"default\" in the initial cluster configuration";
    let no_url =
        "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ";
    for (arguments, text) in [
        (&["--initial-cluster=a=http://1.2.3.4:2380"][..], no_name),
        (&["--initial-cluster="], no_name),
        // etcd does not trim names.
        (&["--initial-cluster= default=http://127.0.0.1:1", AT_1], no_name),
        (&["--initial-cluster=default=http://127.0.0.1:1,b=", AT_1], no_url),
        (&["--initial-cluster=default=http://127.0.0.1:1,b", AT_1], no_url),
        (&["--initial-cluster=default=http://127.0.0.1:1,b=foo", AT_1], &format!("{no_url}foo")),
        (
            &["--name=x", "--initial-cluster=x=http://localhost:2381"],
            "--initial-cluster has x=http://localhost:2381 but missing from \
             --initial-advertise-peer-urls=http://localhost:2380 (resolved urls: \
             \"http://localhost:2380\" != \"http://localhost:2381\")",
        ),
        (
            &["--initial-cluster=default=http://127.0.0.1:1,b=http://127.0.0.1:2", AT_1_AND_9],
            "--initial-advertise-peer-urls has http://127.0.0.1:9 but missing from \
             --initial-cluster=default=http://127.0.0.1:1,default=http://127.0.0.1:9",
        ),
        (
            &["--initial-cluster=default=http://127.0.0.1:1,b=http://127.0.0.1:1", AT_1],
            "initial cluster b=http://127.0.0.1:1,default=http://127.0.0.1:1 has duplicate url",
        ),
    ] {
        assert_eq!(initial(arguments), Err(text.to_owned()), "{arguments:?}");
    }
}

#[test]
fn flags_about_tls_between_members_go_together_or_are_refused() {
    const HTTPS: &str = "--listen-peer-urls=https://127.0.0.1:1";
    for (arguments, text) in [
        (
            &[HTTPS][..],
            "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            &["--initial-advertise-peer-urls=https://a:1"],
            "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url \
             https://a:1 with HTTPS scheme",
        ),
        (&["--peer-cert-file=/c"], "KeyFile and CertFile must both be present[key: , cert: /c]"),
        (&["--peer-cert-file=/c", "--peer-key-file=/k"], "--peer-cert-file needs --peer-trusted"),
        (&["--peer-trusted-ca-file=/a"], "--peer-trusted-ca-file needs --peer-cert-file"),
        (&["--peer-client-cert-auth"], "--peer-client-cert-auth needs --peer-trusted-ca-file"),
        (
            &["--peer-auto-tls", "--peer-trusted-ca-file=/a"],
            "--peer-auto-tls cannot check client certificates: give --peer-cert-file",
        ),
        (
            &["--peer-auto-tls", "--peer-client-key-file=/k"],
            "KeyFile and CertFile must both be present[key: /k, cert: ]",
        ),
        (
            &["--peer-cert-allowed-cn=a"],
            "--peer-cert-allowed-cn needs --peer-trusted-ca-file, whose certificates it is about",
        ),
        (
            &["--peer-auto-tls", "--peer-cert-allowed-hostname=a"],
            "--peer-cert-allowed-hostname needs --peer-trusted-ca-file",
        ),
        (&["--peer-crl-file=a"], "--peer-crl-file needs --peer-trusted-ca-file"),
        (
            &[
                "--peer-trusted-ca-file=/a",
                "--peer-cert-allowed-hostname=x,y",
                "--peer-cert-allowed-cn=b,c",
            ],
            "AllowedCN and AllowedHostname are mutually exclusive (cns=[b c], hostnames=[x y])",
        ),
    ] {
        let (found, code) = error(arguments);
        assert!(found.starts_with(text) && code == 1, "{arguments:?}: {found}");
    }
    assert!(run(&[HTTPS, "--peer-auto-tls"], &[]).unwrap().peer_tls.is_some());
    let files = ["--peer-cert-file=/c", "--peer-key-file=/k", "--peer-trusted-ca-file=/a"];
    let listed = run(&[&files[..], &["--peer-crl-file=/r"]].concat(), &[]).unwrap();
    assert_eq!(listed.peer_tls.unwrap().listen.client_crl, Some("/r".into()));
    let files = ["--cert-file=/c", "--key-file=/k", "--trusted-ca-file=/a"];
    let listed = run(&[&files[..], &["--client-crl-file=/r"]].concat(), &[]).unwrap();
    assert_eq!(listed.tls.unwrap().client_crl, Some("/r".into()));
}

#[test]
fn tls_flags_go_together_or_are_refused() {
    const HTTPS: [&str; 2] =
        ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"];
    const FILES: [&str; 2] = ["--cert-file=/c", "--key-file=/k"];
    for (more, text) in [
        (
            &[][..],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (&["--cert-file=/c"], "KeyFile and CertFile must both be present[key: , cert: /c]"),
        (&["--auto-tls", "--self-signed-cert-validity=0"], "--self-signed-cert-validity should be"),
        (&["--auto-tls", "--trusted-ca-file=/a"], "--auto-tls cannot check client certificates"),
        (&["--client-cert-auth"], "--client-cert-auth needs --trusted-ca-file"),
        (
            &["--auto-tls", "--client-cert-allowed-hostname=a"],
            "--client-cert-allowed-hostname needs --trusted-ca-file",
        ),
        (&["--auto-tls", "--client-crl-file=a"], "--client-crl-file needs --trusted-ca-file"),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &["--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            &["--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"],
            "unexpected TLS cipher suite \"TLS_RSA_WITH_AES_128_CBC_SHA\"",
        ),
    ] {
        let (found, code) = error(&[&HTTPS[..], more].concat());
        assert!(found.starts_with(text) && code == 1, "{more:?}: {found}");
    }
    let (found, _code) = error(&["--trusted-ca-file=/a"]);
    assert!(found.starts_with("--trusted-ca-file needs --cert-file and --key-file"), "{found}");

    let config = run(&[&HTTPS[..], &FILES].concat(), &[]).unwrap();
    assert!(config.tls.is_some() && config.notices.iter().all(|n| !n.message.contains("scheme")));
    let config = run(&FILES, &[]).unwrap();
    let notice = config.notices.iter().find(|n| n.subject == "http://localhost:2379").unwrap();
    assert!(notice.message.contains("ignoring key and cert files"), "{notice:?}");
}

#[test]
fn the_environment_is_read_after_the_flags() {
    let config =
        run(&["--name=a"], &[("ETCD_SNAPSHOT_COUNT", "3"), ("ETCD_LISTEN_METRICS_URLS", "")])
            .unwrap();
    assert_eq!((config.name.as_str(), config.raft.snapshot_count), ("a", 3));
    assert_eq!(config.listen.metrics_urls, [], "an empty variable is an unset one");
    let error = run(&[], &[("ETCD_ELECTION_TIMEOUT", "zz")]).unwrap_err();
    assert_eq!(error.to_string(), "invalid value \"zz\" for ETCD_ELECTION_TIMEOUT: parse error");
    assert_eq!(error.exit_code(), 1);
    let error = run(&["--name=a"], &[("ETCD_NAME", "b")]).unwrap_err();
    assert!(error.to_string().ends_with("or disable flag): ETCD_NAME"), "{error}");
}

#[test]
fn unknown_variables_are_warned_of() {
    let variables =
        [("ETCD_FOO", "1"), ("ETCD_VERSION", "x"), ("ETCD_ENABLE_V2", "false"), ("HOME", "/")];
    let config = run(&[], &variables).unwrap();
    for (variable, text) in [
        ("ETCD_FOO", "unrecognized environment variable"),
        ("ETCD_VERSION", "cannot set special environment variable"),
        ("ETCD_ENABLE_V2", "unrecognized environment variable: the v2 API was removed in etcd 3.6"),
    ] {
        let found = config.notices.iter().find(|notice| notice.subject == variable);
        assert_eq!(found.map(|notice| notice.message.as_str()), Some(text));
    }
    assert!(!config.notices.iter().any(|notice| notice.subject == "HOME"));
}

fn with_file(
    yaml: &str,
    flags: &[&str],
    variables: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, yaml).unwrap();
    let mut arguments = vec!["--config-file", path.to_str().unwrap()];
    arguments.extend(flags);
    run(&arguments, variables)
}

#[test]
fn a_file_takes_the_place_of_flags_and_variables() {
    let config = with_file(
        "name: f\nsocket-options:\n  reuse-port: true\n",
        &["--name=a", "--max-txn-ops=3"],
        &[("ETCD_MAX_TXN_OPS", "4")],
    )
    .unwrap();
    assert_eq!((config.name.as_str(), config.limits.max_txn_ops), ("f", 128));
    assert!(config.listen.reuse_port);
    assert_eq!(with_file("{\"name\": \"j\"}", &[], &[]).unwrap().name, "j", "JSON");
    assert_eq!(with_file("", &[], &[]).unwrap().name, "default");
}

#[test]
fn a_file_is_read_strictly() {
    for (yaml, text) in [
        (
            "warning-apply-duration: 100ms",
            "warning-apply-duration: expected an integer of nanoseconds",
        ),
        ("heartbeat-interval: abc", "heartbeat-interval: expected a number, found \"abc\""),
        ("name: 5", "name: expected a text, found 5"),
        ("name: [a", "cannot be read as YAML"),
        ("log-outputs: stderr", "log-outputs: expected a sequence of texts"),
        ("- a", "expected keys and values"),
        (
            "discovery-config:\n  token: t\n",
            "--discovery-token=t is not supported: v3 discovery is not built",
        ),
    ] {
        let error = with_file(yaml, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(text), "{yaml}: {error}");
    }
    let config = with_file("bogus: 1\nclient-transport-security:\n  huh: 1\n", &[], &[]).unwrap();
    for key in ["bogus", "client-transport-security.huh"] {
        assert!(config.notices.iter().any(|notice| notice.subject == key), "{key}");
    }
    let missing = run(&["--config-file=/nonexistent/x"], &[]).unwrap_err();
    assert!(matches!(missing, ConfigError::File { .. }), "{missing}");
}
