//! Keeps leases that were all prolonged at one moment from all ending at one moment.

use std::time::Duration;

/// Fewer leases than this may end together.
const SPREAD_ABOVE: usize = 1000;
/// As etcd: three quarters of the thousand a second that it revokes, so that what piles up does not
/// take all of it.
const MAX_PER_SECOND: usize = 750;

/// Moves ascending deadlines apart so that at most 750 fall into any one second; none becomes earlier
/// and their order stays. Up to a thousand are left alone.
pub(super) fn spread(mut deadlines: Vec<Duration>) -> Vec<Duration> {
    debug_assert!(deadlines.is_sorted(), "spreading keeps an order that is there");
    if deadlines.len() <= SPREAD_ABOVE {
        return deadlines;
    }
    for at in MAX_PER_SECOND..deadlines.len() {
        let earliest = deadlines[at - MAX_PER_SECOND] + Duration::from_secs(1);
        deadlines[at] = deadlines[at].max(earliest);
    }
    deadlines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_in_a_second(deadlines: &[Duration]) -> usize {
        let within = |from: Duration| {
            deadlines.iter().filter(|d| **d >= from && **d < from + Duration::from_secs(1)).count()
        };
        deadlines.iter().map(|from| within(*from)).max().unwrap_or(0)
    }

    #[test]
    fn a_thousand_leases_are_left_alone() {
        let together = vec![Duration::from_mins(1); 1000];
        assert_eq!(spread(together.clone()), together);
    }

    #[test]
    fn beyond_a_thousand_at_most_750_end_in_any_second() {
        let together = vec![Duration::from_mins(1); 3000];
        let apart = spread(together);
        assert_eq!(most_in_a_second(&apart), 750);
        assert_eq!(apart.last(), Some(&Duration::from_secs(63)));
    }

    #[test]
    fn what_is_apart_already_does_not_move() {
        let apart: Vec<_> = (0..2000).map(|i| Duration::from_millis(10 * i)).collect();
        assert_eq!(spread(apart.clone()), apart);
    }
}
