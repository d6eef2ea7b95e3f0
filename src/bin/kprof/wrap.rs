//! Breaking prose at spaces for a terminal; tables, which know the width themselves, are left as they are.

/// A label such as `Finding` ends within this many characters; what stands beside it is indented.
const LABEL: usize = 12;

/// `text` with its prose in lines of at most `width` characters where it has spaces to break at.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    text.split_inclusive('\n').map(|line| wrapped_line(line, width)).collect()
}

fn wrapped_line(line: &str, width: usize) -> String {
    let indent = indent(line);
    if visible(line.trim_end()) <= width || is_row(line) || indent + LABEL > width {
        return line.to_string();
    }
    let mut out = String::new();
    let mut column = 0;
    for word in line.split_inclusive(' ') {
        let length = visible(word.trim_end());
        if column + length > width && column > indent {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        }
        out.push_str(word);
        column += visible(word);
    }
    out
}

/// Where continuing lines start: under the text beside a label, or under the text of a list.
fn indent(line: &str) -> usize {
    let shown = plain(line);
    let lead = shown.len() - shown.trim_start().len();
    let label = shown[lead..].find("  ").map(|at| lead + at + 2).filter(|at| *at <= LABEL);
    label.unwrap_or(lead)
}

/// Rows have columns: gaps beyond that of a label.
fn is_row(line: &str) -> bool {
    let shown = plain(line);
    shown.get(indent(line)..).is_some_and(|text| text.trim_end().contains("  "))
}

fn visible(text: &str) -> usize {
    plain(text).trim_end_matches('\n').chars().count()
}

/// Without the codes that colour it, `ESC [ ... m`.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    parts.fold(first.to_string(), |out, part| out + part.split_once('m').map_or(part, |(_, after)| after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_breaks_at_spaces_under_its_label() {
        assert_eq!(wrapped("one two three four\nfive\n", 16), "one two three\nfour\nfive\n");
        let finding = "Finding  aaa bbb ccc ddd eee\n Remedy  fff\n";
        assert_eq!(wrapped(finding, 22), "Finding  aaa bbb ccc\n         ddd eee\n Remedy  fff\n");
        let colour = "\u{1b}[1mFinding\u{1b}[0m  aaa bbb ccc ddd eee";
        assert_eq!(wrapped(colour, 22), "\u{1b}[1mFinding\u{1b}[0m  aaa bbb ccc\n         ddd eee");
    }

    #[test]
    fn tables_and_long_words_stay_whole() {
        let row = "1  a_kernel_with_a_name    26.3        n/a       n/a  unknown\n";
        assert_eq!(wrapped(row, 30), row);
        assert_eq!(wrapped("/a/path/without/any/space/in/it\n", 24), "/a/path/without/any/space/in/it\n");
    }
}
