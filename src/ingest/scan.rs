//! The one place of the readers that may look at many bytes at once: where the fields of a CSV line are.
//!
//! 64 bytes at a time become bit masks of quotes, commas and line ends; a running parity tells which commas are
//! inside quotes, and counting the others leads to the wanted columns without a look at the rest. AVX-512 or AVX2
//! where the processor has it, the same arithmetic on plain bytes elsewhere.

/// A line of plain CSV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// Where the next one begins.
    pub(super) next: usize,
    /// How many fields it has.
    pub(super) fields: usize,
    /// Whether any field has doubled quotes inside.
    pub(super) doubled: bool,
}

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
/// `None` for a line that is not plain CSV (a quote within a field, a line break in quotes) or has no end.
pub(super) fn fields(
    bytes: &[u8],
    at: usize,
    wanted: &[usize],
    found: &mut Vec<(usize, usize)>,
) -> Option<Line> {
    #[cfg(target_arch = "x86_64")]
    if x86::has_bits() {
        if std::arch::is_x86_feature_detected!("avx512bw") {
            // SAFETY: the features that the function is compiled for were just detected; AVX-512 has the others.
            #[allow(unsafe_code)]
            return unsafe { x86::fields_avx512(bytes, at, wanted, found) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the features that the function is compiled for were just detected.
            #[allow(unsafe_code)]
            return unsafe { x86::fields_avx2(bytes, at, wanted, found) };
        }
    }
    fields_with(portable, prefix_xor, select, bytes, at, wanted, found)
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
    prefix_xor: impl Fn(u64) -> u64,
    select: impl Fn(u64, usize) -> usize,
    bytes: &[u8],
    at: usize,
    wanted: &[usize],
    found: &mut Vec<(usize, usize)>,
) -> Option<Line> {
    found.clear();
    let mut state = State::new(at, wanted);
    // What the bytes before the block hand on: inside quotes, a comma or the beginning, a quote that opened or closed.
    let (mut inside, mut after_comma, mut after_quote, mut after_close) = (0u64, 1u64, 0u64, 0u64);
    let mut base = at;
    // What is odd is remembered until the line ends, so that only one branch depends on it.
    let (mut odd, mut doubled) = (0, 0);
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
        doubled |= after & m.quotes & line;
        odd |= odd_open | odd_close | (m.line_feeds & quoted & line);
        state.take(commas, base, &select, bytes, wanted, found);
        if line_feeds != 0 {
            if odd != 0 {
                return None;
            }
            let end = base + line_feeds.trailing_zeros() as usize;
            let text_end = if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
            if state.next == state.commas {
                state.field(text_end, bytes, wanted, found);
            }
            return Some(Line { next: end + 1, fields: state.commas + 1, doubled: doubled != 0 });
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

/// The place of the bit that has `count` set bits below it; one beyond the last where there are no more.
#[inline(always)]
fn select(mut bits: u64, count: usize) -> usize {
    for _ in 0..count {
        bits &= bits.wrapping_sub(1);
    }
    bits.trailing_zeros() as usize
}

/// Where in the line the search is.
struct State {
    /// Commas passed.
    commas: usize,
    /// Where the next wanted field begins, if the comma before it was passed.
    start: usize,
    /// The next wanted field.
    next: usize,
}

impl State {
    fn new(start: usize, wanted: &[usize]) -> Self {
        Self { commas: 0, start, next: wanted.first().copied().unwrap_or(usize::MAX) }
    }

    /// Passes the commas of a block; field n lies between comma n - 1 and comma n.
    #[inline(always)]
    fn take(
        &mut self,
        commas: u64,
        base: usize,
        select: impl Fn(u64, usize) -> usize,
        bytes: &[u8],
        wanted: &[usize],
        found: &mut Vec<(usize, usize)>,
    ) {
        let after = self.commas + commas.count_ones() as usize;
        while self.next <= after {
            if self.next > self.commas {
                self.start = base + select(commas, self.next - 1 - self.commas) + 1;
            }
            if self.next == after {
                break;
            }
            let end = base + select(commas, self.next - self.commas);
            self.field(end, bytes, wanted, found);
        }
        self.commas = after;
    }

    /// The next wanted field ends at `end`.
    #[inline(always)]
    fn field(&mut self, end: usize, bytes: &[u8], wanted: &[usize], found: &mut Vec<(usize, usize)>) {
        let start = self.start;
        let quoted = end > start + 1 && bytes[start] == b'"' && bytes[end - 1] == b'"';
        found.push(if quoted { (start + 1, end - 1) } else { (start, end) });
        self.next = wanted.get(found.len()).copied().unwrap_or(usize::MAX);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Line, Masks, fields_with};
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set1_epi8, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm512_cmpeq_epi8_mask,
        _mm512_loadu_si512, _mm512_set1_epi8, _pdep_u64,
    };

    /// What both ways need besides their own.
    pub(super) fn has_bits() -> bool {
        let counting = std::arch::is_x86_feature_detected!("popcnt")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2");
        counting && std::arch::is_x86_feature_detected!("pclmulqdq")
    }

    #[target_feature(enable = "avx512f,avx512bw,bmi1,bmi2,popcnt,pclmulqdq")]
    pub(super) fn fields_avx512(
        bytes: &[u8],
        at: usize,
        wanted: &[usize],
        found: &mut Vec<(usize, usize)>,
    ) -> Option<Line> {
        fields_with(
            |block| masks_avx512(block),
            |bits| prefix_xor(bits),
            |bits, count| select(bits, count),
            bytes,
            at,
            wanted,
            found,
        )
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,pclmulqdq")]
    pub(super) fn fields_avx2(
        bytes: &[u8],
        at: usize,
        wanted: &[usize],
        found: &mut Vec<(usize, usize)>,
    ) -> Option<Line> {
        fields_with(
            |block| masks_avx2(block),
            |bits| prefix_xor(bits),
            |bits, count| select(bits, count),
            bytes,
            at,
            wanted,
            found,
        )
    }

    /// Multiplying by ones without carries adds up, modulo 2, the bits below each.
    #[target_feature(enable = "pclmulqdq")]
    #[inline]
    fn prefix_xor(bits: u64) -> u64 {
        let product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(bits.cast_signed()), _mm_set1_epi8(-1), 0);
        _mm_cvtsi128_si64(product).cast_unsigned()
    }

    /// Deposits one bit at the place of the bit that has `count` set bits below it.
    #[target_feature(enable = "bmi1,bmi2")]
    #[inline]
    fn select(bits: u64, count: usize) -> usize {
        _pdep_u64(1 << count, bits).trailing_zeros() as usize
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn masks_avx512(block: &[u8; BLOCK]) -> Masks {
        // SAFETY: the block is 64 bytes long, and the load needs no alignment.
        #[allow(unsafe_code)]
        let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        let of = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
        Masks { quotes: of(b'"'), commas: of(b','), line_feeds: of(b'\n'), returns: of(b'\r') }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn masks_avx2(block: &[u8; BLOCK]) -> Masks {
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
        scan: impl Fn(&[u8], &[usize], &mut Vec<(usize, usize)>) -> Option<Line>,
        line: &str,
        wanted: &[usize],
    ) -> Found {
        let mut ranges = Vec::new();
        let scanned = scan(line.as_bytes(), wanted, &mut ranges)?;
        assert_eq!(scanned.doubled, line.starts_with("\"a\"\"b"), "{line}");
        Some((scanned.fields, ranges.into_iter().map(|(start, end)| line[start..end].to_string()).collect()))
    }

    fn both(line: &str, wanted: &[usize]) -> Found {
        let here = found(|b, w, f| fields(b, 0, w, f), line, wanted);
        let plain = found(|b, w, f| fields_with(portable, prefix_xor, select, b, 0, w, f), line, wanted);
        assert_eq!(here, plain, "{line}");
        #[cfg(target_arch = "x86_64")]
        if x86::has_bits() && std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the features that the function is compiled for were just detected.
            #[allow(unsafe_code)]
            let avx2 = found(|b, w, f| unsafe { x86::fields_avx2(b, 0, w, f) }, line, wanted);
            assert_eq!(avx2, plain, "{line}");
        }
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
