//! What happened, for people and for comparison.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use super::process::world_time;

/// The run's event log and a hash over everything that was noticed. Clones are the same.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    lines: Vec<String>,
    hash: DefaultHasher,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("hash", &self.hash()).finish_non_exhaustive()
    }
}

impl Trace {
    /// Writes a line into the event log.
    pub fn note(&self, event: impl fmt::Display) {
        let now = world_time();
        let line = format!("[{:>4}.{:06}] {event}", now.as_secs(), now.subsec_micros());
        let mut inner = self.0.lock();
        line.hash(&mut inner.hash);
        inner.lines.push(line);
    }

    /// Takes something into the hash that is too much for the event log.
    pub fn mix(&self, what: impl Hash) {
        let now = world_time().as_nanos();
        let mut inner = self.0.lock();
        (now, what).hash(&mut inner.hash);
    }

    /// The event log so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().lines.clone()
    }

    /// Over everything so far.
    pub fn hash(&self) -> u64 {
        self.0.lock().hash.finish()
    }
}

/// A hash of what something prints, without the print.
pub fn hash_of(what: &impl fmt::Debug) -> u64 {
    struct Into(DefaultHasher);
    impl Write for Into {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut into = Into(DefaultHasher::new());
    write!(into, "{what:?}").expect("a hash takes everything");
    into.0.finish()
}
