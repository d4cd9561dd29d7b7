//! Bugs planted on purpose, each where the shipped code would be wrong, to show that the simulator sees them.
//!
//! Without the feature `planted`, which only the simulator's tests have, every switch is a constant
//! `false`. With it a switch is on from `plant` until what that gave is dropped, on the calling thread
//! alone: a simulated world is one thread, all of its members share the bug as they would share the code
//! that had it, and worlds on other threads do not. `docs/adr/0011` has the reasons,
//! `jepsen/tests/planted_cluster` what sees which.

/// A bug that can be switched on. Each is asked for at one spot, if it does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Appended entries are called durable before they are.
    AckBeforeSync,
    /// A vote is given and not written.
    VoteNotWritten,
    /// The applied position reaches the engine behind the batch it belongs to, in a batch of its own.
    AppliedOutsideBatch,
    /// A state for a peer lacks the values.
    SnapshotWithoutVersions,
    /// A state for a peer lacks the leases.
    SnapshotWithoutLeases,
    /// A watcher that has caught up begins to be told one revision late.
    WatcherOneRevisionLate,
    /// Watchers go on behind a state that came from a peer, without the events before it.
    InstallSkipsEvents,
    /// The rest of a split response is not announced.
    FragmentUnmarked,
    /// A leader answers reads without asking whether it still leads.
    ReadWithoutQuorum,
    /// A read does not wait until what it must see is applied.
    ReadBeforeApplied,
    /// A new leader gives leases their whole TTL again, whatever was left.
    TtlStartsAnew,
    /// A renewal is answered by a leader that may be deposed.
    RenewalUnconfirmed,
    /// The end of a lease that one leader decided on is carried out by the next. Asked for at each of the
    /// fences that keep this out: where it is proposed, given up and applied.
    RevokeWithoutTermFence,
    /// A leader that no quorum answers any more leads on.
    LeadsWithoutQuorum,
    /// The last entry is applied once more after a restart.
    AppliesAgainAfterRestart,
    /// What an interrupted write left behind the log's end stays there.
    TornTailKept,
    /// A restart drops what the log has from the last applied entry on.
    CommittedEntryTruncated,
    /// A new learner votes.
    LearnerVotes,
    /// A checkpoint is called durable, and the log purged, without a flush.
    CheckpointNotSynced,
}

#[cfg(not(feature = "planted"))]
impl Planted {
    /// `false`: this build has no planted bugs.
    #[inline]
    #[expect(clippy::unused_self, reason = "called alike with and without the feature")]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(feature = "planted")]
pub use switches::{Guard, plant};

#[cfg(feature = "planted")]
mod switches {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::Planted;

    thread_local! {
        /// One bit for each bug.
        static ON: Cell<u32> = const { Cell::new(0) };
    }

    impl Planted {
        /// Whether the bug is on, on this thread.
        pub fn is_on(self) -> bool {
            ON.get() & self.bit() != 0
        }

        const fn bit(self) -> u32 {
            1 << self as u32
        }
    }

    /// Switches these bugs on, on this thread, until what it gives is dropped.
    #[must_use = "the bugs are on while it lives"]
    pub fn plant(bugs: &[Planted]) -> Guard {
        let before = ON.get();
        ON.set(bugs.iter().fold(before, |on, bug| on | bug.bit()));
        Guard { before, thread: PhantomData }
    }

    /// See [`plant`].
    #[derive(Debug)]
    pub struct Guard {
        before: u32,
        /// It stays on its thread.
        thread: PhantomData<*const ()>,
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            ON.set(self.before);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_bug_is_on_while_its_guard_lives_and_on_its_thread_only() {
            assert!(!Planted::AckBeforeSync.is_on());
            let both = plant(&[Planted::AckBeforeSync, Planted::CheckpointNotSynced]);
            {
                let _more = plant(&[Planted::TornTailKept]);
                assert!(Planted::TornTailKept.is_on() && Planted::AckBeforeSync.is_on());
            }
            assert!(!Planted::TornTailKept.is_on() && Planted::CheckpointNotSynced.is_on());
            let elsewhere = std::thread::scope(|scope| {
                scope.spawn(|| Planted::AckBeforeSync.is_on()).join().unwrap()
            });
            assert!(!elsewhere);
            drop(both);
            assert!(!Planted::AckBeforeSync.is_on() && !Planted::CheckpointNotSynced.is_on());
        }
    }
}
