//! A machine that lives through a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use vetch_storage::engine::conformance::Store;
use vetch_storage::machine::{Checkpointer, CompactionProgress, Options};
use vetch_storage::testing::Model;
use vetch_storage::testing::generate::{settle_range, settle_txn};
use vetch_storage::{Engine, ReadView, Revision, StateMachine};

use crate::compare::{self, Background, Checked};
use crate::script::{Schedule, Script, Step};

/// What must be the same in every run of one log, whatever the engine, batches and restarts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The digest after each number of entries.
    pub(crate) digests: BTreeMap<usize, u64>,
}

impl Ledger {
    fn agree(&mut self, entries: usize, digest: u64) -> Checked {
        let known = *self.digests.entry(entries).or_insert(digest);
        prop_assert_eq!(digest, known, "digest after {} entries", entries);
        Ok(())
    }
}

/// Runs the whole log, and checks everything three times: at the end, after an orderly restart, and
/// after a crash.
pub(crate) fn run<S: Store>(
    store: &mut S,
    script: &Script,
    schedule: &Schedule,
    ledger: &mut Ledger,
) -> Checked {
    let directory =
        schedule.checkpoints.then(|| tempfile::tempdir().expect("a temporary directory"));
    let checkpoint_dir = directory.as_ref().map(|directory| directory.path().to_owned());
    let options = Options { checkpoint_dir, ..Options::default() };
    let engine = Arc::new(store.open());
    let mut run = Run {
        open: Some(Open::new(engine, options.clone())),
        store,
        script,
        options,
        ledger,
        pace: schedule.pace,
        durable: 0,
        background: Background::default(),
    };
    for step in &schedule.steps {
        run.step(step)?;
    }
    run.finish()?;
    run.restart(Restart::Orderly)?;
    run.finish()?;
    run.persist(true)?;
    run.restart(Restart::Crash)?;
    prop_assert_eq!(run.committed(), script.log.len(), "all of it was durable");
    run.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Restart {
    Orderly,
    Crash,
}

/// One life of the process.
struct Open<E: Engine> {
    engine: Arc<E>,
    machine: StateMachine<E>,
    checkpointer: Checkpointer<E>,
    held: Vec<ReadView<E>>,
}

impl<E: Engine> Open<E> {
    fn new(engine: Arc<E>, options: Options) -> Self {
        let machine = StateMachine::open(Arc::clone(&engine), options).expect("the state is whole");
        let checkpointer = machine.checkpointer();
        Self { engine, machine, checkpointer, held: Vec::new() }
    }

    /// The engine alone.
    fn close(self) -> E {
        let Self { engine, machine, checkpointer, held } = self;
        drop((machine, checkpointer, held));
        Arc::into_inner(engine).expect("nobody else holds the engine")
    }
}

struct Run<'a, S: Store> {
    store: &'a mut S,
    script: &'a Script,
    options: Options,
    ledger: &'a mut Ledger,
    pace: usize,
    /// `None` only while a restart is under way.
    open: Option<Open<S::Engine>>,
    /// Entries that no crash takes away.
    durable: usize,
    background: Background,
}

