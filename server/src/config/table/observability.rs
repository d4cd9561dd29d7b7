//! Flags about metrics, logs and traces.

use crate::config::flags::Flag;
use crate::config::flags::Kind::{Bool, Duration, Int, OneOf, Sequence, Text, Urls};

const TRACES: &str = "distributed tracing is not built";

pub(super) const MONITORING: &[Flag] = &[
    Flag::new("enable-pprof", Bool, "false", "Serve profiles under /debug/pprof/.")
        .rejected("profiles over HTTP are not built; use perf on the process"),
    Flag::new(
        "metrics",
        OneOf(&["basic", "extensive"]),
        "basic",
        "'extensive' adds histograms of the RPCs' latency.",
    ),
    Flag::new(
        "listen-metrics-urls",
        Urls,
        "",
        "More URLs to listen on, for /metrics and the health endpoints only.",
    ),
];

pub(super) const LOGGING: &[Flag] = &[
    Flag::new("logger", OneOf(&["zap"]), "zap", "Only 'zap': structured lines with zap's keys."),
    Flag::new(
        "log-outputs",
        Sequence,
        "default",
        "Where lines go: default (stderr), stderr, stdout, or files; comma-separated.",
    ),
    Flag::new(
        "log-level",
        OneOf(&["debug", "info", "warn", "error", "panic", "fatal"]),
        "info",
        "Least level that is logged.",
    ),
    Flag::new("log-format", OneOf(&["json", "console"]), "json", "Form of the lines."),
    Flag::new("enable-log-rotation", Bool, "false", "Rotate a log file.")
        .rejected("log files are not rotated; use logrotate with copytruncate, or log to stderr"),
    Flag::new(
        "log-rotation-config-json",
        Text,
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        "Settings of the rotation.",
    )
    .ignored("log files are not rotated"),
    Flag::new(
        "warning-unary-request-duration",
        Duration,
        "300ms",
        "Unary requests slower than this are logged.",
    ),
];

pub(super) const TRACING: &[Flag] = &[
    Flag::new("enable-distributed-tracing", Bool, "false", "Export traces.").rejected(TRACES),
    Flag::new("distributed-tracing-address", Text, "localhost:4317", "Address of the collector.")
        .ignored(TRACES),
    Flag::new("distributed-tracing-service-name", Text, "etcd", "Name of the service in traces.")
        .ignored(TRACES),
    Flag::new("distributed-tracing-instance-id", Text, "", "Id of this process in traces.")
        .ignored(TRACES),
    Flag::new("distributed-tracing-sampling-rate", Int, "0", "Samples per million spans.")
        .ignored(TRACES),
];
