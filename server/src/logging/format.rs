//! Lines as zap writes them.

use std::fmt::Write;

use chrono::{DateTime, Local};
use serde_json::Value;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
use super::writer::LineQueue;
use crate::config::LogFormat;

/// Turns events into lines for a queue.
#[derive(Debug)]
pub(super) struct ZapLayer {
    pub(super) format: LogFormat,
    pub(super) queue: LineQueue,
}

impl<S: Subscriber> Layer<S> for ZapLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = line(self.format, Local::now(), event.metadata(), &fields);
        self.queue.push(line.into_bytes());
    }
}

fn line(
    format: LogFormat,
    now: DateTime<Local>,
    metadata: &Metadata<'_>,
    fields: &Fields,
) -> String {
    let level = level(*metadata.level());
    let caller = caller(metadata);
    match format {
        LogFormat::Json => json(level, &time(now), &caller, fields),
        LogFormat::Console => console(level, &time(now), &caller, fields),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// RFC 3339 with microseconds; `Z` for UTC, else `+0100`: etcd's layout.
fn time(now: DateTime<Local>) -> String {
    let zone = if now.offset().local_minus_utc() == 0 { "Z" } else { "%z" };
    now.format(&format!("%Y-%m-%dT%H:%M:%S%.6f{zone}")).to_string()
}

/// The last folder, the file and the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let Some(file) = metadata.file() else { return metadata.target().to_owned() };
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[start..], metadata.line().unwrap_or(0))
}

/// By hand, as the order of the keys is zap's.
fn json(level: &str, time: &str, caller: &str, fields: &Fields) -> String {
    let message = Value::from(fields.message.as_str());
    let caller = Value::from(caller);
    let mut line =
        format!("{{\"level\":\"{level}\",\"ts\":\"{time}\",\"caller\":{caller},\"msg\":{message}");
    for (name, value) in &fields.others {
        let name = Value::from(name.as_str());
        // Writing to a String cannot fail.
        let _ok = write!(line, ",{name}:{value}");
    }
    line.push_str("}\n");
    line
}

fn console(level: &str, time: &str, caller: &str, fields: &Fields) -> String {
    let message = fields.message.replace('\n', "\\n");
    let mut line = format!("{time}\t{level}\t{caller}\t{message}");
    if !fields.others.is_empty() {
        line.push('\t');
        line.push_str(&Value::Object(fields.others.clone()).to_string());
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn lines(format: LogFormat) -> Vec<String> {
        let queue = LineQueue::new(100);
        let layer = ZapLayer { format, queue: queue.clone() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(data_dir = "d\"x", count = 3, on = true, "two\nlines");
        });
        queue.drain().into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn a_json_line_has_zaps_keys_in_zaps_order() {
        let line = &lines(LogFormat::Json)[0];
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["msg"], "two\nlines");
        assert_eq!(
            (&value["data-dir"], &value["count"], &value["on"]),
            (&"d\"x".into(), &3.into(), &true.into())
        );
        assert!(value["caller"].as_str().unwrap().starts_with("logging/format.rs:"), "{line}");
        let time = value["ts"].as_str().unwrap();
        assert!(
            DateTime::parse_from_str(&time.replace('Z', "+0000"), "%Y-%m-%dT%H:%M:%S%.6f%z")
                .is_ok(),
            "{time}"
        );
        let at = |key: &str| line.find(&format!("\"{key}\":")).unwrap();
        assert!(at("level") < at("ts") && at("ts") < at("caller") && at("caller") < at("msg"));
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_console_line_is_tab_separated() {
        let line = &lines(LogFormat::Console)[0];
        let parts: Vec<&str> = line.trim_end().split('\t').collect();
        assert_eq!((parts.len(), parts[1], parts[3]), (5, "warn", "two\\nlines"));
    }
}
