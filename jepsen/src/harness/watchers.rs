//! Clients that watch, and resume where they were after every restart.

use super::connection::Connection;
use super::gate::Entrance;
use super::wire;
use crate::history::{Event, KeyRange, Recorder, Revision};
use crate::watch::{Filter, WatchRecord, WatchResponse, WatchSession, WatchSpec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use vetch_proto::etcdserverpb::{self as pb};

/// All sessions of a run, in order of their beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Vec<WatchSession>>>);

impl Sessions {
    pub(crate) fn begin(&self, spec: WatchSpec) -> usize {
        self.with(|sessions| {
            let id = sessions.len();
            sessions.push(WatchSession { id: id as u64, spec, records: Vec::new() });
            id
        })
    }

    pub(crate) fn record(&self, session: usize, record: WatchRecord) {
        self.with(|sessions| sessions[session].records.push(record));
    }

    pub(crate) fn all(&self) -> Vec<WatchSession> {
        self.with(|sessions| sessions.clone())
    }

    fn with<T>(&self, access: impl FnOnce(&mut Vec<WatchSession>) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A message of the server, in the history's words.
pub(crate) fn record(response: pb::WatchResponse, recorder: &Recorder) -> WatchRecord {
    let revision = wire::revision(response.header.as_ref());
    let told = if response.canceled {
        WatchResponse::Canceled {
            compact_revision: Revision(response.compact_revision),
            reason: response.cancel_reason,
        }
    } else if response.created {
        WatchResponse::Created
    } else if response.events.is_empty() {
        WatchResponse::Progress
    } else {
        let events = response.events.into_iter().map(wire::event).collect();
        WatchResponse::Events { events, fragment: response.fragment }
    };
    WatchRecord { received: recorder.stamp(), revision, response: told }
}

/// One watcher over all restarts.
pub(super) struct Watcher {
    spec: WatchSpec,
    /// Begins each session at a random revision of the past instead of where it was.
    from_the_past: bool,
    random: StdRng,
    recorder: Recorder,
    sessions: Sessions,
    /// First revision that has not been fully received.
    next: Option<Revision>,
    /// History below this is known to be gone.
    floor: Revision,
    told: watch::Sender<Revision>,
}

impl Watcher {
    /// The `number` decides what kind of watcher it is.
    pub(super) fn new(number: u32, seed: u64, recorder: Recorder, sessions: Sessions) -> Self {
        let range = match number % 4 {
            0 | 3 => KeyRange::between("key", "kez"),
            1 => KeyRange::single("key1"),
            _ => KeyRange::between("key0", "key3"),
        };
        let mut spec = WatchSpec::new(range);
        spec.prev_kv = number.is_multiple_of(2);
        spec.fragment = number % 3 == 1;
        spec.progress_notify = number.is_multiple_of(3);
        spec.filters.extend(match number {
            2 => Some(Filter::NoPut),
            5 => Some(Filter::NoDelete),
            _ => None,
        });
        spec.start = (number == 0).then_some(Revision(2));
        Self {
            next: spec.start,
            spec,
            from_the_past: number >= 4,
            random: StdRng::seed_from_u64(seed ^ (u64::from(number) << 40)),
            recorder,
            sessions,
            floor: Revision(2),
            told: watch::Sender::new(Revision(0)),
        }
    }

    /// The revision up to which this watcher has been told everything.
    pub(super) fn told(&self) -> watch::Receiver<Revision> {
        self.told.subscribe()
    }

    /// Watches while the server is up, until the run ends.
    pub(super) async fn run(mut self, endpoint: String, mut entrance: Entrance) {
        while let Some(epoch) = entrance.open().await {
            let ended = tokio::select! {
                () = entrance.closed(epoch) => true,
                () = self.session(&endpoint) => false,
            };
            // A session that ends while the server is up was canceled or cut: begin the next.
            if !ended {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn session(&mut self, endpoint: &str) {
        let mut spec = self.spec.clone();
        spec.start = self.next;
        if self.from_the_past
            && let Some(next) = self.next
        {
            let newest = next.max(self.floor).0;
            let oldest = (newest - 100).max(self.floor.0);
            spec.start = Some(Revision(self.random.random_range(oldest..=newest)));
        }
        let session = self.sessions.begin(spec.clone());
        let (requests, receiver) = mpsc::channel(4);
        let mut client = Connection::lazy(endpoint).watch_client();
        drop(requests.try_send(wire::watch_request(&spec)));
        let Ok(response) = client.watch(ReceiverStream::new(receiver)).await else { return };
        let mut messages = response.into_inner();
        let mut ask_progress = interval(Duration::from_millis(50));
        ask_progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let message = tokio::select! {
                message = messages.message() => message,
                _ = ask_progress.tick() => {
                    drop(requests.try_send(wire::progress_request()));
                    continue;
                }
            };
            let Ok(Some(message)) = message else { return };
            let record = record(message, &self.recorder);
            let ended = self.follow(&record);
            self.sessions.record(session, record);
            if ended {
                return;
            }
        }
    }

    /// Where to resume; true if the watch has ended.
    fn follow(&mut self, record: &WatchRecord) -> bool {
        let reached = match &record.response {
            WatchResponse::Created => {
                self.next = self.next.or(Some(record.revision.next()));
                return false;
            }
            WatchResponse::Canceled { compact_revision, .. } => {
                self.floor = self.floor.max(*compact_revision);
                self.next = self.next.max(Some(*compact_revision));
                return true;
            }
            // The rest of a revision follows: it is not fully received yet.
            WatchResponse::Events { fragment: true, .. } => return false,
            WatchResponse::Events { events, .. } => events.iter().map(Event::revision).max(),
            WatchResponse::Progress => Some(record.revision),
        };
        if let Some(reached) = reached {
            self.next = self.next.max(Some(reached.next()));
            self.told.send_if_modified(|told| {
                let newer = reached > *told;
                *told = reached.max(*told);
                newer
            });
        }
        false
    }
}
