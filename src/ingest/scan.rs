//! The one place of the readers that may look at many bytes at once: where the fields of a CSV line are.
//!
//! 64 bytes at a time become bit masks of quotes, commas and line ends; a running parity tells which commas are
//! inside quotes, and counting the others leads to the wanted columns without a look at the rest. AVX2 where the
//! processor has it, the same arithmetic on plain bytes elsewhere.

/// The bytes of a block that matter, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Masks {
    quotes: u64,
    commas: u64,
    line_feeds: u64,
    returns: u64,
}

const BLOCK: usize = 64;

/// Finds fields of the line that begins at `at`: those of `wanted`, which ascends, as ranges without their quotes.
///
/// Gives where the next line begins and how many fields the line has; `None` for a line that is not plain CSV (a quote
/// within a field, a line break in quotes) or has no end.
pub(super) fn fields(
    bytes: &[u8],
    at: usize,
    wanted: &[usize],
    found: &mut Vec<(usize, usize)>,
) -> Option<(usize, usize)> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the features that the function is compiled for were just detected.
        #[allow(unsafe_code)]
        return unsafe { x86::fields(bytes, at, wanted, found) };
    }
    fields_with(portable, bytes, at, wanted, found)
}

fn portable(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks::default();
    for (bit, byte) in block.iter().enumerate() {
        masks.quotes |= u64::from(*byte == b'"') << bit;
        masks.commas |= u64::from(*byte == b',') << bit;
        masks.line_feeds |= u64::from(*byte == b'\n') << bit;
        masks.returns |= u64::from(*byte == b'\r') << bit;
    }
    masks
}

#[inline(always)]
fn fields_with(
    masks: impl Fn(&[u8; BLOCK]) -> Masks,
    bytes: &[u8],
    at: usize,
    wanted: &[usize],
    found: &mut Vec<(usize, usize)>,
) -> Option<(usize, usize)> {
    found.clear();
    let mut state = State { start: at, fields: 0 };
    // What the bytes before the block hand on: inside quotes, a comma or the beginning, a quote that opened or closed.
    let (mut inside, mut after_comma, mut after_quote, mut after_close) = (0u64, 1u64, 0u64, 0u64);
    let mut base = at;
    loop {
        let mut tail = [0; BLOCK];
        let rest = bytes.get(base..).filter(|rest| !rest.is_empty())?;
        let block = match rest.first_chunk::<BLOCK>() {
            Some(block) => block,
            None => {
                tail[..rest.len()].copy_from_slice(rest);
                &tail
            }
        };
        let m = masks(block);
        let quoted = prefix_xor(m.quotes) ^ inside;
        let line_feeds = m.line_feeds & !quoted;
        // Only this line's bytes count.
        let line = if line_feeds == 0 { u64::MAX } else { line_feeds ^ (line_feeds - 1) };
        let commas = m.commas & !quoted & line;
        let opens = m.quotes & quoted & line;
        let closes = m.quotes & !quoted & line;
        let starts = (commas << 1) | after_comma;
        let odd_open = opens & !(starts | (m.quotes << 1) | after_quote);
        let after = (closes << 1) | after_close;
        let odd_close = after & !(m.commas | m.line_feeds | m.returns | m.quotes) & line;
        if odd_open != 0 || odd_close != 0 || m.line_feeds & quoted & line != 0 {
            return None;
        }
        state.take(commas, base, bytes, wanted, found);
        if line_feeds != 0 {
            let end = base + line_feeds.trailing_zeros() as usize;
            let text_end = if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
            state.field(text_end, bytes, wanted, found);
            return Some((end + 1, state.fields));
        }
        inside = 0u64.wrapping_sub(quoted >> 63);
        after_comma = commas >> 63;
        after_quote = m.quotes >> 63;
        after_close = closes >> 63;
        base += BLOCK;
    }
}

/// Bit i of the result is the parity of bits 0 to i.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Where in the line the search is.
struct State {
    /// Where the next field begins.
    start: usize,
    /// Fields that have ended.
    fields: usize,
}

