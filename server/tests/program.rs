//! The executable itself: what it prints and how it exits.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn vetch(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vetch"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn version_begins_as_etcds() {
    let output = vetch(&["--version"], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "etcd Version: 3.7.1");
    assert_eq!(lines[1], format!("Vetch Version: {}", env!("CARGO_PKG_VERSION")));
    assert!(lines[2].starts_with("Git SHA: ") && lines[3].starts_with("OS/Arch: "), "{text}");
}

#[test]
fn help_is_printed_and_is_no_failure() {
    let output = vetch(&["--help"], &[]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), vetch_server::config::help());
}

#[test]
fn a_command_line_that_cannot_be_read_shows_usage_and_exits_2() {
    let output = vetch(&["--bogus"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.starts_with("flag provided but not defined: -bogus\nUsage:\n"), "{text}");
}

#[test]
fn a_url_that_cannot_be_read_shows_the_flag_and_usage_and_exits_2() {
    let output = vetch(&["--listen-client-urls=localhost:2379"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    let reason = "invalid value \"localhost:2379\" for flag -listen-client-urls: ";
    assert!(text.starts_with(reason) && text.contains("\nUsage:\n"), "{text}");
}

#[test]
fn a_configuration_file_that_cannot_be_read_is_named_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vetch.yaml");
    let named = format!("configuration file {}: ", path.display());
    for (content, reason) in [
        (None, "No such file or directory"),
        (Some("name: [\n"), "cannot be read as YAML: "),
        (Some("election-timeout: soon\n"), ""),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let output = vetch(&["--config-file", &path.display().to_string()], &[]);
        assert_eq!(output.status.code(), Some(1), "{content:?}");
        let text = stderr(&output);
        let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&line["level"], &line["msg"]),
            (&"error".into(), &"failed to verify flags".into())
        );
        let error = line["error"].as_str().unwrap();
        assert!(error.starts_with(&format!("{named}{reason}")), "{error}");
    }
}

#[test]
fn a_refused_configuration_is_one_json_line_and_exits_1() {
    for (arguments, variables, expected) in [
        (&["--heartbeat-interval=0"][..], &[][..], "--heartbeat-interval must be >0 (set to 0ms)"),
        (
            &[],
            &[("ETCD_WAL_DIR", "wal")],
            "--wal-dir=wal is not supported: the log lies in the data directory",
        ),
        (&["--log-outputs=/nonexistent/x"], &[], "log output /nonexistent/x: "),
        (&["grpc-proxy", "start"], &[], "the gRPC proxy is not built"),
    ] {
        let output = vetch(arguments, variables);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = stderr(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["error"].as_str().unwrap().starts_with(expected), "{text}");
    }
}

/// systemd, or whoever else named a socket, is told exactly once, and only when the member serves.
#[test]
fn systemd_is_told_when_the_member_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let client = folder.path().join("client");
    let mut member = Command::new(env!("CARGO_BIN_EXE_vetch"))
        .env_clear()
        .env("NOTIFY_SOCKET", &path)
        .arg(format!("--data-dir={}", folder.path().join("data").display()))
        .arg("--listen-peer-urls=http://127.0.0.1:0")
        .arg(format!("--listen-client-urls=unix://{}", client.display()))
        .arg("--advertise-client-urls=http://localhost:2379")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut message = [0; 64];
    let received = systemd.recv(&mut message);
    let connected = UnixStream::connect(&client);
    member.kill().unwrap();
    member.wait().unwrap();
    assert_eq!(&message[..received.unwrap()], b"READY=1");
    connected.unwrap();
    systemd.set_nonblocking(true).unwrap();
    assert!(systemd.recv(&mut message).is_err(), "told once");
}
