//! Tables of text.

use unicode_width::UnicodeWidthStr;

use dlbc::wording::visible;

/// Alignment of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Left-aligned, for words.
    Left,
    /// Right-aligned, for numbers.
    Right,
}

/// A table: a header, rows, and an optional last row under a line.
#[derive(Clone, Debug)]
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
    footer: Option<Vec<String>>,
}

impl Table {
    /// Creates a table with these columns: title and alignment of each.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        Table {
            align: columns.iter().map(|c| c.1).collect(),
            rows: vec![columns.iter().map(|c| c.0.to_string()).collect()],
            footer: None,
        }
    }

    /// Adds a row; control characters in its cells are escaped by [`visible`].
    pub fn row(&mut self, cells: impl AsRef<[String]>) {
        self.rows.push(cells.as_ref().iter().map(|c| visible(c).into_owned()).collect());
    }

    /// Adds a line under the rows so far.
    pub fn rule(&mut self) {
        self.rows.push(vec![]);
    }

    /// Sets the last row, which stands under a line.
    pub fn footer(&mut self, cells: impl AsRef<[String]>) {
        self.footer = Some(cells.as_ref().iter().map(|c| visible(c).into_owned()).collect());
    }

    /// Formats the table, each line indented by `indent` spaces.
    pub fn text(&self, indent: usize) -> String {
        let all = || self.rows.iter().chain(&self.footer);
        let widths: Vec<usize> = (0..self.align.len())
            .map(|i| all().filter_map(|r| r.get(i)).map(|c| c.width()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        let mut line = |cells: &[String]| {
            let mut text = " ".repeat(indent);
            for ((cell, width), align) in cells.iter().zip(&widths).zip(&self.align) {
                let space = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left => text.extend([cell.as_str(), space.as_str(), "  "]),
                    Align::Right => text.extend([space.as_str(), cell.as_str(), "  "]),
                }
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
        for (i, row) in self.rows.iter().enumerate() {
            line(if row.is_empty() { &rule } else { row });
            if i == 0 {
                line(&rule);
            }
        }
        if let Some(footer) = &self.footer {
            line(&rule);
            line(footer);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Align::Left), ("sum", Align::Right)]);
        table.row(["x".into(), "10.5".into()]);
        table.row(["a\u{7}".into(), "1".into()]);
        table.footer(["total".into(), "11.5".into()]);
        assert_eq!(
            table.text(1),
            " name     sum\n ------  ----\n x       10.5\n a\\u{7}     1\n ------  ----\n total   11.5\n"
        );
    }
}
