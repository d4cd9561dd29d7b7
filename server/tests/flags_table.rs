//! The table of flags against etcd's, and the effect of every supported flag.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "in a test a panic is the answer"
)]

use std::collections::BTreeSet;

use vetch_server::config::flags::{self, Category, Status};
use vetch_server::config::{Config, ConfigError, GATES, Loaded, Severity, help, load};

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    let variables: Vec<(String, String)> =
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    match load(&arguments, &variables)? {
        Loaded::Run(config) => Ok(*config),
        other => panic!("not a run: {other:?}"),
    }
}

fn run_file(yaml: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vetch.yaml");
    std::fs::write(&path, yaml).unwrap();
    run(&["--config-file", path.to_str().unwrap()], &[])
}

fn etcds_rows() -> Vec<Vec<&'static str>> {
    include_str!("flags.tsv").lines().skip(1).map(|line| line.split('\t').collect()).collect()
}

#[test]
fn every_flag_of_etcd_is_in_the_table_as_etcd_calls_it() {
    let mut ours: BTreeSet<&str> = flags::all().map(|flag| flag.name).collect();
    for row in etcds_rows() {
        let [kind, name, default, env, yaml] = row[..] else { panic!("{row:?}") };
        let Some(name) = name.strip_prefix("--") else { continue };
        if kind == "removed" {
            let name = name.trim_end_matches(['*', '-']).split(", ").next().unwrap();
            assert!(flags::find(name).is_none(), "{name} was removed");
            continue;
        }
        let flag = flags::find(name).unwrap_or_else(|| panic!("--{name} is missing"));
        ours.remove(name);
        if kind == "ignored" {
            assert!(matches!(flag.status, Status::Ignored(_)));
            continue;
        }
        if name != "version" {
            assert_eq!(flag.env(), env);
        }
        assert_eq!(flag.yaml, Some(yaml).filter(|yaml| !yaml.starts_with('(')), "--{name}");
        let default = default.split(" (flag default").next().unwrap();
        let unset_means_zero = ["backend-batch-interval", "backend-batch-limit"].contains(&name);
        let json = name == "log-rotation-config-json";
        assert!(unset_means_zero || json || flag.default == default, "--{name}: {default}");
    }
    assert_eq!(
        ours,
        BTreeSet::from(["auto-promote-learners", "memory-budget", "read-mode", "storage-engine"]),
        "Vetch's own"
    );
}

#[test]
fn every_gate_of_etcd_is_known() {
    let rows = etcds_rows();
    let theirs: Vec<(&str, bool)> = rows
        .iter()
        .filter(|row| row[0] == "feature-gate")
        .map(|row| (row[1], row[2] == "true"))
        .collect();
    assert_eq!(GATES.map(|info| (info.name, info.default)).to_vec(), theirs);
}

/// A flag, a value for it, the same in YAML, what must stand beside it, and what it shows in the
/// resolved configuration.
struct Effect {
    flag: &'static str,
    text: &'static str,
    yaml: &'static str,
    beside: &'static [(&'static str, &'static str)],
    show: fn(&Config) -> String,
    expected: &'static str,
}

macro_rules! effects {
    ($($flag:literal = $text:literal, yaml $yaml:literal, beside [$($name:literal = $value:literal),*],
       |$c:ident| $show:expr => $expected:literal;)*) => {
        &[$(Effect {
            flag: $flag, text: $text, yaml: $yaml, beside: &[$(($name, $value)),*],
            show: |$c| format!("{:?}", $show), expected: $expected,
        }),*]
    };
}

