//! Asks the server for its history once nobody disturbs it.

use super::connection::Connection;
use super::error::HarnessError;
use super::watchers::{Sessions, record};
use super::wire;
use crate::history::{
    Event, KeyRange, KeyValue, Operation, Recorder, Revision, read_lines, write_lines,
};
use crate::persisted::PersistedLog;
use crate::watch::{WatchResponse, WatchSession, WatchSpec};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// How long the server may take to tell its whole history.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything a run leaves behind for the checkers.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What clients did.
    pub history: Vec<Operation>,
    /// What watchers were sent.
    pub watches: Vec<WatchSession>,
    /// What the server told at the end, or before it was asked to forget.
    pub log: PersistedLog,
    /// What it held at the end.
    pub final_keys: Vec<KeyValue>,
}

impl Evidence {
    /// Writes `operations.jsonl`, `watches.jsonl`, `persisted.jsonl`, `keys.jsonl` and
    /// `compacted.jsonl`.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        write_lines(&folder.join("operations.jsonl"), &self.history)?;
        write_lines(&folder.join("watches.jsonl"), &self.watches)?;
        write_lines(&folder.join("persisted.jsonl"), self.log.events())?;
        write_lines(&folder.join("keys.jsonl"), &self.final_keys)?;
        write_lines(&folder.join("compacted.jsonl"), [self.log.compacted()])
    }

    /// Reads back what [`Self::write`] wrote, to check a run again.
    pub fn read(folder: &Path) -> std::io::Result<Self> {
        let events: Vec<Event> = read_lines(&folder.join("persisted.jsonl"))?;
        let mut log = PersistedLog::from_events(events);
        for revision in read_lines(&folder.join("compacted.jsonl"))? {
            log.compacted_at(revision);
        }
        Ok(Self {
            history: read_lines(&folder.join("operations.jsonl"))?,
            watches: read_lines(&folder.join("watches.jsonl"))?,
            log,
            final_keys: read_lines(&folder.join("keys.jsonl"))?,
        })
    }
}

/// Watches everything from `from` until the events of `until` have come. The collecting watch is
/// a session like any other and judged with them.
pub(super) async fn collect(
    connection: &Connection,
    from: Revision,
    until: Revision,
    recorder: &Recorder,
    sessions: &Sessions,
) -> Result<Vec<Event>, HarnessError> {
    let mut spec = WatchSpec::new(KeyRange::all());
    (spec.start, spec.prev_kv) = (Some(from), true);
    let session = sessions.begin(spec.clone());
    let (requests, receiver) = mpsc::channel(1);
    drop(requests.try_send(wire::watch_request(&spec)));
    let what = || format!("watch from {from} until {until}");
    let refused = |status| HarnessError::refused(what())(status);
    let mut client = connection.watch_client();
    let stream = client.watch(ReceiverStream::new(receiver)).await.map_err(refused)?;
    let mut messages = stream.into_inner();
    let mut collected = Vec::new();
    while collected.last().is_none_or(|event: &Event| event.revision() < until) {
        let message = match timeout(PATIENCE, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(refused(tonic::Status::aborted("the stream ended"))),
            Ok(Err(status)) => return Err(refused(status)),
            Err(_) => {
                let last = collected.last().map(Event::revision);
                let text = format!("nothing more came; the last event was of {last:?}");
                return Err(refused(tonic::Status::deadline_exceeded(text)));
            }
        };
        let record = record(message, recorder);
        sessions.record(session, record.clone());
        match record.response {
            WatchResponse::Events { events, .. } => {
                collected.extend(events.iter().map(Event::without_prev));
            }
            WatchResponse::Canceled { compact_revision, reason } => {
                let text = format!("canceled, compacted {compact_revision}: {reason}");
                return Err(refused(tonic::Status::aborted(text)));
            }
            WatchResponse::Created | WatchResponse::Progress => {}
        }
    }
    collected.retain(|event| event.revision() <= until);
    Ok(collected)
}
