//! A small table: columns as wide as their widest cell, no boxes.

use console::measure_text_width;

/// A table being filled.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with these headings; columns named in `right` are aligned right.
    pub fn new(headings: &[&str], right: &[usize]) -> Self {
        Self { rows: vec![headings.iter().map(|text| (*text).to_owned()).collect()], right: right.to_vec() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Draws it, indented by two, each line at most `width` wide.
    pub fn draw(&self, width: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| measure_text_width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column].saturating_sub(measure_text_width(cell)));
                line.push(' ');
                if self.right.contains(&column) {
                    line.push_str(&pad);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&pad);
                }
                line.push(' ');
            }
            out.push_str(&console::truncate_str(line.trim_end(), width.max(20), "…"));
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_lines_are_cut() {
        let mut table = Table::new(&["what", "before"], &[1]);
        table.row(["usage".to_owned(), "97%".to_owned()]);
        table.row(["a rather long name".to_owned(), "1".to_owned()]);
        assert_eq!(
            table.draw(80),
            "  what                before\n  usage                  97%\n  a rather long name       1\n"
        );
        assert!(table.draw(22).lines().all(|line| measure_text_width(line) <= 22));
    }
}