const EFFECTS: &[Effect] = effects! {
    "name" = "a", yaml "a", beside [], |c| (&c.name, &c.data_dir) => "(\"a\", \"a.etcd\")";
    "data-dir" = "d", yaml "d", beside [], |c| c.data_dir => "\"d\"";
    "snapshot-count" = "7", yaml "7", beside [], |c| c.raft.snapshot_count => "7";
    "snapshot-catchup-entries" = "8", yaml "8", beside [], |c| c.raft.snapshot_catchup_entries => "8";
    "heartbeat-interval" = "50", yaml "50", beside [], |c| c.raft.heartbeat_interval => "50ms";
    "election-timeout" = "2000", yaml "2000", beside [],
        |c| (c.raft.election_timeout, c.raft.request_timeout(), c.raft.min_lease_ttl_seconds()) => "(2s, 9s, 3)";
    "listen-peer-urls" = "http://127.0.0.1:1", yaml "http://127.0.0.1:1", beside [],
        |c| c.listen.peer_urls[0].as_str() => "\"http://127.0.0.1:1\"";
    "listen-client-urls" = "http://[::1]:2,http://127.0.0.1:2", yaml "http://[::1]:2,http://127.0.0.1:2",
        beside ["advertise-client-urls" = "http://a:2"],
        |c| c.listen.client_urls.iter().map(vetch_server::config::Url::host).collect::<Vec<_>>() => "[\"127.0.0.1\", \"::1\"]";
    "listen-client-http-urls" = "unix:///x", yaml "unix:///x", beside [],
        |c| c.listen.client_http_urls[0].address() => "\"/x\"";
    "listen-metrics-urls" = "http://localhost:2381", yaml "http://localhost:2381", beside [],
        |c| c.listen.metrics_urls[0].port() => "Some(2381)";
    "quota-backend-bytes" = "-1", yaml "-1", beside [], |c| c.storage.quota => "Unlimited";
    "max-txn-ops" = "9", yaml "9", beside [], |c| c.limits.max_txn_ops => "9";
    "max-request-bytes" = "1000", yaml "1000", beside [],
        |c| (c.limits.max_request_bytes, c.limits.grpc_receive_bytes()) => "(1000, 525288)";
    "max-concurrent-streams" = "10", yaml "10", beside [], |c| c.limits.max_concurrent_streams => "10";
    "grpc-keepalive-min-time" = "1s", yaml "1000000000", beside [], |c| c.keepalive.min_time => "Some(1s)";
    "grpc-keepalive-interval" = "0", yaml "0", beside [], |c| c.keepalive.interval => "None";
    "grpc-keepalive-timeout" = "1m", yaml "60000000000", beside [], |c| c.keepalive.timeout => "Some(60s)";
    "socket-reuse-port" = "true", yaml "true", beside [], |c| c.listen.reuse_port => "true";
    "feature-gates" = "AllAlpha=true", yaml "AllAlpha=true", beside [],
        |c| c.feature_gates.iter().filter(|(info, on)| *on != info.default).count() => "8";
    "initial-advertise-peer-urls" = "http://a:1", yaml "http://a:1", beside [],
        |c| c.bootstrap.advertise_peer_urls[0].as_str() => "\"http://a:1\"";
    "initial-cluster" = "default=http://a:1", yaml "default=http://a:1",
        beside ["initial-advertise-peer-urls" = "http://a:1"],
        |c| c.bootstrap.cluster => "Listed(\"default=http://a:1\")";
    "initial-cluster-state" = "existing", yaml "existing", beside [], |c| c.bootstrap.state => "Existing";
    "initial-cluster-token" = "t", yaml "t", beside [], |c| c.bootstrap.token => "\"t\"";
    "advertise-client-urls" = "http://a:1", yaml "http://a:1", beside [],
        |c| c.bootstrap.advertise_client_urls[0].as_str() => "\"http://a:1\"";
    "auto-compaction-retention" = "5m", yaml "5m", beside [], |c| c.compaction.auto => "Periodic(300s)";
    "auto-compaction-mode" = "revision", yaml "revision", beside ["auto-compaction-retention" = "5"],
        |c| c.compaction.auto => "Revisions(5)";
    "cert-file" = "c", yaml "c", beside ["key-file" = "k"],
        |c| c.tls.as_ref().unwrap().certificate => "Files { cert: \"c\", key: \"k\" }";
    "key-file" = "k", yaml "k", beside ["cert-file" = "c"],
        |c| c.tls.as_ref().unwrap().certificate => "Files { cert: \"c\", key: \"k\" }";
    "trusted-ca-file" = "a", yaml "a", beside ["cert-file" = "c", "key-file" = "k"],
        |c| c.tls.as_ref().unwrap().client_ca.as_ref().unwrap() => "\"a\"";
    "auto-tls" = "true", yaml "true", beside [],
        |c| c.tls.as_ref().unwrap().certificate => "SelfSigned { years: 1 }";
    "peer-cert-file" = "c", yaml "c", beside ["peer-key-file" = "k", "peer-trusted-ca-file" = "a"],
        |c| c.peer_tls.as_ref().unwrap().listen.certificate => "Files { cert: \"c\", key: \"k\" }";
    "peer-key-file" = "k", yaml "k", beside ["peer-cert-file" = "c", "peer-trusted-ca-file" = "a"],
        |c| c.peer_tls.as_ref().unwrap().identity => "Some((\"c\", \"k\"))";
    "peer-trusted-ca-file" = "a", yaml "a", beside ["peer-cert-file" = "c", "peer-key-file" = "k"],
        |c| (&c.peer_tls.as_ref().unwrap().trust, &c.peer_tls.as_ref().unwrap().listen.client_ca)
            => "(Authorities(\"a\"), Some(\"a\"))";
    "peer-cert-allowed-cn" = "m1,m2", yaml "[m1, m2]", beside ["peer-cert-file" = "c", "peer-key-file" = "k",
        "peer-trusted-ca-file" = "a"],
        |c| c.peer_tls.as_ref().unwrap().listen.allowed => "Common([\"m1\", \"m2\"])";
    "peer-cert-allowed-hostname" = "m1", yaml "[m1]", beside ["peer-cert-file" = "c", "peer-key-file" = "k",
        "peer-trusted-ca-file" = "a"],
        |c| c.peer_tls.as_ref().unwrap().listen.allowed => "Hosts([\"m1\"])";
    "client-cert-allowed-hostname" = "m1", yaml "[m1]", beside ["cert-file" = "c", "key-file" = "k",
        "trusted-ca-file" = "a"],
        |c| c.tls.as_ref().unwrap().allowed => "Hosts([\"m1\"])";
    "peer-client-cert-file" = "d", yaml "d", beside ["peer-client-key-file" = "l", "peer-cert-file" = "c",
        "peer-key-file" = "k", "peer-trusted-ca-file" = "a"],
        |c| c.peer_tls.as_ref().unwrap().identity => "Some((\"d\", \"l\"))";
    "peer-client-key-file" = "l", yaml "l", beside ["peer-client-cert-file" = "d", "peer-cert-file" = "c",
        "peer-key-file" = "k", "peer-trusted-ca-file" = "a"],
        |c| c.peer_tls.as_ref().unwrap().identity => "Some((\"d\", \"l\"))";
    "peer-auto-tls" = "true", yaml "true", beside [],
        |c| c.peer_tls.as_ref().unwrap().trust => "Anyone";
    "self-signed-cert-validity" = "3", yaml "3", beside ["auto-tls" = "true"],
        |c| c.tls.as_ref().unwrap().certificate => "SelfSigned { years: 3 }";
    "cipher-suites" = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", yaml "[TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305]",
        beside ["auto-tls" = "true"], |c| c.tls.as_ref().unwrap().suites => "Some([EcdheRsaChaCha20])";
    "tls-min-version" = "TLS1.3", yaml "TLS1.3", beside ["auto-tls" = "true"],
        |c| c.tls.as_ref().unwrap().min_version => "Tls13";
    "tls-max-version" = "TLS1.2", yaml "TLS1.2", beside ["auto-tls" = "true"],
        |c| c.tls.as_ref().unwrap().max_version => "Tls12";
    "cors" = "http://a:1", yaml "http://a:1", beside [], |c| c.http.cors => "Only([\"http://a:1\"])";
    "host-whitelist" = "a,b", yaml "a,b", beside [], |c| c.http.host_whitelist => "Only([\"a\", \"b\"])";
    "metrics" = "extensive", yaml "extensive", beside [], |c| c.metrics => "Extensive";
    "log-outputs" = "stdout,/l", yaml "[stdout, /l]", beside [], |c| c.log.outputs => "[Stdout, File(\"/l\")]";
    "log-level" = "panic", yaml "panic", beside [], |c| c.log.level => "Error";
    "log-format" = "console", yaml "console", beside [], |c| c.log.format => "Console";
    "warning-unary-request-duration" = "1ms", yaml "1000000", beside [], |c| c.warnings.unary_request => "1ms";
    "warning-apply-duration" = "2ms", yaml "2000000", beside [], |c| c.warnings.apply => "2ms";
    "compaction-batch-limit" = "5", yaml "5", beside [], |c| c.compaction.batch_limit => "5";
    "compaction-sleep-interval" = "1s", yaml "1000000000", beside [], |c| c.compaction.sleep_interval => "1s";
    "corrupt-check-time" = "1h", yaml "3600000000000", beside [], |c| c.corruption.every => "Some(3600s)";
    "compact-hash-check-time" = "3s", yaml "3000000000", beside ["feature-gates" = "CompactHashCheck=true"],
        |c| c.corruption.compactions_every => "Some(3s)";
    "watch-progress-notify-interval" = "5s", yaml "5000000000", beside [],
        |c| c.watch_progress_notify_interval => "5s";
    "discovery-srv" = "example.org", yaml "example.org", beside [],
        |c| c.bootstrap.cluster => "Discovered(Discovery { domain: \"example.org\", service: \"\", name_servers: [] })";
    "discovery-srv-name" = "prod", yaml "prod", beside ["discovery-srv" = "example.org"],
        |c| c.bootstrap.cluster => "Discovered(Discovery { domain: \"example.org\", service: \"prod\", name_servers: [] })";
    "strict-reconfig-check" = "false", yaml "false", beside [], |c| c.membership.strict_reconfig_check => "false";
    "max-learners" = "3", yaml "3", beside [], |c| c.membership.max_learners => "3";
    "auto-promote-learners" = "true", yaml "true", beside [], |c| c.membership.auto_promote_learners => "true";
    "force-new-cluster" = "true", yaml "true", beside [], |c| c.bootstrap.force_new_cluster => "true";
    "storage-engine" = "sled", yaml "sled", beside [], |c| c.storage.engine => "Sled";
    "read-mode" = "leader-lease", yaml "leader-lease", beside [], |c| c.raft.read_mode => "LeaderLease";
    "memory-budget" = "1000", yaml "1000", beside [], |c| c.storage.memory_budget_bytes => "1000";
};

