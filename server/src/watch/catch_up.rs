//! History for a watcher that is behind, read in bounded pieces until it meets the present.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use vetch_raft::{AsyncRuntime, Platform};
use vetch_storage::error::ReadError;
use vetch_storage::mvcc::key_range::KeyRange;
use vetch_storage::view::EventPage;
use vetch_storage::{ApplyError, Engine, Planted, ReadView, Revision};

use super::hub::{Position, Settings, State, WatchHub, select};
use super::interest::WatcherKey;
use super::outbox::{Item, Selected, WatcherInfo};
use super::shared_batch::SharedBatch;

/// What the next piece is read from.
enum Source<E: Engine> {
    /// Nothing more to read: the watcher is live, gone or ended.
    Done,
    /// The piece came from memory and is in the outbox.
    Sent,
    /// It is older than what memory holds.
    History(ReadView<E>, KeyRange, Revision),
}

/// Brings one watcher up to the present. Ends when it is live, or gone.
pub(super) async fn run<P: Platform>(hub: Arc<WatchHub<P>>, key: WatcherKey) {
    if let Some(outbox) =
        hub.with_state(|state| state.watchers.get(&key).map(|w| Arc::clone(&w.outbox)))
    {
        while let Some(_turn) = outbox.turn().await {
            match hub.with_state(|state| next_piece(&hub, state, key)) {
                Source::Done => break,
                Source::Sent => {}
                Source::History(view, range, next) => {
                    let page = read(&hub, view, range, next).await;
                    if !hub.with_state(|state| send_page(&hub, state, key, page)) {
                        break;
                    }
                }
            }
        }
    }
    hub.metrics.slow_watchers.fetch_sub(1, Ordering::Relaxed);
}

/// Reads a piece on the pool for long reads; on the spot where the runtime has none.
async fn read<P: Platform>(
    hub: &WatchHub<P>,
    view: ReadView<P::Engine>,
    range: KeyRange,
    next: Revision,
) -> Result<EventPage, ReadError> {
    let Settings { piece_bytes, piece_revisions, .. } = *hub.settings();
    let (pool_view, pool_range) = (view.clone(), range.clone());
    let pooled = P::Runtime::spawn_blocking(move || {
        pool_view.events(&pool_range, next, piece_bytes, piece_revisions)
    });
    match pooled.await {
        Ok(page) => page,
        Err(_no_pool) => view.events(&range, next, piece_bytes, piece_revisions),
    }
}

fn next_piece<P: Platform>(
    hub: &WatchHub<P>,
    state: &mut State<P::Engine>,
    key: WatcherKey,
) -> Source<P::Engine> {
    let Some(watcher) = state.watchers.get_mut(&key) else { return Source::Done };
    let Position::CatchUp { next } = watcher.position else { return Source::Done };
    if state.view.compact_revision().is_some_and(|compacted| next < compacted) {
        end_compacted(state, key);
        return Source::Done;
    }
    if next > state.tail || (next == state.tail && Planted::WatcherOneRevisionLate.is_on()) {
        watcher.position = Position::Live { from: next };
        state.interest.add(&watcher.info.range, key);
        return Source::Done;
    }
    let Some(batches) = state.log.since(next) else {
        return Source::History(state.view.clone(), watcher.info.range.clone(), next);
    };
    let (revisions, reached) = select_piece(&watcher.info, batches, hub.settings());
    watcher.position = Position::CatchUp { next: reached.unwrap_or(state.tail).next() };
    if !revisions.is_empty() {
        hub.send(watcher, state.tail, revisions);
    }
    Source::Sent
}

/// What concerns a watcher of the first batches, as many as make a piece; and the last revision of the
/// piece, unless it took them all.
fn select_piece<'a>(
    info: &WatcherInfo,
    batches: impl Iterator<Item = &'a Arc<SharedBatch>>,
    settings: &Settings,
) -> (SmallVec<[Selected; 1]>, Option<Revision>) {
    let (mut revisions, mut bytes) = (SmallVec::new(), 0);
    for (number, batch) in (1..).zip(batches) {
        if let Some(selected) = concerned_by(info, batch) {
            bytes += batch.bytes();
            revisions.push(selected);
        }
        if bytes >= settings.piece_bytes || number == settings.piece_revisions {
            return (revisions, Some(batch.revision()));
        }
    }
    (revisions, None)
}

/// Puts a piece of history into the outbox; `false` when the watcher is done for.
fn send_page<P: Platform>(
    hub: &WatchHub<P>,
    state: &mut State<P::Engine>,
    key: WatcherKey,
    page: Result<EventPage, ReadError>,
) -> bool {
    let page = match page {
        Ok(page) => page,
        Err(ReadError::Refused(ApplyError::Compacted { .. })) => {
            end_compacted(state, key);
            return false;
        }
        Err(ReadError::Refused(other)) => {
            unreachable!("history is refused for compaction only, not for {other}")
        }
        Err(ReadError::Fatal(fatal)) => {
            // The receiver is gone only when the node is stopping already.
            drop(hub.fatal.send(fatal));
            return false;
        }
    };
    let Some(watcher) = state.watchers.get_mut(&key) else { return false };
    let revisions: SmallVec<[Selected; 1]> = page
        .batches
        .iter()
        .map(|batch| Arc::new(SharedBatch::new(Arc::clone(batch))))
        .filter_map(|batch| concerned_by(&watcher.info, &batch))
        .collect();
    watcher.position = Position::CatchUp { next: page.next };
    if !revisions.is_empty() {
        // The revision as of now, not of the view that was read: what headers tell never goes back.
        hub.send(watcher, state.tail, revisions);
    }
    true
}

/// The events of a revision that concern one watcher.
fn concerned_by(info: &WatcherInfo, batch: &Arc<SharedBatch>) -> Option<Selected> {
    let positions = (0..)
        .zip(batch.events())
        .filter(|(_, event)| info.range.contains(event.key()))
        .map(|(position, _)| position)
        .collect();
    select(info, batch, positions)
}

/// Ends a watcher whose next revision is no longer there.
fn end_compacted<E: Engine>(state: &mut State<E>, key: WatcherKey) {
    let Some(watcher) = state.watchers.get_mut(&key) else { return };
    watcher.position = Position::Ended;
    let compacted = state.view.compact_revision().unwrap_or(Revision::EMPTY_STORE);
    watcher.outbox.push(Item::Compacted { watch_id: watcher.info.watch_id, compacted });
}
