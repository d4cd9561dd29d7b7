//! Clocks that go wrong: each process has one of its own, too fast or too slow.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant, OptionalSend};
use openraft_rt_sim::SimRuntime;

use super::process::{Process, world_time};

/// How fast a clock goes, in parts of a million: 1,010,000 is one percent too fast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u32);

const MILLION: u128 = 1_000_000;

impl Rate {
    /// As fast as the world.
    pub const TRUE: Self = Self(1_000_000);

    /// Faster than the world by so many parts of a million; slower when negative.
    ///
    /// # Panics
    /// For a clock that stands still or goes back.
    pub fn skewed(ppm: i32) -> Self {
        Self(1_000_000_u32.checked_add_signed(ppm).filter(|rate| *rate > 0).expect("it advances"))
    }

    /// The process's clock after `elapsed` of the world's.
    pub fn local(self, elapsed: Duration) -> Duration {
        nanos(elapsed.as_nanos() * u128::from(self.0) / MILLION)
    }

    /// How long the world takes, at least, until the process's clock has advanced by `local`.
    pub fn world(self, local: Duration) -> Duration {
        nanos((local.as_nanos() * MILLION).div_ceil(u128::from(self.0)))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ppm", i64::from(self.0) - 1_000_000)
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
}

/// A moment of the running process's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessInstant(Duration);

/// Clocks begin a day in, so that a timeout can be taken from the first moment.
const EPOCH: Duration = Duration::from_hours(24);

impl ProcessInstant {
    fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }
}

/// The rate of the process whose code runs.
fn rate() -> Rate {
    Process::current().map_or(Rate::TRUE, |process| process.rate())
}

impl Instant for ProcessInstant {
    fn now() -> Self {
        Self(EPOCH + rate().local(world_time()))
    }
}

impl Add<Duration> for ProcessInstant {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

impl AddAssign<Duration> for ProcessInstant {
    fn add_assign(&mut self, later: Duration) {
        self.0 += later;
    }
}

impl Sub<Duration> for ProcessInstant {
    type Output = Self;
    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.checked_sub(earlier).expect("clocks begin a day in"))
    }
}

impl SubAssign<Duration> for ProcessInstant {
    fn sub_assign(&mut self, earlier: Duration) {
        self.0 -= earlier;
    }
}

/// Saturates at zero, as the standard library's does.
impl Sub for ProcessInstant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The simulated runtime as a process sees it: its tasks are the process's, its time is the
/// process's clock.
#[derive(Debug)]
pub struct ProcessRuntime(SimRuntime);

impl AsyncRuntime for ProcessRuntime {
    type JoinError = <SimRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <SimRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <SimRuntime as AsyncRuntime>::Sleep;
    type Instant = ProcessInstant;
    type TimeoutError = <SimRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <SimRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <SimRuntime as AsyncRuntime>::ThreadLocalRng;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let Some(process) = Process::current() else { return SimRuntime::spawn(future) };
        let inside = process.enter(future);
        SimRuntime::spawn(async move {
            match inside.await {
                Ok(value) => value,
                // Nobody is left to be told.
                Err(_gone) => std::future::pending().await,
            }
        })
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        SimRuntime::sleep(rate().world(duration))
    }

    fn sleep_until(deadline: ProcessInstant) -> Self::Sleep {
        Self::sleep(deadline.remaining())
    }

    fn timeout<R, F>(duration: Duration, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        SimRuntime::timeout(rate().world(duration), future)
    }

    fn timeout_at<R, F>(deadline: ProcessInstant, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        Self::timeout(deadline.remaining(), future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        SimRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SimRuntime::thread_rng()
    }

    type Mpsc = <SimRuntime as AsyncRuntime>::Mpsc;
    type Watch = <SimRuntime as AsyncRuntime>::Watch;
    type Oneshot = <SimRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <SimRuntime as AsyncRuntime>::Mutex<T>;

    fn new(threads: usize) -> Self {
        Self(SimRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// Refused, as by the runtime underneath: callers have a way without.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        SimRuntime::spawn_blocking(work)
    }
}
