//! Zeros ahead of the writer, so that an overwrite's flush has no block map to journal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parking_lot::{Condvar, Mutex};

/// Zeros per step; each is flushed by itself so that no commit's flush finds many of them.
const STEP: u64 = 1 << 20;

/// How far a file is filled. The filler claims a step beyond `done`, the writer whatever it writes; claims never
/// overlap, so a zero can never land on a record.
///
/// **Invariant:** `done <= claimed <= len`, and only bytes in `done..claimed` may be written by the filler.
#[derive(Debug)]
pub(super) struct ZeroFill {
    /// The filler's own open file: a failed flush is reported once per open file, and the one meant for
    /// the writer must not be swallowed here.
    file: File,
    len: u64,
    frontier: Mutex<Frontier>,
    released: Condvar,
}

#[derive(Debug)]
struct Frontier {
    done: u64,
    claimed: u64,
}

impl ZeroFill {
    /// `file` is as long as `len` already and has data or zeros up to `done`.
    pub(super) fn new(file: File, done: u64, len: u64) -> Self {
        let frontier = Frontier { done, claimed: done };
        Self { file, len, frontier: Mutex::new(frontier), released: Condvar::new() }
    }

    /// The writer is about to write up to `end`. Waits for a step in progress if they could meet.
    pub(super) fn claim(&self, end: u64) {
        let mut frontier = self.frontier.lock();
        if end <= frontier.done {
            return;
        }
        while frontier.claimed > frontier.done {
            self.released.wait(&mut frontier);
        }
        if end > frontier.done {
            *frontier = Frontier { done: end, claimed: end };
        }
    }

    /// Fills one more step; false when nothing is left to do. An error only ends the filling: the
    /// writer's own flush of the same file reports what matters to it.
    pub(super) fn step(&self) -> io::Result<bool> {
        let (from, to) = {
            let mut frontier = self.frontier.lock();
            let from = frontier.done;
            if from >= self.len {
                return Ok(false);
            }
            let to = (from + STEP - from % STEP).min(self.len);
            frontier.claimed = to;
            (from, to)
        };
        let result = self.fill(from, to);
        let mut frontier = self.frontier.lock();
        frontier.done = to;
        drop(frontier);
        self.released.notify_all();
        result.map(|()| to < self.len)
    }

    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.file.write_all_at(&ZEROS[..len], at)?;
            at += len as u64;
        }
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_never_covers_what_the_writer_claimed() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let (writer, filler) = (named.reopen().unwrap(), named.reopen().unwrap());
        let len = 8 * STEP;
        writer.set_len(len).unwrap();
        let zeros = ZeroFill::new(filler, 0, len);
        std::thread::scope(|scope| {
            scope.spawn(|| while zeros.step().unwrap() {});
            for at in (0..len).step_by(4096) {
                zeros.claim(at + 4096);
                writer.write_all_at(&[0xAB; 4096], at).unwrap();
            }
        });
        let bytes = std::fs::read(named.path()).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0xAB), "zeros landed on written bytes");
    }
}
