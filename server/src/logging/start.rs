//! From the configuration to a subscriber.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::format::ZapLayer;
use super::writer::{LineQueue, LogWriter};
use crate::config::{LogConfig, LogLevel, LogOutput};

/// Lines that may wait for a slow sink.
const QUEUE_BYTES: usize = 4 << 20;

/// Why logs could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file of `--log-outputs` cannot be appended to.
    #[error("log output {path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The writer's thread did not start.
    #[error("the log writer's thread: {0}")]
    Thread(std::io::Error),
}

/// Logs that have been opened; keep it until the end of the process.
pub struct Logging {
    /// To be made the default of the process, or of a thread.
    pub subscriber: Box<dyn tracing::Subscriber + Send + Sync>,
    /// Dropped last, so that the last lines are written.
    pub writer: LogWriter,
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging").field("writer", &self.writer).finish_non_exhaustive()
    }
}

/// Opens the outputs and starts their writer. The subscriber is the caller's to install: a process may
/// hold several nodes, and only the program knows which logs are its own.
pub fn start(config: &LogConfig) -> Result<Logging, LogError> {
    let sinks = config.outputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let queue = LineQueue::new(QUEUE_BYTES);
    let writer = LogWriter::start(queue.clone(), sinks).map_err(LogError::Thread)?;
    let layer = ZapLayer { format: config.format, queue }.with_filter(filter(config.level));
    let subscriber = Box::new(tracing_subscriber::registry().with(layer));
    Ok(Logging { subscriber, writer })
}

fn open(output: &LogOutput) -> Result<Box<dyn Write + Send>, LogError> {
    Ok(match output {
        LogOutput::Stderr => Box::new(std::io::stderr()),
        LogOutput::Stdout => Box::new(std::io::stdout()),
        LogOutput::File(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Box::new(file.map_err(|cause| LogError::File { path: path.clone(), cause })?)
        }
    })
}

/// Libraries are held to warnings: openraft alone logs several lines per entry at `debug`. It also warns
/// of each message that a peer did not get, ten times a second for a peer that is down; what the
/// user needs to know of peers the transport says, once.
fn filter(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
    };
    let consensus = if level == LogLevel::Debug { LevelFilter::WARN } else { LevelFilter::ERROR };
    Targets::new()
        .with_default(theirs)
        .with_target("openraft", consensus)
        .with_target("vetch", ours)
}
