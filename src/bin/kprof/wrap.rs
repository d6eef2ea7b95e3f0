//! Breaking prose at spaces for a terminal; tables, which know the width themselves, are left as they are.

/// `text` with its prose in lines of at most `width` characters where it has spaces to break at.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    text.split_inclusive('\n').map(|line| wrapped_line(line, width)).collect()
}

fn wrapped_line(line: &str, width: usize) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    // Columns are two spaces apart, words one.
    if textwrap::core::display_width(text) <= width || text.trim_start().contains("  ") {
        return line.to_string();
    }
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options) + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_breaks_at_spaces() {
        assert_eq!(wrapped("one two three four\nfive\n", 16), "one two three\nfour\nfive\n");
        assert_eq!(wrapped("one two three four", 16), "one two three\nfour");
    }

    #[test]
    fn tables_and_long_words_stay_whole() {
        let row = "1  a_kernel_with_a_name    26.3        n/a       n/a  unknown\n";
        assert_eq!(wrapped(row, 30), row);
        assert_eq!(wrapped("/a/path/without/any/space/in/it\n", 24), "/a/path/without/any/space/in/it\n");
    }
}
