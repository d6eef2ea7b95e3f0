//! Prose, broken at the width of a terminal.

/// `text` broken at spaces to lines of at most `width` columns, where there is a width; words longer than that, such as
/// commands and paths, stay whole. Lines after the first begin with `indent`, and the first leaves as much room.
pub(in crate::render) fn broken(text: &str, indent: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_string() };
    let options = textwrap::Options::new(width.saturating_sub(indent.len()).max(20))
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).join(&format!("\n{indent}"))
}

/// Every line of `text` broken at `width` columns, if any: what goes on is indented by two more than its line.
pub fn wrap_lines(text: &str, width: Option<usize>) -> String {
    let lines = text.lines().map(|line| {
        let begin = line.len() - line.trim_start().len();
        let indent = " ".repeat(begin + 2);
        match width {
            // Columns inside a line that fits are not touched.
            Some(width) if textwrap::core::display_width(line) > width => {
                let (before, prose) = line.split_at(begin);
                format!("{before}{}", broken(prose, &indent, Some(width)))
            }
            _ => line.to_string(),
        }
    });
    let mut out = lines.collect::<Vec<_>>().join("\n");
    if text.ends_with('\n') {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_under_their_beginning_and_short_ones_are_left_alone() {
        let text = "Title\n  #1     2 ms   a line of prose that is too long\n  #2     3 ms   short\n";
        let expected =
            "Title\n  #1     2 ms   a line of prose\n    that is too long\n  #2     3 ms   short\n";
        assert_eq!(wrap_lines(text, Some(36)), expected);
        assert_eq!(wrap_lines(text, None), text);
    }
}
