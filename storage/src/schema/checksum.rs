//! The CRC-32 at the end of every stored value.

use bytes::Bytes;

use crate::engine::Family;
use crate::error::Fatal;

/// Length of the checksum at the end of a value.
const LEN: usize = 4;

/// Ends `body` with the checksum over `key` and `body`, and says what it is.
pub(crate) fn seal(key: &[u8], mut body: Vec<u8>) -> (Bytes, u32) {
    let crc = crc(key, &body);
    body.extend_from_slice(&crc.to_be_bytes());
    (Bytes::from(body), crc)
}

/// Checks and cuts off the checksum.
pub(crate) fn unseal(family: Family, key: &[u8], value: &Bytes) -> Result<Bytes, Fatal> {
    let Some((body, stored)) = value.split_last_chunk::<LEN>() else {
        return Err(corrupt(
            family,
            key,
            "a checksum of 4 bytes",
            &format!("{} bytes", value.len()),
        ));
    };
    let (expected, found) = (u32::from_be_bytes(*stored), crc(key, body));
    if expected != found {
        return Err(corrupt(
            family,
            key,
            &format!("crc32 {expected:08x}"),
            &format!("crc32 {found:08x}"),
        ));
    }
    Ok(value.slice(..body.len()))
}

fn crc(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Stored bytes that cannot be what was written.
pub(crate) fn corrupt(family: Family, key: &[u8], expected: &str, found: &str) -> Fatal {
    let location = match family {
        Family::Versions => super::version::describe(key),
        Family::Revisions => super::change::describe(key),
        Family::State => format!("state record {}", key.escape_ascii()),
    };
    Fatal::Corrupt { location, expected: expected.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_key_or_value_is_found() {
        let key = b"some key".to_vec();
        let (sealed, _) = seal(&key, b"some body".to_vec());
        assert_eq!(unseal(Family::State, &key, &sealed).unwrap(), "some body");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Family::State, &key, &bad.into()).is_err(), "bit {bit} of the value");
        }
        for bit in 0..key.len() * 8 {
            let mut bad = key.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Family::State, &bad, &sealed).is_err(), "bit {bit} of the key");
        }
        assert!(unseal(Family::State, &key, &Bytes::from_static(b"abc")).is_err());
    }
}
