//! Reader of tables of comma-separated values, whose header has the names of the features.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::npy;
use super::rows::Rows;
use super::sources::Words;
use crate::content::content;
use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::{plural, size, visible};

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the row, from 0 below the header.
    pub number: usize,
    /// Values of the requested columns.
    pub values: Vec<f64>,
}

/// A table whose header has been read; its rows are read one by one.
pub struct Table<R> {
    features: Vec<String>,
    reader: csv::Reader<R>,
    max_bytes: u64,
    /// Columns of strings, whose cells become their numbers.
    words: Option<(Vec<usize>, Words)>,
}

/// Opens a table of at most `max_bytes`.
///
/// # Errors
/// When the header is missing or the file is too large.
pub fn open(path: &Path, max_bytes: u64) -> Result<Table<impl Read>> {
    let file = File::open(path).map_err(|e| Error::invalid(e.to_string()))?;
    if file.metadata().is_ok_and(|m| m.len() > max_bytes) {
        let message = format!("the table is larger than the limit of {}", size(max_bytes));
        return Err(Error::limit(message).with_remedy(Remedy::MaxTensorBytes));
    }
    // The content matters only if parsing fails: any text may be a table.
    Table::new(file.take(max_bytes), max_bytes).map_err(|error| match content(path) {
        Some(kind) if kind.is_binary() => npy::wrong_content("a CSV table", kind),
        _ => error,
    })
}

/// Reads all columns of the first `limit` rows.
///
/// # Errors
/// Those of [`open`] and [`Table::rows`].
#[cfg(feature = "eval")]
pub fn read_first(path: &Path, limit: usize, max_bytes: u64) -> Result<Vec<Row>> {
    let table = open(path, max_bytes)?;
    let columns: Vec<usize> = (0..table.features.len()).collect();
    let (rows, _) = table.read(&columns, |_| true, limit)?;
    if rows.is_empty() {
        Err(Error::invalid("expected a row below the header of the table, found none"))
    } else {
        Ok(rows)
    }
}

impl<R: Read> Table<R> {
    /// Reads the header of a table.
    fn new(from: R, max_bytes: u64) -> Result<Table<R>> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(from);
        let mut features: Vec<String> = match reader.headers() {
            Ok(header) => header.iter().map(ToString::to_string).collect(),
            Err(e) => return Err(Error::invalid(format!("cannot read the header: {e}"))),
        };
        if let Some(first) = features.first_mut() {
            *first = first.trim_start_matches('\u{feff}').to_string();
        }
        check_header(&features)?;
        Ok(Table { features, reader, max_bytes, words: None })
    }

    /// Reads the cells of these columns as strings of a model.
    pub fn with_words(self, columns: Vec<usize>, words: &Words) -> Table<R> {
        Table { words: Some((columns, words.clone())), ..self }
    }

    /// Returns the names of the columns.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Reads these columns of the selected rows, in the table's order.
    ///
    /// # Errors
    /// When a row is missing, a cell is not a number (the message names row and column), or the values exceed the limit.
    pub fn rows(self, columns: &[usize], selected: &Rows) -> Result<Vec<Row>> {
        let last = selected.last();
        let (rows, count) =
            self.read(columns, |row| selected.contains(row), last.map_or(usize::MAX, |l| l + 1))?;
        match last {
            Some(_) if count == 0 => {
                Err(Error::invalid("expected a row below the header of the table, found none"))
            }
            Some(last) if last >= count => Err(Error::invalid(format!(
                "no row {}: the table has {} below its header",
                selected.first_from(count).unwrap_or(last),
                plural(count, "row")
            ))),
            None if rows.is_empty() => {
                Err(Error::invalid("expected a row below the header of the table, found none"))
            }
            _ => Ok(rows),
        }
    }

    /// Reads the selected rows among the first `limit`, and counts the rows that it passes.
    fn read(
        mut self,
        columns: &[usize],
        is_selected: impl Fn(usize) -> bool,
        limit: usize,
    ) -> Result<(Vec<Row>, usize)> {
        let row_bytes = (columns.len().max(1) * size_of::<f64>()) as u64;
        let (mut rows, mut count) = (vec![], 0);
        for record in self.reader.records().take(limit) {
            let record = record.map_err(|e| Error::invalid(format!("row {count}: {e}")))?;
            if is_selected(count) {
                let cell = |column: &usize| {
                    if let Some((columns, words)) = &self.words
                        && columns.contains(column)
                    {
                        return Ok(words.number(record.get(*column).unwrap_or_default()) as f64);
                    }
                    number(record.get(*column).unwrap_or_default(), count, *column, &self.features)
                };
                let values = columns.iter().map(cell).collect::<Result<_>>()?;
                rows.push(Row { number: count, values });
                if rows.len() as u64 * row_bytes > self.max_bytes {
                    let message = format!("the rows are larger than the limit of {}", size(self.max_bytes));
                    return Err(Error::limit(message).with_remedy(Remedy::MaxTensorBytes));
                }
            }
            count += 1;
        }
        Ok((rows, count))
    }
}

