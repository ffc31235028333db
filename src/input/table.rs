//! A row of a table of comma-separated values, its header being the names of the features.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use crate::exit::{invalid, limit};
use crate::terminal::{plural, size, visible};

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The names of the features.
    pub features: Vec<String>,
    /// Their values.
    pub values: Vec<f64>,
}

/// Reads row `row`, counted from 0 below the header, of a table of at most `max_bytes`.
///
/// # Errors
/// For a missing row, a missing header, and a cell that is no number: the message names row and column.
pub fn read(path: &Path, row: usize, max_bytes: u64) -> anyhow::Result<Row> {
    from_reader(open(path, max_bytes)?, row)
}

/// Reads the first rows, at most `most`.
///
/// # Errors
/// As [`read`].
pub fn read_first(path: &Path, most: usize, max_bytes: u64) -> anyhow::Result<Vec<Row>> {
    let (rows, _) = rows(open(path, max_bytes)?, 0..most)?;
    if rows.is_empty() { Err(invalid("the table has no row below its header")) } else { Ok(rows) }
}

fn open(path: &Path, max_bytes: u64) -> anyhow::Result<impl Read> {
    let file = File::open(path).map_err(|e| invalid(e.to_string()))?;
    if file.metadata().is_ok_and(|m| m.len() > max_bytes) {
        return Err(limit(format!("the table is larger than {} (`--max-tensor-bytes`)", size(max_bytes))));
    }
    Ok(file.take(max_bytes))
}

fn from_reader(from: impl Read, row: usize) -> anyhow::Result<Row> {
    let (mut rows, count) = rows(from, row..row.saturating_add(1))?;
    rows.pop().ok_or_else(|| {
        invalid(format!("there is no row {row}: the table has {} below its header", plural(count, "row")))
    })
}

/// The wanted rows, and how many there are up to the last of them.
fn rows(from: impl Read, wanted: Range<usize>) -> anyhow::Result<(Vec<Row>, usize)> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(from);
    let mut features: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(ToString::to_string).collect(),
        Err(e) => return Err(invalid(format!("the header cannot be read: {e}"))),
    };
    if let Some(first) = features.first_mut() {
        *first = first.trim_start_matches('\u{feff}').to_string();
    }
    check_header(&features)?;
    let (mut found, mut count) = (vec![], 0);
    for record in reader.records().take(wanted.end) {
        let record = record.map_err(|e| invalid(format!("row {count}: {e}")))?;
        if wanted.contains(&count) {
            let cell = |(i, text): (usize, &str)| match text.parse::<f64>() {
                Ok(value) => Ok(value),
                Err(_) => {
                    let name = features.get(i).map_or("", String::as_str);
                    let text =
                        if text.is_empty() { "an empty cell".into() } else { format!("`{}`", visible(text)) };
                    Err(invalid(format!(
                        "row {count}, column {} `{}`: a number expected, found {text}",
                        i + 1,
                        visible(name)
                    )))
                }
            };
            let values = record.iter().enumerate().map(cell).collect::<anyhow::Result<_>>()?;
            found.push(Row { features: features.clone(), values });
        }
        count += 1;
    }
    Ok((found, count))
}

/// A header of numbers is most likely data: a missing header must not swallow the first row.
fn check_header(features: &[String]) -> anyhow::Result<()> {
    if features.is_empty() || features.iter().all(String::is_empty) {
        return Err(invalid("the table is empty"));
    }
    if let [only] = features
        && [';', '\t'].iter().any(|c| only.contains(*c))
    {
        return Err(invalid("the table has one column: its cells must be separated by commas"));
    }
    let numbers: Option<Vec<f64>> = features.iter().map(|f| f.parse().ok()).collect();
    let counts = |n: &[f64]| n.windows(2).all(|w| w[1] - w[0] == 1.0) && matches!(n[0], 0.0 | 1.0);
    if numbers.is_some_and(|n| !counts(&n)) {
        return Err(invalid(
            "the first line holds numbers: a header with the names of the features is expected",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, row: usize) -> Result<Row, String> {
        from_reader(text.as_bytes(), row).map_err(|e| e.to_string())
    }

    #[test]
    fn rows_count_from_zero() {
        let text = "\u{feff}mean radius,\"a, b\"\n1, 2e-1\n-3,.5\n";
        let second = Row { features: vec!["mean radius".into(), "a, b".into()], values: vec![-3.0, 0.5] };
        assert_eq!(row(text, 1), Ok(second));
        assert_eq!(row(text, 2), Err("there is no row 2: the table has 2 rows below its header".into()));
        assert_eq!(rows(text.as_bytes(), 0..9).unwrap().0.len(), 2);
    }

    #[test]
    fn bad_cells_are_named() {
        let error = row("a,b\n1,2\n3,x\u{1b}\n", 1).unwrap_err();
        assert_eq!(error, "row 1, column 2 `b`: a number expected, found `x\\u{1b}`");
        assert!(row("a,b\n1,\n", 0).unwrap_err().ends_with("`b`: a number expected, found an empty cell"));
        assert!(row("a,b\n1,2,3\n", 0).is_err());
    }

    #[test]
    fn headers_are_needed() {
        assert!(row("1.5,2\n3,4\n", 0).unwrap_err().contains("header"));
        assert!(row("0,1,2\n3,4,5\n", 0).is_ok());
        assert!(row("a;b\n1;2\n", 0).unwrap_err().contains("commas"));
        assert!(row("", 0).unwrap_err().contains("empty"));
    }
}
