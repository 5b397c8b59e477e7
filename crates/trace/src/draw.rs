//! Whole numbers from a random stream, spelled out here so that a seed means the same for ever.

use rand_chacha::rand_core::RngCore;

/// A whole number in `least..=most`, every one equally likely.
///
/// The high half of a 64 × 64 bit product, redrawn in the sliver that would favour some values.
///
/// Source: Lemire 2019, "Fast Random Integer Generation in an Interval", algorithm 5.
pub(crate) fn uniform(random: &mut impl RngCore, least: u64, most: u64) -> u64 {
    debug_assert!(least <= most, "an empty range has no number");
    let Some(range) = (most - least).checked_add(1) else { return random.next_u64() };
    let threshold = range.wrapping_neg() % range;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(range);
        if product as u64 >= threshold {
            return least + (product >> 64) as u64;
        }
    }
}

/// Spreads the bits of a number over all of its 64: neighbours become strangers.
///
/// Source: the finaliser of SplitMix64, Steele, Lea & Flood 2014.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// A hash of some bytes that is the same for ever.
///
/// Source: FNV-1a, from a state that `start` chooses, its bits spread at the end.
pub(crate) fn hash(start: u64, bytes: &[u8]) -> u64 {
    let basis = mix(start ^ 0xCBF2_9CE4_8422_2325);
    mix(bytes.iter().fold(basis, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)))
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn every_value_is_equally_likely() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[uniform(&mut random, 10, 16) as usize - 10] += 1;
        }
        // Chi-squared with 6 degrees of freedom: 22.5 is passed once in a thousand seeds.
        let chi: f64 = counts.iter().map(|n| (f64::from(*n) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi < 22.5, "{counts:?}");
    }

    #[test]
    fn hashes_differ_in_half_of_their_bits() {
        let mut ones = 0;
        for n in 0..1_000_u64 {
            ones += (hash(0, &n.to_le_bytes()) ^ hash(0, &(n + 1).to_le_bytes())).count_ones();
            ones += (hash(n, b"name") ^ hash(n + 1, b"name")).count_ones();
        }
        assert!((63_000..65_000).contains(&ones), "{ones} of 128,000 bits");
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF, "the first number of SplitMix64 with the seed 0");
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = ChaCha8Rng::seed_from_u64(42);
        let drawn: Vec<u64> = (0..6).map(|_| uniform(&mut random, 1, 8192)).collect();
        assert_eq!(drawn, [5587, 7785, 3503, 5140, 2365, 1229]);
        assert_eq!(uniform(&mut random, 5, 5), 5);
        uniform(&mut random, 0, u64::MAX);
    }
}
