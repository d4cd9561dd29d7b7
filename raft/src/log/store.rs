//! The log as openraft uses it.

mod read;
mod tail;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, OnceLock};

use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use vetch_storage::{Fatal, Planted};

use super::backlog::Backlog;
use super::codec::{encode_entry, encode_log_id, encode_position, encode_vote};
use super::error::LogError;
use super::index::Index;
use super::record::Kind;
use super::recovery::{self, Recovered};
use super::writer::{Durable, Writer};
use super::{LogOptions, segment};
use crate::disk::{Disk, DiskError};
use crate::types::{Entry, RaftLogId, TypeConfig, Vote};
use tail::Tail;

/// One member's log. Clones share it; every operation is ordered by the state's lock, which is never held
/// across I/O: the disk only queues.
///
/// **Invariants:** an entry is readable when `append` returns and durable when its callback hears so;
/// the vote is durable when `save_vote` returns; truncations and purges are durable no later than any later append or vote.
/// After the first failure every operation fails with it.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    durable: Arc<Durable>,
    backlog: Arc<Backlog>,
    failed: OnceLock<LogError>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    writer: Writer,
    index: Index,
    tail: Tail,
    vote: Option<Vote>,
    /// Memory only: after a restart the state machine's own position counts.
    committed: Option<RaftLogId>,
    oldest_epoch: u64,
}

impl LogStore {
    /// Opens the log on `disk`, or begins one if there is none.
    pub async fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogError> {
        assert!(options.segment_bytes <= segment::MAX_BYTES, "segments are below 4 GiB");
        let Recovered { vote, index, oldest_epoch, resume, .. } =
            recovery::open(&disk, &options).await?;
        let durable = Arc::new(Durable::default());
        let writer = Writer::new(Arc::clone(&disk), Arc::clone(&durable), &options, resume);
        let tail = Tail::default();
        let state = State { writer, index, tail, vote, committed: None, oldest_epoch };
        let (failed, state) = (OnceLock::new(), Mutex::new(state));
        let backlog = Arc::default();
        let shared = Arc::new(Shared { disk, options, durable, backlog, failed, state });
        shared.state.lock().remove_dead();
        Ok(Self { shared })
    }

    /// Why the log has failed, if it has: the node must stop.
    pub fn failure(&self) -> Option<Fatal> {
        self.shared.failed.get().cloned().map(Fatal::from)
    }

    /// How busy the disk is with this log.
    pub fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.shared.backlog)
    }

    /// The first entry's index and one past the last's, in openraft's counting.
    pub fn bounds(&self) -> (u64, u64) {
        let state = self.shared.state.lock();
        (state.index.first(), state.index.end())
    }

    /// The last entry that was purged.
    pub fn purged(&self) -> Option<RaftLogId> {
        self.shared.state.lock().index.purged()
    }

    /// Takes entries; `done` hears when they are durable. They are readable when this returns.
    pub fn append_entries(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) -> Result<(), LogError> {
        let shared = &self.shared;
        shared.check()?;
        let mut guard = shared.state.lock();
        let state = &mut *guard;
        for entry in entries {
            if let Err(error) = state.index.check_next(entry.log_id.index) {
                // A bug above, half taken: going on would make it durable.
                return Err(shared.failed.get_or_init(|| error).clone());
            }
            let position = state.writer.push(Kind::Entry, state.vote, &state.index, |out| {
                encode_entry(&entry, out);
            });
            state.index.push(&entry.log_id, position)?;
            state.tail.push(entry);
        }
        state.tail.shrink(shared.options.tail_bytes, &state.index, &shared.durable);
        if Planted::AckBeforeSync.is_on() {
            done(Ok(()));
            shared.submit(&mut state.writer, |_| {});
            return Ok(());
        }
        shared.submit(&mut state.writer, done);
        Ok(())
    }

    /// Records the vote; the future resolves when it is durable.
    pub fn put_vote(&self, vote: Vote) -> impl Future<Output = Result<(), LogError>> + use<> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let checked = self.shared.check();
        if checked.is_ok() {
            let mut guard = self.shared.state.lock();
            let state = &mut *guard;
            let encode = |out: &mut Vec<u8>| encode_vote(&vote, out);
            if !Planted::VoteNotWritten.is_on() {
                state.writer.push(Kind::Vote, state.vote, &state.index, encode);
            }
            state.vote = Some(vote);
            self.shared.submit(&mut state.writer, move |result| drop(sender.send(result)));
        }
        async move {
            checked?;
            receiver.await.unwrap_or(Err(DiskError::Closed.into()))
        }
    }

    /// Resolves when everything that was appended, recorded or dropped before is on disk.
    pub fn flushed(&self) -> impl Future<Output = Result<(), LogError>> + use<> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let checked = self.shared.check();
        if checked.is_ok() {
            let mut state = self.shared.state.lock();
            self.shared.submit(&mut state.writer, move |result| drop(sender.send(result)));
        }
        async move {
            checked?;
            receiver.await.unwrap_or(Err(DiskError::Closed.into()))
        }
    }

    /// Drops entries after `after`.
    pub fn truncate(&self, after: Option<RaftLogId>) -> Result<(), LogError> {
        self.shared.check()?;
        let mut guard = self.shared.state.lock();
        let state = &mut *guard;
        state.writer.push(Kind::Truncate, state.vote, &state.index, |out| {
            encode_position(after.as_ref(), out);
        });
        state.index.truncate(after);
        state.tail.truncate(&state.index);
        self.shared.submit(&mut state.writer, |_| {});
        Ok(())
    }

    /// Drops entries up to `upto`, and the segments that hold nothing else.
    pub fn purge_upto(&self, upto: RaftLogId) -> Result<(), LogError> {
        self.shared.check()?;
        let mut guard = self.shared.state.lock();
        let state = &mut *guard;
        if state.index.purged().is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        state.writer.push(Kind::Purge, state.vote, &state.index, |out| encode_log_id(&upto, out));
        state.index.purge(upto);
        state.tail.purge(&state.index);
        self.shared.submit(&mut state.writer, |_| {});
        state.remove_dead();
        Ok(())
    }

    /// The entry at `index`, if the log has it.
    pub fn read_one(&self, index: u64) -> Result<Option<Entry>, LogError> {
        let entries = self.read(index, index.saturating_add(1))?;
        Ok(entries.into_iter().find(|entry| entry.log_id.index == index))
    }

    /// The vote that was recorded last.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.state.lock().vote
    }
}

