//! The order in which lanes run: anew in every round, from a seed.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;

/// Fisher and Yates' shuffle (Knuth, TAOCP 2, algorithm P).
pub(super) fn shuffle<T>(order: &mut [T], rng: &mut Xoshiro256PlusPlus) {
    for i in (1..order.len()).rev() {
        let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
}
