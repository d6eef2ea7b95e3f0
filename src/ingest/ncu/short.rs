//! Short cells, whose bytes fit one machine word and are looked at all at once: nearly every number of an export.

/// The longest cell that is short.
pub(super) const LONGEST: usize = 16;
/// Every byte 1.
const ONES: u128 = u128::MAX / 255;
/// The highest bit of every byte.
const HIGH: u128 = ONES << 7;

/// A cell of 1 to 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    /// The first byte lowest, each less `b'0'` (digits by their value); zero beyond the last.
    values: u128,
    /// The highest bit of every byte that is no digit.
    others: u128,
    length: usize,
}

impl Short {
    /// `None` for a cell that is empty or too long.
    pub(super) fn new(cell: &[u8]) -> Option<Self> {
        let length = cell.len();
        let bytes = load(cell)?;
        // XOR leaves digits as 0 to 9, and no other byte.
        let values = bytes ^ ((ONES * u128::from(b'0')) & low(length));
        let above_nine = (values & !HIGH) + ONES * (0x80 - 10);
        Some(Self { values, others: (above_nine | values) & HIGH, length })
    }

    /// How many bytes it has.
    pub(super) fn len(self) -> usize {
        self.length
    }

    /// Where the first byte is that is no digit.
    pub(super) fn first_other(self) -> Option<usize> {
        (self.others != 0).then(|| self.others.trailing_zeros() as usize / 8)
    }

    /// Whether at most one byte is no digit.
    pub(super) fn has_one_other(self) -> bool {
        self.others & self.others.wrapping_sub(1) == 0
    }

    /// This cell without the byte at `at`.
    fn without(self, at: usize) -> Self {
        let take = |word: u128| (word & low(at)) | ((word >> 8) & !low(at));
        Self { values: take(self.values), others: take(self.others), length: self.length - 1 }
    }

    /// The number that its digits make; every byte must be one, so it is below 10^16.
    fn integer(self) -> u64 {
        // Zeros before the first digit change nothing.
        let aligned = self.values << (8 * (LONGEST - self.length));
        eight_digits(aligned as u64) * 100_000_000 + eight_digits((aligned >> 64) as u64)
    }

    /// The digits without separators as one integer, and how many of them are decimals: of digits in groups of three
    /// that `cell`, the same cell, separates by `grouping`, and a fraction after `decimal`. `None` for anything else.
    pub(super) fn number(self, cell: &[u8], grouping: u8, decimal: u8) -> Option<(u64, usize)> {
        let (mut rest, mut removed, mut group) = (self, 0, 0);
        let mut decimals = 0;
        while let Some(at) = rest.first_other() {
            let separator = cell[at + removed];
            let digits = at - group;
            // The first group has one to three digits, the others three, and none follows a fraction.
            let groups = removed == 0 || digits == 3;
            let is_group = separator == grouping && (1..=3).contains(&digits) && groups;
            let is_decimal = separator == decimal && digits > 0 && groups;
            rest = rest.without(at);
            removed += 1;
            group = at;
            if is_decimal {
                decimals = rest.length - at;
                return (decimals > 0 && rest.others == 0).then(|| (rest.integer(), decimals));
            }
            if !is_group {
                return None;
            }
        }
        (removed == 0 || rest.length - group == 3).then(|| (rest.integer(), decimals))
    }
}

/// The lowest `bytes` bytes.
fn low(bytes: usize) -> u128 {
    if bytes >= LONGEST { u128::MAX } else { (1 << (8 * bytes)) - 1 }
}

/// The bytes of a cell, the first lowest, by loads that overlap: copying a few bytes takes longer.
fn load(cell: &[u8]) -> Option<u128> {
    let length = cell.len();
    if let (Some(first), Some(last)) = (cell.first_chunk::<8>(), cell.last_chunk::<8>()) {
        let high = u128::from(u64::from_le_bytes(*last));
        return (length <= LONGEST)
            .then(|| u128::from(u64::from_le_bytes(*first)) | (high << (8 * (length - 8))));
    }
    if let (Some(first), Some(last)) = (cell.first_chunk::<4>(), cell.last_chunk::<4>()) {
        let high = u128::from(u32::from_le_bytes(*last));
        return Some(u128::from(u32::from_le_bytes(*first)) | (high << (8 * (length - 4))));
    }
    match cell {
        [] => None,
        [a] => Some(u128::from(*a)),
        [a, b] => Some(u128::from(*a) | (u128::from(*b) << 8)),
        [a, b, c, ..] => Some(u128::from(*a) | (u128::from(*b) << 8) | (u128::from(*c) << 16)),
    }
}

/// Eight digits as values, the first lowest, as a number: pairs, then fours, then all, each by one multiplication
/// (Daniel Lemire, "Quickly parsing eight digits", 2018).
fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(cell: &str) -> Option<(u64, usize)> {
        Short::new(cell.as_bytes())?.number(cell.as_bytes(), b',', b'.')
    }

    #[test]
    fn every_length_of_digits_is_read() {
        let digits = "9876543210123456";
        for length in 1..=digits.len() {
            assert_eq!(number(&digits[..length]), Some((digits[..length].parse().unwrap(), 0)));
        }
        assert_eq!(number(""), None);
        assert_eq!(number("12345678901234567"), None);
    }

    #[test]
    fn groups_and_fractions_are_read_and_nothing_else() {
        assert_eq!(number("1,234,567.89"), Some((123_456_789, 2)));
        assert_eq!(number("1,234,567"), Some((1_234_567, 0)));
        assert_eq!(number("0.5"), Some((5, 1)));
        assert_eq!(number("123456.789012"), Some((123_456_789_012, 6)));
        for odd in [
            "1,23",
            "1234,567",
            ",123",
            "1,234,",
            ".5",
            "5.",
            "1.2.3",
            "1.2,345",
            "-1",
            "1e5",
            "n/a",
            "12,34,567",
            "1 234",
            "é",
        ] {
            assert_eq!(number(odd), None, "{odd}");
        }
    }

    #[test]
    fn every_byte_is_a_digit_or_none() {
        for byte in 0..=255u8 {
            for at in 0..9 {
                let mut cell = [b'7'; 9];
                cell[at] = byte;
                let expected = (!byte.is_ascii_digit()).then_some(at);
                assert_eq!(Short::new(&cell).unwrap().first_other(), expected, "{byte}");
            }
        }
    }
}
