//! A bounded queue of lines and the thread that writes them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::Local;
use parking_lot::{Condvar, Mutex};

/// Lines on their way to the sinks; clones share it.
#[derive(Clone, Debug)]
pub struct LineQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Dropped since the last report.
    unreported: u64,
    dropped: u64,
    /// A batch has been taken and is not written yet.
    writing: bool,
    closed: bool,
}

impl LineQueue {
    /// A queue that holds at most about `capacity_bytes`.
    pub fn new(capacity_bytes: usize) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { capacity_bytes, state, changed: Condvar::new() }))
    }

    /// Queues `line`, or drops and counts it if there is no room. Never waits for a sink. An empty
    /// queue takes any line.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.0.state.lock();
        if state.bytes > 0 && state.bytes + line.len() > self.0.capacity_bytes {
            state.unreported += 1;
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.state.lock().dropped
    }

    /// Waits until everything queued has been written, at most for `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.0.state.lock();
        while state.writing || !state.lines.is_empty() {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }

    /// Everything queued, once there is something; empty when closed.
    fn take(&self) -> Vec<u8> {
        let mut state = self.0.state.lock();
        state.writing = false;
        self.0.changed.notify_all();
        while state.lines.is_empty() && !state.closed {
            self.0.changed.wait(&mut state);
        }
        state.writing = !state.lines.is_empty();
        let mut batch: Vec<u8> = state.lines.drain(..).flatten().collect();
        state.bytes = 0;
        let unreported = std::mem::take(&mut state.unreported);
        drop(state);
        if unreported > 0 {
            batch.extend(report(unreported).into_bytes());
        }
        batch
    }

    /// Everything queued, for tests.
    #[cfg(test)]
    pub(super) fn drain(&self) -> Vec<Vec<u8>> {
        self.0.state.lock().lines.drain(..).collect()
    }
}

fn report(count: u64) -> String {
    let time = Local::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    format!(
        "{{\"level\":\"warn\",\"ts\":\"{time}\",\"caller\":\"logging/writer.rs\",\"msg\":\"log lines were \
         dropped because a log output did not keep up\",\"count\":{count}}}\n"
    )
}

/// The thread behind a queue. Dropped, it writes what is left, if its sinks take it.
#[derive(Debug)]
pub struct LogWriter {
    queue: LineQueue,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    /// Starts a thread that writes the lines of `queue` to each of `sinks`. A sink that fails loses
    /// the line and is tried again with the next: there is nobody to tell.
    pub fn start(queue: LineQueue, sinks: Vec<Box<dyn Write + Send>>) -> std::io::Result<Self> {
        let from = queue.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || write_all(&from, sinks))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// The queue of this writer.
    pub fn queue(&self) -> &LineQueue {
        &self.queue
    }
}

fn write_all(queue: &LineQueue, mut sinks: Vec<Box<dyn Write + Send>>) {
    loop {
        let batch = queue.take();
        if batch.is_empty() {
            return;
        }
        for sink in &mut sinks {
            let _nobody_to_tell = sink.write_all(&batch).and_then(|()| sink.flush());
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let written = self.queue.flush(Duration::from_secs(1));
        self.queue.close();
        // A thread that hangs in a blocked sink ends with the process.
        if let (true, Some(thread)) = (written, self.thread.take()) {
            let _panicked = thread.join();
        }
    }
}
