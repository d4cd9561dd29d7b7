//! What comes from the environment and from a file.

use vetch_server::config::{Config, ConfigError};

use super::run;

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