/// The file's key of a flag and a value, nested where the path has dots.
fn yaml_line(flag: &str, value: &str) -> String {
    let path = flags::find(flag).unwrap().yaml.unwrap();
    let is_number = value.parse::<i64>().is_ok() && flag != "auto-compaction-retention";
    let bare = is_number || value.starts_with('[') || ["true", "false"].contains(&value);
    let quoted = if bare { value.to_owned() } else { format!("'{value}'") };
    match path.split_once('.') {
        Some((section, key)) => format!("{section}:\n  {key}: {quoted}\n"),
        None => format!("{path}: {quoted}\n"),
    }
}

#[test]
fn every_supported_flag_has_its_effect_by_flag_variable_and_file() {
    for effect in EFFECTS {
        let Effect { flag, text, yaml, beside, show, expected } = effect;
        let mut arguments = vec![format!("--{flag}={text}")];
        let mut variables = vec![(flags::find(flag).unwrap().env(), (*text).to_owned())];
        let mut file = yaml_line(flag, yaml);
        let mut base = Vec::new();
        for (name, value) in *beside {
            base.push(format!("--{name}={value}"));
            variables.push((flags::find(name).unwrap().env(), (*value).to_owned()));
            let line = yaml_line(name, value);
            // A section stands in a file once.
            file = match line.split_once(":\n  ") {
                Some((section, key)) if file.starts_with(section) => format!("{file}  {key}"),
                Some(_) | None => file + &line,
            };
        }
        // What stands beside initial-cluster is by its check the same URL.
        if *flag != "initial-cluster" {
            let without = load(&base, &[]).map(|loaded| match loaded {
                Loaded::Run(config) => show_default(*show, &config),
                other => panic!("not a run: {other:?}"),
            });
            assert_ne!(without, Ok((*expected).to_owned()), "--{flag} must change something");
        }
        arguments.extend(base);
        let by_flag = match load(&arguments, &[]) {
            Ok(Loaded::Run(config)) => show(&config),
            other => panic!("--{flag}: {other:?}"),
        };
        assert_eq!(by_flag, *expected, "--{flag}");
        let by_variable = match load(&[], &variables) {
            Ok(Loaded::Run(config)) => show(&config),
            other => panic!("variable of --{flag}: {other:?}"),
        };
        assert_eq!(by_variable, *expected, "variable of --{flag}");
        let by_file = run_file(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(show(&by_file), *expected, "{file}");
    }
}

/// Without the flag there may be nothing to show: an empty list of URLs.
fn show_default(show: fn(&Config) -> String, config: &Config) -> String {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| show(config))).unwrap_or_default()
}

