//! Which pings of a client are too many: gRPC's policy, as etcd sets it.

use std::time::Duration;

use tokio::time::Instant;

/// Pings closer than allowed that are borne in a row; one more ends the connection.
const BORNE_STRIKES: u8 = 2;
/// The least time between pings while no stream is open, if `--grpc-keepalive-min-time` does not ask
/// for more. gRPC wants two hours there; that would send away idle clients that ping every 30 s, as
/// many are set to, for no gain of the server's.
const IDLE_MIN_TIME: Duration = Duration::from_secs(20);

/// The strikes of one connection.
#[derive(Debug)]
pub(super) struct PingStrikes {
    /// Pings of a client with open streams must be so far apart.
    min_time: Duration,
    last: Option<Instant>,
    strikes: u8,
    /// Headers or data were sent since the last ping.
    sent: bool,
}

impl PingStrikes {
    /// No strikes; `min_time` is `--grpc-keepalive-min-time`.
    pub(super) fn new(min_time: Duration) -> Self {
        Self { min_time, last: None, strikes: 0, sent: false }
    }

    /// Headers or data go out: whoever gets answers may ping, to measure the connection.
    pub(super) fn on_sent(&mut self) {
        self.sent = true;
    }

    /// A ping has come at `now`; whether it is one too many.
    pub(super) fn on_ping(&mut self, now: Instant, has_streams: bool) -> bool {
        let last = self.last.replace(now);
        if std::mem::take(&mut self.sent) {
            self.strikes = 0;
            return false;
        }
        let min_time = if has_streams { self.min_time } else { self.min_time.max(IDLE_MIN_TIME) };
        if last.is_some_and(|last| now.duration_since(last) < min_time) {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.strikes > BORNE_STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN_TIME: Duration = Duration::from_secs(5);

    /// The number of the ping that was too many, of `pings` that come every `gap`.
    fn ended_by(pings: usize, gap: Duration, has_streams: bool) -> Option<usize> {
        let (mut strikes, start) = (PingStrikes::new(MIN_TIME), Instant::now());
        (1..=pings).find(|n| strikes.on_ping(start + gap * u32::try_from(*n).unwrap(), has_streams))
    }

    #[test]
    fn the_fourth_fast_ping_is_one_too_many() {
        // The first has none before it, two are borne.
        assert_eq!(ended_by(9, Duration::from_millis(4999), true), Some(4));
        assert_eq!(ended_by(9, Duration::from_secs(1), false), Some(4));
        assert_eq!(ended_by(9, Duration::from_secs(6), false), Some(4), "without a stream");
    }

    #[test]
    fn pings_far_enough_apart_are_never_too_many() {
        assert_eq!(ended_by(10_000, MIN_TIME, true), None);
        for seconds in [29, 30, 31] {
            for has_streams in [false, true] {
                assert_eq!(ended_by(10_000, Duration::from_secs(seconds), has_streams), None);
            }
        }
    }

    #[test]
    fn an_answer_forgives_all_before_it() {
        let (mut strikes, start) = (PingStrikes::new(MIN_TIME), Instant::now());
        let ping = |strikes: &mut PingStrikes| strikes.on_ping(start, true);
        for _round in 0..100 {
            assert!(!ping(&mut strikes) && !ping(&mut strikes));
            strikes.on_sent();
        }
        // Forgiven with the first, two borne.
        assert!(!ping(&mut strikes) && !ping(&mut strikes) && !ping(&mut strikes));
        assert!(ping(&mut strikes));
    }

    #[test]
    fn a_longer_least_time_holds_without_streams_too() {
        let (mut strikes, start) = (PingStrikes::new(Duration::from_mins(1)), Instant::now());
        let ended = (1..9).find(|n| strikes.on_ping(start + Duration::from_secs(30) * *n, false));
        assert_eq!(ended, Some(4));
    }
}
