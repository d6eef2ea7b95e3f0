//! Lines of nested brackets, all as probable.

use super::Choices;

/// Pairs of a line.
const PAIRS: usize = 7;
/// Kinds of bracket, opening and closing.
const KINDS: [(char, char); 3] = [('(', ')'), ('[', ']'), ('{', '}')];

/// The brackets of a line: [`PAIRS`] pairs, nested in any of the Catalan(7) = 429 ways, each pair of any kind.
pub(super) struct Brackets;

impl Brackets {
    /// The entropy of a line: log2(429 x 3^7).
    pub(super) fn bits() -> f64 {
        (ways(2 * PAIRS, 0) as f64).log2() + PAIRS as f64 * (KINDS.len() as f64).log2()
    }

    /// Appends one line's brackets, bracket by bracket: one opens as often as it does among all the ways to go on.
    pub(super) fn draw(choices: &mut Choices, text: &mut String) {
        let mut open = Vec::with_capacity(PAIRS);
        for left in (1..=2 * PAIRS).rev() {
            let all = ways(left, open.len());
            let opening = ways(left - 1, open.len() + 1);
            // What is certain is no choice and costs nothing.
            let opens = opening == all || (opening > 0 && choices.happens(opening as f64 / all as f64));
            match open.pop_if(|_| !opens) {
                Some(closing) => text.push(closing),
                None => {
                    let (opening, closing) = KINDS[choices.below(KINDS.len())];
                    text.push(opening);
                    open.push(closing);
                }
            }
        }
    }
}

/// In how many ways `left` brackets can close all of `depth` open ones: N(l, d) = N(l - 1, d + 1) + N(l - 1, d - 1),
/// N(0, 0) = 1 (the ballot numbers).
fn ways(left: usize, depth: usize) -> u64 {
    const WAYS: [[u64; 2 * PAIRS + 2]; 2 * PAIRS + 1] = all_ways();
    WAYS[left][depth]
}

const fn all_ways() -> [[u64; 2 * PAIRS + 2]; 2 * PAIRS + 1] {
    let mut ways = [[0; 2 * PAIRS + 2]; 2 * PAIRS + 1];
    ways[0][0] = 1;
    let mut left = 1;
    while left <= 2 * PAIRS {
        let mut depth = 0;
        while depth <= 2 * PAIRS {
            let closing = if depth > 0 { ways[left - 1][depth - 1] } else { 0 };
            ways[left][depth] = ways[left - 1][depth + 1] + closing;
            depth += 1;
        }
        left += 1;
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::SeedableRng;
    use std::collections::HashSet;

    #[test]
    fn ways_are_the_catalan_numbers() {
        let catalan: Vec<u64> = (0..=7).map(|n| ways(2 * n, 0)).collect();
        assert_eq!(catalan, [1, 1, 2, 5, 14, 42, 132, 429]);
    }

    #[test]
    fn lines_are_balanced_all_as_surprising_and_of_every_shape() {
        let mut shapes = HashSet::new();
        let mut choices = Choices { rng: Xoshiro256PlusPlus::seed_from_u64(5), bits: 0.0 };
        for _ in 0..6000 {
            let (before, mut line) = (choices.bits, String::new());
            Brackets::draw(&mut choices, &mut line);
            assert!((choices.bits - before - Brackets::bits()).abs() < 1e-9, "{line}");
            let mut open = Vec::new();
            for c in line.chars() {
                match KINDS.iter().find(|(opening, _)| *opening == c) {
                    Some((_, closing)) => open.push(*closing),
                    None => assert_eq!(open.pop(), Some(c), "{line}"),
                }
            }
            assert!(open.is_empty() && line.len() == 2 * PAIRS, "{line}");
            shapes.insert(line.chars().map(|c| "([{".contains(c)).collect::<Vec<_>>());
        }
        assert_eq!(shapes.len(), 429);
    }
}