/// Parses a cell; `row` and `column` are for the message.
fn number(text: &str, row: usize, column: usize, features: &[String]) -> Result<f64> {
    text.parse().map_err(|_| {
        let name = visible(&features[column]);
        let actual = if text.is_empty() { "an empty cell".into() } else { format!("`{}`", visible(text)) };
        let cell = format!("row {row}, column {} `{name}`", column + 1);
        Error::invalid(format!("{cell}: expected a number, found {actual}"))
    })
}

/// Refuses an empty header, one that is not separated by commas, and one of numbers, which is most likely the first row of data.
fn check_header(features: &[String]) -> Result<()> {
    if features.is_empty() || features.iter().all(String::is_empty) {
        return Err(Error::invalid("the table is empty"));
    }
    if let [only] = features
        && [';', '\t'].iter().any(|c| only.contains(*c))
    {
        return Err(Error::invalid("expected cells separated by commas, found one column"));
    }
    let numbers: Option<Vec<f64>> = features.iter().map(|f| f.parse().ok()).collect();
    let counts = |n: &[f64]| n.windows(2).all(|w| w[1] - w[0] == 1.0) && matches!(n[0], 0.0 | 1.0);
    if numbers.is_some_and(|n| !counts(&n)) {
        return Err(Error::invalid(
            "expected a header with the names of the features, found numbers in the first line",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, selected: &str) -> Result<Vec<Row>, String> {
        let table = Table::new(text.as_bytes(), 64).map_err(|e| e.to_string())?;
        let columns: Vec<usize> = (0..table.features().len()).collect();
        table.rows(&columns, &selected.parse().unwrap()).map_err(|e| e.to_string())
    }

    fn row(number: usize, values: &[f64]) -> Row {
        Row { number, values: values.to_vec() }
    }

    #[test]
    fn rows_count_from_zero() {
        let text = "\u{feff}mean radius,\"a, b\"\n1, 2e-1\n-3,.5\n";
        assert_eq!(rows(text, "1"), Ok(vec![row(1, &[-3.0, 0.5])]));
        assert_eq!(rows(text, "all"), Ok(vec![row(0, &[1.0, 0.2]), row(1, &[-3.0, 0.5])]));
        assert_eq!(rows(text, "1,0"), rows(text, "0-1"));
        assert_eq!(rows(text, "0-5"), Err("no row 2: the table has 2 rows below its header".into()));
        assert_eq!(Table::new(text.as_bytes(), 64).unwrap().features(), ["mean radius", "a, b"]);
    }

    #[test]
    fn only_requested_columns_must_be_numbers() {
        let table = Table::new("id,a\nx,1\n".as_bytes(), 64).unwrap();
        assert_eq!(table.rows(&[1], &"all".parse().unwrap()).unwrap(), [row(0, &[1.0])]);
    }

    #[test]
    fn memory_is_bounded() {
        let text = format!("a,b\n{}", "1,2\n".repeat(5));
        assert!(rows(&text, "0-3").is_ok());
        assert!(rows(&text, "all").unwrap_err().contains("larger than the limit"));
    }

    #[test]
    fn bad_cells_are_named() {
        let error = rows("a,b\n1,2\n3,x\u{1b}\n", "1").unwrap_err();
        assert_eq!(error, "row 1, column 2 `b`: expected a number, found `x\\u{1b}`");
        assert!(rows("a,b\n1,\n", "0").unwrap_err().ends_with("`b`: expected a number, found an empty cell"));
        assert!(rows("a,b\n1,2,3\n", "0").is_err());
        assert!(rows("a,b\n", "all").unwrap_err().contains("expected a row"));
    }

    #[test]
    fn headers_are_needed() {
        assert!(rows("1.5,2\n3,4\n", "0").unwrap_err().contains("header"));
        assert!(rows("0,1,2\n3,4,5\n", "0").is_ok());
        assert!(rows("a;b\n1;2\n", "0").unwrap_err().contains("commas"));
        assert!(rows("", "0").unwrap_err().contains("empty"));
    }
}
