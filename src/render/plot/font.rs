//! The embedded font: how wide a text is.

use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

/// What SVGs name: the embedded font, Verdana, which has the same metrics (both descend from Bitstream Vera's
/// design), then whatever the viewer has, which is rarely wider.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// The bytes of DejaVu Sans, regular and bold.
pub(super) fn faces() -> [&'static [u8]; 2] {
    [dejavu::sans::regular(), dejavu::sans::bold()]
}

/// The width of `text` at `size` pixels per em.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let data = faces()[usize::from(bold)];
    let Ok(font) = FontRef::new(data) else {
        // Not reached with the embedded font; an average letter of it is 0.6 em wide.
        return 0.6 * size * text.chars().count() as f64;
    };
    let metrics = font.glyph_metrics(Size::new(size as f32), LocationRef::default());
    let map = font.charmap();
    let advance = |c: char| metrics.advance_width(map.map(c).unwrap_or_default()).unwrap_or(0.0);
    text.chars().map(|c| f64::from(advance(c))).sum()
}

/// `text`, shortened in the middle until it is at most `limit` pixels wide.
pub(super) fn fit(text: &str, size: f64, limit: f64) -> String {
    fit_in(text, size, limit, false)
}

/// The same in bold letters.
pub(super) fn fit_bold(text: &str, size: f64, limit: f64) -> String {
    fit_in(text, size, limit, true)
}

fn fit_in(text: &str, size: f64, limit: f64, bold: bool) -> String {
    let count = text.chars().count();
    if width(text, size, bold) <= limit {
        return super::super::table::elide(text, count);
    }
    let (mut low, mut high) = (1, count);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        let fits = width(&super::super::table::elide(text, middle), size, bold) <= limit;
        if fits { low = middle } else { high = middle }
    }
    super::super::table::elide(text, low)
}

/// `text` on one line where that is at most `limit` pixels wide, else on two, broken at the last ` · ` that leaves the
/// first within the limit; what is still too wide is shortened.
pub(super) fn one_or_two_lines(text: &str, size: f64, limit: f64) -> Vec<String> {
    let fits = |at: &usize| width(&text[..*at], size, false) <= limit;
    if fits(&text.len()) {
        return vec![fit(text, size, limit)];
    }
    match text.match_indices(" · ").map(|(at, _)| at).filter(fits).last() {
        Some(at) => vec![fit(&text[..at], size, limit), fit(&text[at + " · ".len()..], size, limit)],
        None => vec![fit(text, size, limit)],
    }
}

/// Every name shortened to `limit`, so that names which are told apart by their middle still are: where two come out
/// the same, the beginning that they share is left out instead.
pub(super) fn fit_apart(names: &[String], size: f64, limit: f64) -> Vec<String> {
    let fitted: Vec<String> = names.iter().map(|n| fit(n, size, limit)).collect();
    let apart = |i: usize| {
        let alike = |j: &usize| *j != i && fitted[*j] == fitted[i] && names[*j] != names[i];
        let shared = |j: usize| names[i].chars().zip(names[j].chars()).take_while(|(a, b)| a == b).count();
        let Some(least) = (0..names.len()).filter(alike).map(shared).min() else { return fitted[i].clone() };
        // A few characters of what is shared stay, to be read with.
        let rest: String = names[i].chars().skip(least.saturating_sub(8)).collect();
        let count = (1..=rest.chars().count()).rev();
        let head = |n: usize| format!("…{}", rest.chars().take(n).collect::<String>());
        count.map(head).find(|t| width(t, size, false) <= limit).unwrap_or_default()
    };
    (0..names.len()).map(apart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        // DejaVu Sans: 2048 units per em; 'i' advances 569, 'W' 2025, '0' 1303.
        assert!((width("i", 2048.0, false) - 569.0).abs() < 0.5);
        assert!((width("W0", 2048.0, false) - (2025.0 + 1303.0)).abs() < 0.5);
        assert!(width("iii", 12.0, true) > width("iii", 12.0, false));
    }

    #[test]
    fn what_is_too_wide_for_a_line_stands_on_two() {
        let limit = width("aaa · bbb", 10.0, false) + 1.0;
        let lines = |text: &str| one_or_two_lines(text, 10.0, limit);
        assert_eq!(lines("aaa · bbb"), ["aaa · bbb"]);
        assert_eq!(lines("aaa · bbb · ccc"), ["aaa · bbb", "ccc"]);
        assert_eq!(lines("aaaaaaaaaaaaaaaa").len(), 1);
    }

    #[test]
    fn a_fitted_text_is_no_wider_than_asked() {
        let name = "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64_tn_align8>";
        let fitted = fit(name, 11.0, 150.0);
        assert!(width(&fitted, 11.0, false) <= 150.0 && fitted.contains('…'), "{fitted}");
        assert_eq!(fit("short", 11.0, 150.0), "short");
    }

    #[test]
    fn names_that_differ_in_the_middle_stay_apart() {
        let name =
            |i: usize| format!("void cutlass::Kernel<cutlass_80_simt_sgemm_{i}x128_8x4_tn_align1>(Params)");
        let fitted = fit_apart(&[name(1), name(2)], 11.0, 200.0);
        assert_ne!(fitted[0], fitted[1]);
        assert!(fitted.iter().all(|f| width(f, 11.0, false) <= 200.0), "{fitted:?}");
    }
}
