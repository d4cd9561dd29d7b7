//! A sink that blocks must not block the program.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use vetch_server::config::{LogConfig, LogFormat, LogLevel, LogOutput};
use vetch_server::logging::{LineQueue, LogWriter, start};

const LIMIT: Duration = Duration::from_secs(30);

fn line(number: usize) -> Vec<u8> {
    format!("{{\"line\":{number},\"filler\":\"{}\"}}\n", "x".repeat(1000)).into_bytes()
}

#[test]
fn a_blocked_pipe_drops_lines_and_counts_them() {
    let (reader, pipe) = std::io::pipe().unwrap();
    let queue = LineQueue::new(100_000);
    let writer = LogWriter::start(queue.clone(), vec![Box::new(pipe)]).unwrap();
    // Nobody reads: the pipe takes 64 KiB, the queue 100 kB, and the rest must go nowhere at once.
    let began = Instant::now();
    let total = 10_000;
    for number in 0..total {
        queue.push(line(number));
    }
    assert!(began.elapsed() < LIMIT, "pushing must not wait for the pipe");
    let dropped = usize::try_from(queue.dropped()).unwrap();
    assert!(dropped > total / 2 && dropped < total, "{dropped}");
    assert!(!queue.flush(Duration::from_millis(1)), "nothing can be flushed into a full pipe");

    // Somebody reads again: what was queued arrives whole and in order, then the count.
    let reader = std::thread::spawn(move || {
        BufReader::new(reader).lines().collect::<Result<Vec<_>, _>>().unwrap()
    });
    assert!(queue.flush(LIMIT));
    queue.push(line(total));
    drop(writer);
    let lines: Vec<serde_json::Value> =
        reader.join().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["line"].as_u64()).collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&(total as u64)));
    let reported: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert_eq!(usize::try_from(reported).unwrap(), dropped);
    assert_eq!(numbers.len() + dropped, total + 1, "every line is written or counted");
}

#[test]
fn levels_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let outputs = vec![LogOutput::File(path.clone())];
    let config = LogConfig { level: LogLevel::Warn, format: LogFormat::Json, outputs };
    let logging = start(&config).unwrap();
    tracing::subscriber::with_default(logging.subscriber, || {
        tracing::info!(target: "vetch_server::x", "quiet");
        tracing::warn!(target: "vetch_server::x", "loud");
        tracing::info!(target: "openraft", "theirs");
    });
    drop(logging.writer);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"msg\":\"loud\""));
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let outputs = vec![LogOutput::File("/nonexistent/log".into())];
    let config = LogConfig { level: LogLevel::Info, format: LogFormat::Json, outputs };
    let error = start(&config).unwrap_err().to_string();
    assert!(error.starts_with("log output /nonexistent/log: "), "{error}");
}
