//! Determinants of small square matrices. Reads `Det` by expansion along the first row.

use super::read::{Reader, Reading};
use super::{Add, Mul, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Largest matrix that is read; the expansion has as many terms as the factorial of its size.
const LARGEST: i64 = 5;

/// Returns the reader of `Det`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Det", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let ty = r.ty(x);
    let rank = ty.rank();
    if rank < 2 || ty.dim(rank - 1) != ty.dim(rank - 2) {
        return Err(OpError::mismatch("operand", "square matrices", ty));
    }
    let size = ty.dim(rank - 1).as_known();
    let Some(size) = size.filter(|n| (1..=LARGEST).contains(n)) else {
        return Err(OpError::unsupported("rows of a matrix", format!("1 to {LARGEST}"), ty.dim(rank - 1)));
    };
    let batch = Shape(ty.shape.0[..rank - 2].to_vec());
    let mut elements = vec![];
    for row in 0..size {
        let line = r.slice(x, rank - 2, Dim::known(row), Dim::known(1))?;
        let mut columns = vec![];
        for column in 0..size {
            let element = r.slice(line, rank - 1, Dim::known(column), Dim::known(1))?;
            columns.push(r.reshape(element, batch.clone())?);
        }
        elements.push(columns);
    }
    let columns: Vec<usize> = (0..elements.len()).collect();
    Ok(vec![expand(r, &elements, &columns)?])
}

/// Builds the determinant of the last rows of `elements` in the given columns, as many as rows.
fn expand(r: &mut Reading, elements: &[Vec<Value>], columns: &[usize]) -> Result<Value, OpError> {
    let row = &elements[elements.len() - columns.len()];
    if let [column] = columns {
        return Ok(row[*column]);
    }
    let mut sum: Option<Value> = None;
    for (k, column) in columns.iter().enumerate() {
        let others: Vec<usize> = columns.iter().copied().filter(|c| c != column).collect();
        let minor = expand(r, elements, &others)?;
        let term = r.add(Mul, &[row[*column], minor])?;
        sum = Some(match sum {
            None => term,
            Some(sum) if k % 2 == 1 => r.add(Sub, &[sum, term])?,
            Some(sum) => r.add(Add, &[sum, term])?,
        });
    }
    sum.ok_or_else(|| OpError::invalid("columns of a matrix", "at least 1", 0))
}
