//! The keys and values every load is made of.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// What all keys begin with.
pub const PREFIX: &str = "/registry/pods/";

/// Bytes of every key made by [`key`]: about what a Kubernetes object's key has.
pub const KEY_LEN: usize = 48;

/// Key number `index`; keys sort as their numbers do.
pub fn key(index: u64) -> Bytes {
    Bytes::from(format!("{PREFIX}namespace-{:05}/pod-{:013}", index / 100, index))
}

/// The exclusive end of the range of all keys.
pub fn range_end() -> Bytes {
    let mut end = PREFIX.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Bytes::from(end)
}

/// Visits every number below `len` once, far apart from one to the next: objects are not created in
/// the order of their names.
#[derive(Clone, Copy, Debug)]
pub struct Scattered {
    len: u64,
    step: u64,
}

impl Scattered {
    /// All numbers below `len`.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn new(len: u64) -> Self {
        assert!(len > 0, "nothing to scatter");
        let golden = len / 1_000 * 618 + len % 1_000 * 618 / 1_000;
        let step = (golden..len).find(|step| coprime(*step, len)).unwrap_or(1);
        Self { len, step }
    }

    /// The `position`-th number.
    ///
    /// # Panics
    /// If `position` is not below the length.
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of {}", self.len);
        u64::try_from(u128::from(position) * u128::from(self.step) % u128::from(self.len))
            .unwrap_or(0)
    }
}

fn coprime(a: u64, b: u64) -> bool {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// Values of one length that do not compress, so that an engine that compresses gains nothing here.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Bytes,
    len: usize,
}

impl Values {
    /// Values of `len` bytes, the same in every run.
    pub fn new(len: usize) -> Self {
        let mut pool = vec![0; 1 << 20];
        SmallRng::seed_from_u64(0x5eed).fill_bytes(&mut pool);
        Self { pool: Bytes::from(pool), len }
    }

    /// Value number `index`, without copying.
    pub fn get(&self, index: u64) -> Bytes {
        let places = self.pool.len() - self.len;
        let place = usize::try_from(index.wrapping_mul(7_919)).unwrap_or(0) % places;
        self.pool.slice(place..place + self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_have_one_length_and_sort_as_numbers() {
        for index in [0, 99, 100, 99_999, 999_999] {
            assert_eq!(key(index).len(), KEY_LEN);
            assert!(key(index) < key(index + 1));
            assert!(key(index) < range_end());
        }
    }

    #[test]
    fn scattering_visits_every_number_once() {
        for len in [1, 2, 7, 1_000, 1_024, 100_000] {
            let scattered = Scattered::new(len);
            let seen: BTreeSet<u64> = (0..len).map(|position| scattered.at(position)).collect();
            assert_eq!(seen.len() as u64, len);
            assert!(seen.iter().all(|number| *number < len));
        }
    }

    #[test]
    fn values_differ_and_have_the_asked_length() {
        let values = Values::new(256);
        assert_eq!(values.get(1).len(), 256);
        assert_ne!(values.get(1), values.get(2));
    }
}