impl State {
    /// Passes the commas of a block, and stops at those around wanted fields.
    #[inline(always)]
    fn take(
        &mut self,
        mut commas: u64,
        base: usize,
        bytes: &[u8],
        wanted: &[usize],
        found: &mut Vec<(usize, usize)>,
    ) {
        let count = commas.count_ones() as usize;
        // The end of field n is comma n; its beginning, comma n - 1.
        let next = wanted.get(found.len()).copied().unwrap_or(usize::MAX);
        if next > self.fields + count {
            if commas != 0 {
                self.start = base + BLOCK - commas.leading_zeros() as usize;
            }
            self.fields += count;
            return;
        }
        while commas != 0 {
            let at = base + commas.trailing_zeros() as usize;
            self.field(at, bytes, wanted, found);
            self.start = at + 1;
            commas &= commas - 1;
        }
    }

    /// A field ends at `end`.
    #[inline(always)]
    fn field(&mut self, end: usize, bytes: &[u8], wanted: &[usize], found: &mut Vec<(usize, usize)>) {
        if wanted.get(found.len()) == Some(&self.fields) {
            let quoted = end > self.start + 1 && bytes[self.start] == b'"' && bytes[end - 1] == b'"';
            found.push(if quoted { (self.start + 1, end - 1) } else { (self.start, end) });
        }
        self.fields += 1;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Masks, fields_with};
    use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8};

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn fields(
        bytes: &[u8],
        at: usize,
        wanted: &[usize],
        found: &mut Vec<(usize, usize)>,
    ) -> Option<(usize, usize)> {
        fields_with(|block| masks(block), bytes, at, wanted, found)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn masks(block: &[u8; BLOCK]) -> Masks {
        let (low, high) = block.split_at(BLOCK / 2);
        // SAFETY: both halves are 32 bytes long, and the load needs no alignment.
        #[allow(unsafe_code)]
        let halves =
            unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] };
        let of = |byte: u8| {
            let wanted = _mm256_set1_epi8(byte.cast_signed());
            let [low, high] =
                halves.map(|half| _mm256_movemask_epi8(_mm256_cmpeq_epi8(half, wanted)).cast_unsigned());
            u64::from(low) | (u64::from(high) << 32)
        };
        Masks { quotes: of(b'"'), commas: of(b','), line_feeds: of(b'\n'), returns: of(b'\r') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Option<(usize, Vec<String>)>;

    fn found(
        scan: impl Fn(&[u8], &[usize], &mut Vec<(usize, usize)>) -> Option<(usize, usize)>,
        line: &str,
        wanted: &[usize],
    ) -> Found {
        let mut ranges = Vec::new();
        let (_, count) = scan(line.as_bytes(), wanted, &mut ranges)?;
        Some((count, ranges.into_iter().map(|(start, end)| line[start..end].to_string()).collect()))
    }

    fn both(line: &str, wanted: &[usize]) -> Found {
        let here = found(|b, w, f| fields(b, 0, w, f), line, wanted);
        let plain = found(|b, w, f| fields_with(portable, b, 0, w, f), line, wanted);
        assert_eq!(here, plain, "{line}");
        here
    }

    #[test]
    fn wanted_fields_are_found_wherever_they_lie() {
        let cells: Vec<String> = (0..200u32).map(|i| format!("{},{:03}", i * 37 % 1000, i)).collect();
        let line = cells.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(",") + "\r\nnext";
        for wanted in [vec![0], vec![0, 1, 2], vec![199], vec![5, 63, 64, 65, 198, 199], (0..200).collect()] {
            let expected: Vec<String> = wanted.iter().map(|i| cells[*i].clone()).collect();
            assert_eq!(both(&line, &wanted), Some((200, expected)));
        }
    }

    #[test]
    fn quotes_within_quotes_are_kept_and_other_quotes_refused() {
        assert_eq!(
            both("\"a\"\"b,\",c,\"\"\n", &[0, 1, 2]),
            Some((3, vec!["a\"\"b,".into(), "c".into(), String::new()]))
        );
        assert_eq!(both("a\"b,c\n", &[0]), None);
        assert_eq!(both("\"a\"b,c\n", &[0]), None);
        assert_eq!(both("\"a\nb\",c\n", &[0]), None);
        assert_eq!(both("\"open,c\n", &[0]), None);
        assert_eq!(both("no end", &[0]), None);
        assert_eq!(both("\n", &[0]), Some((1, vec![String::new()])));
    }
}