#[test]
fn no_supported_flag_is_left_out() {
    let shown: BTreeSet<&str> = EFFECTS.iter().map(|effect| effect.flag).collect();
    // client-cert-auth asks for trusted-ca-file, which alone asks for certificates, as in etcd.
    // Those about revocation stand in no file.
    let apart = [
        "config-file",
        "version",
        "logger",
        "client-cert-auth",
        "peer-client-cert-auth",
        "client-crl-file",
        "peer-crl-file",
    ];
    for flag in flags::all().filter(|flag| flag.status == Status::Supported) {
        assert!(shown.contains(flag.name) || apart.contains(&flag.name), "--{}", flag.name);
    }
}

/// A value that is not the default, for flags that must refuse it.
fn other_value(flag: &flags::Flag) -> &'static str {
    match flag.kind {
        flags::Kind::Bool if flag.default == "true" => "false",
        flags::Kind::Bool => "true",
        flags::Kind::Duration => "77s",
        flags::Kind::OneOf(words) => words
            .iter()
            .find(|word| **word != flag.default && !word.is_empty())
            .unwrap_or(&words[0]),
        _number_or_text => "77",
    }
}

#[test]
fn what_is_not_built_refuses_to_start_and_says_why() {
    for flag in flags::all() {
        let Status::Rejected(reason) = flag.status else { continue };
        let error = run(&[&format!("--{}={}", flag.name, other_value(flag))], &[]).unwrap_err();
        assert!(error.to_string().contains(reason), "--{}: {error}", flag.name);
        assert_eq!(error.exit_code(), 1);
        run(&[&format!("--{}={}", flag.name, flag.default)], &[])
            .unwrap_or_else(|error| panic!("the default of --{}: {error}", flag.name));
    }
}