impl<S: Store> Run<'_, S> {
    fn open(&mut self) -> &mut Open<S::Engine> {
        self.open.as_mut().expect("no restart is under way")
    }

    fn applied(&mut self) -> usize {
        position(self.open().machine.applied().index.0)
    }

    fn committed(&mut self) -> usize {
        position(self.view().applied().index.0)
    }

    fn view(&mut self) -> ReadView<S::Engine> {
        self.open().machine.view()
    }

    /// What a view must show.
    fn model_of(&self, view: &ReadView<S::Engine>) -> &Model {
        &self.script.models[position(view.applied().index.0)]
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Apply(entries) => self.apply(*entries),
            Step::Commit => self.commit(),
            Step::Persist { anew } => self.persist(*anew),
            Step::Compact { steps, limit } => {
                (0..*steps).try_for_each(|_| self.compact(*limit).map(drop))
            }
            Step::Hold => {
                let view = self.view();
                self.open().held.push(view);
                Ok(())
            }
            Step::Release => self.release(),
            Step::Reopen => self.restart(Restart::Orderly),
            Step::Crash => self.restart(Restart::Crash),
            Step::Range(draft) => {
                let view = self.view();
                let mut request = draft.clone();
                settle_range(&mut request, view.revision());
                compare::range(&view, self.model_of(&view), &request)
            }
            Step::ReadTxn(draft) => {
                let view = self.view();
                let mut request = draft.clone();
                settle_txn(&mut request, view.revision());
                compare::read_txn(&view, self.model_of(&view), &request)
            }
            Step::Events { range: (start, end), behind, budget, max_revisions } => {
                let view = self.view();
                let from = Revision(view.revision().0 + 2 - behind);
                let size = (*budget, *max_revisions);
                let model = self.model_of(&view);
                compare::events(&view, model, (start, end), from, size, self.background)
            }
        }
    }

    fn apply(&mut self, entries: usize) -> Checked {
        let from = self.applied();
        let script = self.script;
        let ends = (from + entries).min(script.log.len());
        for (logged, expected) in script.log[from..ends].iter().zip(&script.expected[from..ends]) {
            let machine = &mut self.open().machine;
            let found = machine.apply(logged.id, logged.entry.as_entry()).expect("it goes on");
            let digest = machine.digest();
            compare::applied(&found, expected)?;
            let entries = self.applied();
            self.ledger.agree(entries, digest)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Checked {
        let (known, before) = (self.view().compact_revision(), self.committed());
        self.open().machine.commit().expect("it goes on");
        let view = self.view();
        if view.compact_revision() != known {
            self.background.deleted = false;
        }
        let entries = self.committed();
        prop_assert_eq!(entries, self.applied());
        self.ledger.agree(entries, view.digest())?;
        if self.background.deleted && entries > before {
            compare::index_size(&view, self.model_of(&view))?;
        }
        compare::state(&view, self.model_of(&view))
    }

    fn persist(&mut self, anew: bool) -> Checked {
        let committed = self.committed();
        let open = self.open();
        if anew {
            open.checkpointer = open.machine.checkpointer();
        }
        let checkpoint = open.checkpointer.checkpoint().expect("it goes on");
        self.durable = position(checkpoint.applied.0);
        prop_assert_eq!(self.durable, committed);
        Ok(())
    }

    /// A step of the compactor; whether it is done with all compactions.
    fn compact(&mut self, limit: usize) -> Checked<bool> {
        let progress = self.open().machine.compactor().step(limit).expect("it goes on");
        let view = self.view();
        match progress {
            CompactionProgress::Finished(revision) => {
                let compacted = view.compact_revision().unwrap_or(Revision::NEVER_COMPACTED);
                prop_assert_eq!(revision, compacted);
                self.background.deleted = true;
                Ok(true)
            }
            CompactionProgress::More => Ok(false),
            CompactionProgress::Pinned => {
                let compacted = view.compact_revision();
                let held = &self.open().held;
                let pins = held.iter().any(|view| view.compact_revision() < compacted);
                prop_assert!(pins, "nobody may read what is to be deleted");
                Ok(false)
            }
        }
    }

    /// A view that was held while time went on shows what it showed.
    fn release(&mut self) -> Checked {
        if self.open().held.is_empty() {
            return Ok(());
        }
        let view = self.open().held.remove(0);
        // Of hashes a view shows what compaction has taken since; and what its own compacted revision
        // has superseded is gone, if its deletions are done.
        let model = &self.script.models[position(view.applied().index.0)];
        let same = view.compact_revision() == self.view().compact_revision();
        let background = Background { deleted: self.background.deleted && same, hashed: 0 };
        compare::state(&view, model)?;
        compare::reads(&view, model, background)
    }

    /// Ends the process, and starts the next on what is left: after a crash any number of commits
    /// since the last persist may be gone, whole ones.
    fn restart(&mut self, how: Restart) -> Checked {
        let committed = self.committed();
        let engine = self.open.take().expect("no restart is under way").close();
        let engine = match how {
            Restart::Orderly => self.store.reopen(engine),
            Restart::Crash => self.store.crash(engine),
        };
        self.open = Some(Open::new(Arc::new(engine), self.options.clone()));
        let found = self.committed();
        match how {
            Restart::Orderly => prop_assert_eq!(found, committed),
            Restart::Crash => {
                prop_assert!((self.durable..=committed).contains(&found), "{found} entries");
                self.background = Background::default();
            }
        }
        prop_assert_eq!(self.applied(), found);
        let view = self.view();
        let model = &self.script.models[found];
        prop_assert_eq!(self.open().machine.membership(), model.membership());
        self.ledger.agree(found, view.digest())?;
        if self.background.deleted {
            compare::index_size(&view, model)?;
        }
        compare::history(&view, model, &mut self.background)
    }

    /// Applies the rest of the log, deletes all there is to delete, and checks everything.
    fn finish(&mut self) -> Checked {
        self.apply(usize::MAX / 2)?;
        self.commit()?;
        // Whoever still reads keeps what he reads from deletion, for as long as he does.
        while !self.open().held.is_empty() {
            (0..10).try_for_each(|_| self.compact(self.pace).map(drop))?;
            self.release()?;
        }
        let view = self.view();
        compare::history(&view, self.model_of(&view), &mut self.background.clone())?;
        drop(view);
        let mut steps = 0;
        while !self.compact(self.pace)? {
            steps += 1;
            prop_assert!(steps < 10_000, "compaction comes to an end");
        }
        let view = self.view();
        let model = &self.script.models[position(view.applied().index.0)];
        compare::history(&view, model, &mut self.background)?;
        compare::live_bytes(&view, model)
    }
}

fn position(index: u64) -> usize {
    usize::try_from(index).expect("a test's log is short")
}
