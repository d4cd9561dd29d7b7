//! The CRC-32C of a concatenation from the CRCs of its parts.
//!
//! A CRC is a remainder modulo a polynomial over GF(2): appending n bytes multiplies what came before
//! by x^(8n). The `crc32c` crate offers the same, but squares matrices anew at each call (some 10 µs);
//! a compaction's hash combines one CRC per change.

/// The Castagnoli polynomial; the highest bit is the coefficient of x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;

/// Combines CRCs; quick when the lengths repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Combiner {
    /// x^(2^k) at k.
    powers: [u32; 31],
    /// The last length and x^(8·length).
    last: (u64, u32),
}

impl Combiner {
    pub(crate) fn new() -> Self {
        let mut powers = [ONE >> 1; 31];
        for k in 1..powers.len() {
            powers[k] = multiply(powers[k - 1], powers[k - 1]);
        }
        Self { powers, last: (0, ONE) }
    }

    /// The CRC of a text with CRC `first`, followed by one of `len` bytes with CRC `second`.
    pub(crate) fn combine(&mut self, first: u32, second: u32, len: u64) -> u32 {
        if self.last.0 != len {
            self.last = (len, self.shift(len));
        }
        multiply(self.last.1, first) ^ second
    }

    /// x^(8·len).
    fn shift(&self, mut len: u64) -> u32 {
        let mut product = ONE;
        // x^(2^31) = x modulo this polynomial: powers of two repeat after 31.
        let mut k = 3;
        while len > 0 {
            if len & 1 == 1 {
                product = multiply(self.powers[k % 31], product);
            }
            len >>= 1;
            k += 1;
        }
        product
    }
}

/// The product modulo the polynomial.
fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_crc_of_the_whole_text_for_any_cut() {
        let text: Vec<u8> = (0..70_000_u32).map(|i| (i * 31 % 251) as u8).collect();
        let mut combiner = Combiner::new();
        for cut in [0, 1, 2, 7, 8, 255, 256, 1000, 65_535, 65_536, 69_999, 70_000] {
            let (first, second) = text.split_at(cut);
            let (first_crc, second_crc) = (crc32c::crc32c(first), crc32c::crc32c(second));
            for _ in 0..2 {
                let combined = combiner.combine(first_crc, second_crc, second.len() as u64);
                assert_eq!(combined, crc32c::crc32c(&text), "{cut}");
            }
        }
    }

    #[test]
    fn agrees_with_the_crate_for_lengths_beyond_any_buffer() {
        let mut combiner = Combiner::new();
        for len in [1_u64 << 28, (1 << 29) + 5, (1 << 33) + 12_345, 1 << 40] {
            let expected =
                crc32c::crc32c_combine(0x1234_5678, 0x9abc_def0, len.try_into().unwrap());
            assert_eq!(combiner.combine(0x1234_5678, 0x9abc_def0, len), expected, "{len}");
        }
    }
}
