//! User keys inside engine keys: any bytes, in their own order, with something behind them.
//!
//! A user key is escaped (`00` → `01 01`, `01` → `01 02`) and ended with `00`; byte order of the
//! stems is byte order of the keys, and no stem is a prefix of another.
//!
//! A key whose escaped form exceeds [`MAX_ESCAPED`] is cut there and continued with `01 00`, which no
//! escaped key contains, and a 64-bit hash of the whole key. Such keys still sort between all shorter
//! ones correctly; among themselves, where the first 48 KiB agree, they sort by hash. Two facts make
//! that harmless: readers never take a long key's place from a scan but look it up, and revisions are
//! unique, so that two keys with one hash never share an engine key; records carry the whole long key,
//! which settles whose a record is.

use crate::engine::MAX_KEY_BYTES;

/// The longest escaped user key that is stored as it is.
const MAX_ESCAPED: usize = 48 * 1024;

// Stem end (00, or 01 00 and the hash) and revision must fit behind it.
const _: () = assert!(MAX_ESCAPED + 2 + 8 + 12 <= MAX_KEY_BYTES);

const TERMINATOR: u8 = 0x00;
const ESCAPE: u8 = 0x01;

/// Appends the stem of `key`: what all its versions' engine keys begin with.
pub(crate) fn push_stem(out: &mut Vec<u8>, key: &[u8]) {
    let start = out.len();
    if let Some(first) = key.iter().position(|byte| *byte <= ESCAPE) {
        out.extend_from_slice(&key[..first]);
        for byte in &key[first..] {
            match *byte {
                0x00 => out.extend_from_slice(&[ESCAPE, 0x01]),
                0x01 => out.extend_from_slice(&[ESCAPE, 0x02]),
                plain => out.push(plain),
            }
            if out.len() - start > MAX_ESCAPED {
                break;
            }
        }
    } else {
        out.extend_from_slice(key);
    }
    if out.len() - start <= MAX_ESCAPED {
        out.push(TERMINATOR);
        return;
    }
    out.truncate(start + MAX_ESCAPED);
    if ends_inside_escape(&out[start..]) {
        out.pop();
    }
    out.extend_from_slice(&[ESCAPE, 0x00]);
    out.extend_from_slice(&crc32c::crc32c(key).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(key).to_be_bytes());
}

/// The key of a stem that [`push_stem`] made; `None` for a long key's, which does not hold it, and for
/// what is no stem.
pub(crate) fn from_stem(stem: &[u8]) -> Option<Vec<u8>> {
    let escaped = stem.strip_suffix(&[TERMINATOR])?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        key.push(match *byte {
            ESCAPE => bytes.next()?.checked_sub(1).filter(|plain| *plain <= ESCAPE)?,
            TERMINATOR => return None,
            plain => plain,
        });
    }
    Some(key)
}

/// Whether `key` is stored cut and hashed.
pub(crate) fn is_long(key: &[u8]) -> bool {
    // Each byte takes one or two when escaped: most keys are decided by their length alone.
    key.len() > MAX_ESCAPED / 2
        && key.len() + key.iter().filter(|byte| **byte <= ESCAPE).count() > MAX_ESCAPED
}

fn ends_inside_escape(escaped: &[u8]) -> bool {
    // An escape byte is never the second of a pair except as `01 01`, so parity decides.
    escaped.iter().rev().take_while(|byte| **byte == ESCAPE).count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stem(key: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_stem(&mut out, key);
        out
    }

    proptest! {
        #[test]
        fn stems_keep_the_order_of_keys_and_none_begins_another(
            a in prop::collection::vec(0u8..4, 0..12),
            b in prop::collection::vec(0u8..4, 0..12),
        ) {
            let (sa, sb) = (stem(&a), stem(&b));
            prop_assert_eq!(a.cmp(&b), sa.cmp(&sb));
            prop_assert_eq!(from_stem(&sa), Some(a.clone()));
            if a != b {
                prop_assert!(!sa.starts_with(&sb) && !sb.starts_with(&sa));
            }
        }
    }

    #[test]
    fn keys_up_to_the_request_limit_fit_the_engine_and_sort_among_short_ones() {
        for filler in [0u8, 1, 2, 0xff] {
            let long = vec![filler; 1 << 20];
            assert!(is_long(&long));
            assert!(stem(&long).len() + 12 <= MAX_KEY_BYTES);
            assert_eq!(from_stem(&stem(&long)), None);
            for (cut, tail) in [(1, 0), (1, 1), (1, 2), (5, 0xfe), (20_000, 0), (23_000, 0xff)] {
                let mut short = long[..cut].to_vec();
                short.push(tail);
                assert!(!is_long(&short));
                assert_eq!(
                    stem(&short).cmp(&stem(&long)),
                    short.cmp(&long),
                    "{filler} {cut} {tail}"
                );
            }
        }
    }

    #[test]
    fn the_border_between_short_and_long_is_the_same_for_both_functions() {
        for pad in [0u8, 1, 7] {
            for len in [
                MAX_ESCAPED / 2 - 1,
                MAX_ESCAPED / 2,
                MAX_ESCAPED - 1,
                MAX_ESCAPED,
                MAX_ESCAPED + 1,
            ] {
                let key = vec![pad; len];
                assert_eq!(
                    is_long(&key),
                    stem(&key).last() != Some(&0) || stem(&key).len() > MAX_ESCAPED + 1
                );
            }
        }
    }

    #[test]
    fn long_keys_that_differ_only_at_the_end_have_different_stems() {
        let mut a = vec![b'x'; 1_500_000];
        let b = a.clone();
        a[1_499_999] = b'y';
        assert_ne!(stem(&a), stem(&b));
    }
}
