//! Text and tables as HTML.

use crate::render::table::Table;
use std::fmt::Write;

/// A text as the content of an element or of an attribute in double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// JSON that may stand in a script element: nothing in it can end the element.
pub(super) fn json_in_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A table whose columns sort. Blank cells of the first `filled` columns, which in a terminal mean the same as above, are
/// filled in, since sorted rows have another above them.
pub(super) fn table(table: &Table, filled: usize) -> String {
    let (columns, rows) = (table.columns(), table.rows());
    let class = |i: usize| if columns[i].is_number() { " class=\"n\"" } else { "" };
    let mut out = "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>".to_string();
    for (i, column) in columns.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(i), escaped(&column.header()));
    }
    out.push_str("</tr></thead><tbody>\n");
    let mut above: Vec<&str> = vec![""; filled];
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let mut cell = cell.as_str();
            if let Some(last) = above.get_mut(i) {
                if cell.is_empty() {
                    cell = last;
                }
                *last = cell;
            }
            let _ = write!(out, "<td{}>{}</td>", class(i), escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out + "</tbody></table></div>\n"
}

/// Names and what they are; what is not known is left out.
pub(super) fn list(entries: &[(&str, Option<String>)]) -> String {
    let known = entries.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let rows = known.map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value)));
    format!("<dl>{}</dl>\n", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::table::Column;

    #[test]
    fn nothing_in_a_text_becomes_markup() {
        assert_eq!(escaped("a<b> & \"c\" 'd'\u{7}"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39; ");
        assert!(!json_in_script("{\"k\":\"</script><script>\"}").contains('<'));
    }

    #[test]
    fn blank_cells_are_filled_from_above_where_they_mean_that() {
        let mut t = Table::new(vec![Column::text("version"), Column::number("time", "ms")]);
        t.push(vec!["v1".into(), "1".into()]);
        t.push(vec![String::new(), String::new()]);
        let html = table(&t, 1);
        assert!(html.contains("<th class=\"n\">time [ms]</th>"), "{html}");
        assert_eq!(html.matches("<td>v1</td>").count(), 2, "{html}");
        assert!(html.contains("<td class=\"n\"></td>"), "{html}");
    }
}