#[test]
fn what_has_no_effect_is_said_so() {
    for (category, flags) in flags::categories() {
        for flag in *flags {
            let Status::Ignored(reason) = flag.status else { continue };
            let value = if *category == Category::Legacy { "true" } else { other_value(flag) };
            let value = if flag.name == "enable-grpc-gateway" { "true" } else { value };
            let config = run(&[&format!("--{}={value}", flag.name)], &[]).unwrap();
            let said = config.notices.iter().any(|notice| {
                notice.severity == Severity::Warn
                    && notice.subject == format!("--{}", flag.name)
                    && notice.message.contains(reason)
            });
            assert!(said, "--{}", flag.name);
            let deprecated = flag
                .deprecated
                .is_none_or(|text| config.notices.iter().any(|notice| notice.message == text));
            assert!(deprecated, "--{}", flag.name);
        }
    }
}

#[test]
fn the_missing_gateway_is_said_once_unless_it_is_switched_off() {
    let count = |config: &Config| {
        config.notices.iter().filter(|notice| notice.subject == "--enable-grpc-gateway").count()
    };
    assert_eq!(count(&run(&[], &[]).unwrap()), 1);
    assert_eq!(count(&run(&["--enable-grpc-gateway=false"], &[]).unwrap()), 0);
}

#[test]
fn help_names_every_flag() {
    let help = help();
    for (category, flags) in flags::categories() {
        for flag in flags.iter().filter(|_| *category != Category::Legacy) {
            assert!(help.contains(&format!("\n  --{} '{}'\n", flag.name, flag.default)));
        }
    }
}
