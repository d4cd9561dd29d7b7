//! What `/metrics` shows against etcd's table: names, types, labels, buckets.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vetch_server::config::{Loaded, load};
use vetch_server::metrics::{Identity, Metrics, NOT_EXPORTED, Operation, markdown};

/// One family of an exposition.
#[derive(Debug, Default)]
struct Shown {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    bounds: BTreeSet<String>,
    samples: usize,
}

fn new_metrics(arguments: &[&str]) -> Metrics {
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    let Loaded::Run(config) = load(&arguments, &[]).unwrap() else { panic!("not a run") };
    let metrics = Metrics::new(&config);
    metrics.identify(Identity { member_id: 0xab });
    metrics
}

/// Everything that appears with its first labels, so that the table can be compared whole.
fn touch(metrics: &Metrics) {
    let took = Duration::from_millis(100);
    metrics.requests.applied(Operation::Put, true, took);
    metrics.requests.range.observe(true, took);
    metrics.requests.range_execution.observe(true, took);
    metrics.clients.count(false, Some("3.7"));
    metrics.stream_failures.watch.inc();
    metrics.health_checked("readyz", "non_learner", true);
    metrics.set_alarms([(0xab, "NOSPACE")]);
    let peer = metrics.peers.of(0xcd);
    peer.set_active(true);
    peer.observe_round_trip(took);
    metrics.set_peers(0xab, [0xab, 0xcd]);
    metrics.set_cluster_version("3.7");
}

fn parse(text: &str) -> BTreeMap<String, Shown> {
    let mut families: BTreeMap<String, Shown> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.help.is_empty(), "{name} is declared twice");
            help.clone_into(&mut family.help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kind.clone_into(&mut families.get_mut(name).unwrap().kind);
        } else {
            add_sample(&mut families, line);
        }
    }
    families
}

fn add_sample(families: &mut BTreeMap<String, Shown>, line: &str) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let base = name.strip_suffix(suffix)?;
        families.get(base).is_some_and(|family| family.kind == "histogram").then_some(base)
    });
    let family = families.get_mut(base.unwrap_or(name)).unwrap_or_else(|| panic!("{line}"));
    family.samples += 1;
    for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
        let (label, value) = label.split_once("=\"").unwrap();
        if label == "le" {
            family.bounds.insert(value.trim_end_matches('"').to_owned());
        } else {
            family.labels.insert(label.to_owned());
        }
    }
}

fn etcds() -> Vec<Vec<&'static str>> {
    include_str!("metrics.tsv").lines().skip(1).map(|line| line.split('\t').collect()).collect()
}

/// The finite bounds of `exponential from 0.001 x2, 14 buckets`.
fn bounds(text: &str) -> Vec<f64> {
    if text == "default" {
        return vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    }
    let rest = text.strip_prefix("exponential from ").unwrap();
    let (from, count) = rest.strip_suffix(" buckets").unwrap().split_once(" x2, ").unwrap();
    let from: f64 = from.parse().unwrap();
    (0..count.parse().unwrap()).map(|power| from * 2_f64.powi(power)).collect()
}

fn assert_same_bounds(name: &str, shown: &BTreeSet<String>, expected: &[f64]) {
    let mut found: Vec<f64> =
        shown.iter().filter(|bound| *bound != "+Inf").map(|bound| bound.parse().unwrap()).collect();
    found.sort_by(f64::total_cmp);
    assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= expected * 1e-9, "{name}: {found} {expected}");
    }
    assert!(shown.contains("+Inf"), "{name}");
}

#[test]
fn what_is_shown_is_as_etcds_and_the_rest_has_a_reason() {
    let metrics = new_metrics(&["--metrics=extensive"]);
    touch(&metrics);
    let mut shown = parse(&metrics.encode().unwrap());
    for row in etcds() {
        let [name, kind, labels, buckets, _idle] = row[..] else { panic!("{row:?}") };
        let reason = NOT_EXPORTED.iter().find(|missing| missing.covers(name));
        let Some(family) = shown.remove(name) else {
            assert!(reason.is_some(), "{name} is neither shown nor listed as missing");
            continue;
        };
        assert!(reason.is_none(), "{name} is shown and listed as missing");
        assert_eq!(family.kind, kind, "{name}");
        let labels: BTreeSet<String> =
            labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
        assert_eq!(family.labels, labels, "{name}");
        if kind == "histogram" {
            assert_same_bounds(name, &family.bounds, &bounds(buckets));
        }
        assert!(family.samples > 0, "{name}");
    }
    assert!(shown.keys().all(|name| name.starts_with("vetch_")), "{:?}", shown.keys());
}

#[test]
fn what_etcd_shows_when_idle_is_shown_when_idle() {
    let metrics = new_metrics(&[]);
    metrics.set_peers(0xab, [0xab]);
    metrics.set_cluster_version("3.7");
    let shown = parse(&metrics.encode().unwrap());
    // With their first label values: after the first request, or with --metrics extensive.
    let later = [
        "etcd_server_apply_duration_seconds",
        "etcd_server_client_requests_total",
        "etcd_server_range_duration_seconds",
        "etcd_server_request_duration_seconds",
        "grpc_server_handling_seconds",
    ];
    for row in etcds().iter().filter(|row| row[4] == "y") {
        let name = row[0];
        let missing = NOT_EXPORTED.iter().any(|missing| missing.covers(name));
        let expected = !missing && !later.contains(&name);
        assert_eq!(shown.contains_key(name), expected, "{name}");
    }
}

#[test]
fn every_method_and_code_is_there_from_the_start() {
    let text = new_metrics(&[]).encode().unwrap();
    let line = "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"HashKV\",\
                grpc_service=\"etcdserverpb.Maintenance\",grpc_type=\"unary\"} 0";
    assert!(text.lines().any(|found| found == line));
    let line = "grpc_server_started_total{grpc_method=\"RangeStream\",\
                grpc_service=\"etcdserverpb.KV\",grpc_type=\"server_stream\"} 0";
    assert!(text.lines().any(|found| found == line));
}

#[test]
fn figures_of_the_process_are_plausible() {
    let text = new_metrics(&[]).encode().unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - value("process_start_time_seconds");
    assert!((-5.0..3600.0 * 24.0).contains(&age), "{age}");
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_max_fds") >= value("process_open_fds"));
}

#[test]
fn a_refresh_runs_before_every_scrape() {
    let metrics = new_metrics(&[]);
    metrics.set_refresh(|metrics| {
        metrics.server.proposals_applied.inc();
    });
    metrics.encode().unwrap();
    let text = metrics.encode().unwrap();
    assert!(text.contains("\netcd_server_proposals_applied_total 2\n"));
}

#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let metrics = new_metrics(&["--metrics=extensive"]);
    touch(&metrics);
    let shown = parse(&metrics.encode().unwrap());
    let rows: Vec<_> =
        shown.into_iter().map(|(name, family)| (name, family.kind, family.help)).collect();
    let expected = markdown(&rows);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "run: UPDATE_DOCS=1 cargo test -p vetch-server --test metrics_table"
    );
}