impl Shared {
    fn check(&self) -> Result<(), LogError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn submit(
        self: &Arc<Self>,
        writer: &mut Writer,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) {
        let (shared, backlog) = (Arc::downgrade(self), Arc::clone(&self.backlog));
        backlog.submit();
        writer.submit(move |result| {
            backlog.done();
            let result = result.map_err(LogError::from);
            if let (Err(error), Some(shared)) = (&result, shared.upgrade()) {
                shared.failed.get_or_init(|| error.clone());
            }
            done(result);
        });
    }
}

impl State {
    /// Segments before the one of the oldest live entry hold nothing alive.
    fn remove_dead(&mut self) {
        let alive = self.index.front().map_or(self.writer.epoch(), |position| position.epoch);
        for epoch in self.oldest_epoch..alive {
            self.writer.remove(epoch);
        }
        self.oldest_epoch = alive.max(self.oldest_epoch);
    }
}

impl<R: AsyncRuntime> RaftLogStorage<TypeConfig<R>> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig<R>>, io::Error> {
        let state = self.shared.state.lock();
        Ok(LogState { last_purged_log_id: state.index.purged(), last_log_id: state.index.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        Ok(self.put_vote(*vote).await?)
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        self.shared.state.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        Ok(self.shared.state.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig<R>>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let done = |result: Result<(), LogError>| {
            callback.io_completed(result.map_err(io::Error::from));
        };
        Ok(self.append_entries(entries, done)?)
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> Result<(), io::Error> {
        Ok(self.truncate(last)?)
    }

    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        Ok(self.purge_upto(upto)?)
    }
}

impl<R: AsyncRuntime> RaftLogReader<TypeConfig<R>> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut from, to) = read::bounds(&range);
        let mut entries = Vec::new();
        loop {
            let more = self.read(from, to)?;
            let Some(last) = more.last() else { return Ok(entries) };
            from = last.log_id.index + 1;
            entries.extend(more);
        }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start, end)?;
        // A purge may have come first. What follows a gap must not pass for what follows `start`: it
        // would go to a peer as such. Nothing at all is taken as a heartbeat, and looked at anew.
        let begins = entries.first().is_some_and(|entry| entry.log_id.index == start);
        Ok(if begins { entries } else { Vec::new() })
    }

    /// In pieces: what apply reads after a restart may be the whole log.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = read::bounds(&range);
        read::stream(self.clone(), from, to)
    }
}
