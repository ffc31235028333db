//! Selections of a table's rows, such as `0-49,60` or `all`.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// A selection of rows of a table, counted from 0 below the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Every row.
    All,
    /// Ranges of rows, in any order.
    Listed(Vec<RangeInclusive<usize>>),
}

impl Rows {
    /// Returns whether a row is selected.
    pub fn contains(&self, row: usize) -> bool {
        match self {
            Rows::All => true,
            Rows::Listed(ranges) => ranges.iter().any(|r| r.contains(&row)),
        }
    }

    /// Returns the last selected row; `None` for all rows of the table.
    pub fn last(&self) -> Option<usize> {
        match self {
            Rows::All => None,
            Rows::Listed(ranges) => ranges.iter().map(|r| *r.end()).max(),
        }
    }

    /// Returns the first selected row from `row` on.
    pub fn first_from(&self, row: usize) -> Option<usize> {
        match self {
            Rows::All => Some(row),
            Rows::Listed(ranges) => {
                ranges.iter().filter(|r| *r.end() >= row).map(|r| row.max(*r.start())).min()
            }
        }
    }
}

impl Default for Rows {
    fn default() -> Rows {
        Rows::Listed(vec![0..=0])
    }
}

impl FromStr for Rows {
    type Err = String;
    fn from_str(text: &str) -> Result<Rows, String> {
        if text == "all" {
            return Ok(Rows::All);
        }
        let bad = |item: &str| {
            Err(format!(
                "invalid row `{item}`: expected numbers from 0 (the first row below the header) as in 0-49,60, or all"
            ))
        };
        let number = |t: &str| t.trim().parse::<usize>().ok().filter(|n| *n < usize::MAX);
        let mut ranges = vec![];
        for item in text.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => ranges.push(first..=last),
                (Some(first), Some(last)) => {
                    return Err(format!("invalid rows `{item}`: expected {last}-{first}"));
                }
                _ => return bad(item.trim()),
            }
        }
        Ok(Rows::Listed(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_numbers() {
        let rows: Rows = "0-2, 5,4-4".parse().unwrap();
        assert_eq!((0..8).filter(|r| rows.contains(*r)).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
        assert_eq!((rows.last(), rows.first_from(3), rows.first_from(6)), (Some(5), Some(4), None));
        assert_eq!("all".parse(), Ok(Rows::All));
        assert_eq!("0".parse(), Ok(Rows::default()));
        for text in ["-1", "", "1,", "3-1", "a", "1.5", "1--2", "99999999999999999999"] {
            assert!(text.parse::<Rows>().is_err(), "{text}");
        }
        assert!("-1".parse::<Rows>().unwrap_err().contains("`-1`: expected numbers from 0"));
    }
}
