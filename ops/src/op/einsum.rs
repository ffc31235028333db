//! Einstein sums of one or two operands. Reads `Einsum` as transposes, a matrix product and sums.
//!
//! `bnij,jbnd->ibnd` is a product with batch `b n`, rows `i` and columns `d`, summed over `j`. An ellipsis stands for
//! axes that broadcast. An index that an operand repeats takes its diagonal. More than two operands are not supported.

use super::read::{Reader, Reading};
use super::{MatMul, Reduce, ReduceKind, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{Dim, Shape};

/// Returns the reader of `Einsum`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Einsum", 12, read)]
}

/// Operand with the index letter of each axis.
#[derive(Clone)]
struct Term {
    value: Value,
    letters: Vec<char>,
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let equation: String = r.string_or("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let inputs = r.all_inputs()?;
    let texts: Vec<&str> = left.split(',').collect();
    if texts.len() != inputs.len() {
        return Err(OpError::mismatch("operands of the equation", texts.len(), inputs.len()));
    }
    let mut terms = vec![];
    let mut dots = 0;
    for (text, value) in texts.iter().zip(&inputs) {
        let letters = letters(text, r.ty(*value).rank(), &mut dots)?;
        terms.push(diagonal(r, Term { value: *value, letters })?);
    }
    let output = match right {
        Some(text) => explicit(text, dots)?,
        None => implicit(&terms, dots),
    };
    if let Some(c) = output.iter().find(|c| !terms.iter().any(|t| t.letters.contains(c))) {
        return Err(OpError::invalid(
            &format!("output indices of {equation}"),
            "indices of an operand",
            format!("`{c}`"),
        ));
    }
    let y = match terms.as_slice() {
        [x] => x.clone(),
        [a, b] => product(r, a.clone(), b.clone(), &output)?,
        _ => return Err(OpError::unsupported("operands of an equation", "1 or 2", terms.len())),
    };
    let y = summed(r, y, &output)?;
    Ok(vec![ordered(r, &y, &output)?])
}

/// Returns the indices of an ellipsis: digits, counted from its end. `…` of rank 2 is `1 0`.
fn ellipsis(count: usize) -> Result<Vec<char>, OpError> {
    let digit = |i: usize| char::from_digit(i as u32, 36).filter(char::is_ascii_digit);
    let digits: Option<Vec<char>> = (0..count).rev().map(digit).collect();
    digits.ok_or_else(|| OpError::unsupported("axes of an ellipsis", "at most 10", count))
}

fn plain(text: &str) -> Result<Vec<char>, OpError> {
    match text.chars().find(|c| !c.is_ascii_alphabetic()) {
        Some(c) => {
            Err(OpError::invalid("equation", "letters as indices", format!("`{}`", c.escape_default())))
        }
        None => Ok(text.chars().collect()),
    }
}

/// Returns the index of each axis of an operand from its text in the equation.
fn letters(text: &str, rank: usize, dots: &mut usize) -> Result<Vec<char>, OpError> {
    let letters = match text.split_once("...") {
        None => plain(text)?,
        Some((before, after)) => {
            let (before, after) = (plain(before)?, plain(after)?);
            let named = before.len() + after.len();
            let count = rank.checked_sub(named).ok_or_else(|| {
                OpError::mismatch("rank of an operand", format!("at least {named} for {text}"), rank)
            })?;
            *dots = (*dots).max(count);
            [before, ellipsis(count)?, after].concat()
        }
    };
    if letters.len() != rank {
        return Err(OpError::mismatch("rank of an operand", format!("{} for {text}", letters.len()), rank));
    }
    Ok(letters)
}

/// Takes the diagonal of axes that have the same index, until each index occurs once.
fn diagonal(r: &mut Reading, mut x: Term) -> Result<Term, OpError> {
    let twice = |letters: &[char]| {
        (0..letters.len()).find_map(|i| Some((letters[..i].iter().position(|c| *c == letters[i])?, i)))
    };
    while let Some((first, second)) = twice(&x.letters) {
        let ty = r.ty(x.value);
        let (dim, other) = (ty.dim(first).clone(), ty.dim(second));
        if dim != *other {
            return Err(OpError::dims(&format!("dimension of index `{}`", x.letters[first]), &dim, other));
        }
        let (row, column) = (r.count_along(&dim, first, ty.rank())?, r.count_along(&dim, second, ty.rank())?);
        let is_diagonal = r.compare(Binary::Equal, row, column)?;
        let zero = r.add_scalar(0.0, ty.dtype);
        let value = r.select(is_diagonal, x.value, zero)?;
        let value = r.add(Reduce { kind: ReduceKind::Sum, axes: vec![second], keep: false }, &[value])?;
        x.letters.remove(second);
        x.value = value;
    }
    Ok(x)
}

/// Returns the indices of an output from its text in the equation.
fn explicit(text: &str, dots: usize) -> Result<Vec<char>, OpError> {
    let letters = match text.split_once("...") {
        None => plain(text)?,
        Some((before, after)) => [plain(before)?, ellipsis(dots)?, plain(after)?].concat(),
    };
    match (0..letters.len()).find(|i| letters[..*i].contains(&letters[*i])) {
        Some(i) => Err(OpError::invalid("output indices", "each once", format!("`{}` twice", letters[i]))),
        None => Ok(letters),
    }
}

/// Returns the indices of the output of an equation without arrow: the ellipsis, then the letters that occur once,
/// alphabetically.
fn implicit(terms: &[Term], dots: usize) -> Vec<char> {
    let all: Vec<char> = terms.iter().flat_map(|t| t.letters.iter().copied()).collect();
    let mut once: Vec<char> = all
        .iter()
        .copied()
        .filter(|c| c.is_ascii_alphabetic() && all.iter().filter(|o| *o == c).count() == 1)
        .collect();
    once.sort_unstable();
    [ellipsis(dots).unwrap_or_default(), once].concat()
}

/// Sums over the axes whose index is not in `keep`.
fn summed(r: &mut Reading, x: Term, keep: &[char]) -> Result<Term, OpError> {
    let axes: Vec<usize> = (0..x.letters.len()).filter(|i| !keep.contains(&x.letters[*i])).collect();
    if axes.is_empty() {
        return Ok(x);
    }
    let value = r.add(Reduce { kind: ReduceKind::Sum, axes, keep: false }, &[x.value])?;
    Ok(Term { value, letters: x.letters.into_iter().filter(|c| keep.contains(c)).collect() })
}

/// Transposes the axes into the given order.
fn ordered(r: &mut Reading, x: &Term, order: &[char]) -> Result<Value, OpError> {
    let perm: Option<Vec<usize>> = order.iter().map(|c| x.letters.iter().position(|l| l == c)).collect();
    let perm =
        perm.ok_or_else(|| OpError::invalid("output indices", "an axis for each", format!("{order:?}")))?;
    if perm.iter().enumerate().all(|(i, p)| i == *p) {
        return Ok(x.value);
    }
    r.add(Transpose { perm }, &[x.value])
}

/// Builds the product of two operands. Rows are the indices of `a` only, columns those of `b` only; common indices are
/// batch if the output has them, and are summed over otherwise.
fn product(r: &mut Reading, a: Term, b: Term, output: &[char]) -> Result<Term, OpError> {
    let needed = |other: &Term| [output, other.letters.as_slice()].concat();
    let a = summed(r, a.clone(), &needed(&b))?;
    let b = summed(r, b.clone(), &needed(&a))?;
    let both = |c: &char| a.letters.contains(c) && b.letters.contains(c);
    let batch: Vec<char> = output.iter().copied().filter(both).collect();
    let sum: Vec<char> = a.letters.iter().copied().filter(|c| both(c) && !batch.contains(c)).collect();
    let rows: Vec<char> = output.iter().copied().filter(|c| a.letters.contains(c) && !both(c)).collect();
    let columns: Vec<char> = output.iter().copied().filter(|c| b.letters.contains(c) && !both(c)).collect();
    let (da, db) = (sizes(r, &a), sizes(r, &b));
    for c in batch.iter().chain(&sum) {
        let (x, y) = (size(&da, *c), size(&db, *c));
        if x != y {
            return Err(OpError::dims(&format!("dimension of index `{c}`"), &x, &y));
        }
    }
    let left = ordered(r, &a, &[batch.as_slice(), &rows, &sum].concat())?;
    let right = ordered(r, &b, &[batch.as_slice(), &sum, &columns].concat())?;
    let group = |dims: &[(char, Dim)], indices: &[char]| {
        indices.iter().fold(Dim::known(1), |n, c| &n * &size(dims, *c))
    };
    let lead: Vec<Dim> = batch.iter().map(|c| size(&da, *c)).collect();
    let matrix = |m: Dim, n: Dim| Shape([lead.clone(), vec![m, n]].concat());
    let left = r.reshape(left, matrix(group(&da, &rows), group(&da, &sum)))?;
    let right = r.reshape(right, matrix(group(&db, &sum), group(&db, &columns)))?;
    let y = if batch.is_empty() && r.constant(right).is_some() && r.constant(left).is_none() {
        r.add(super::Linear { transposed: false }, &[left, right])?
    } else {
        r.add(MatMul, &[left, right])?
    };
    let shape = [
        lead.clone(),
        rows.iter().map(|c| size(&da, *c)).collect(),
        columns.iter().map(|c| size(&db, *c)).collect(),
    ];
    let value = r.reshape(y, Shape(shape.concat()))?;
    Ok(Term { value, letters: [batch, rows, columns].concat() })
}

fn sizes(r: &Reading, x: &Term) -> Vec<(char, Dim)> {
    x.letters.iter().copied().zip(r.ty(x.value).shape.0).collect()
}

fn size(dims: &[(char, Dim)], c: char) -> Dim {
    dims.iter().find(|(l, _)| *l == c).map_or_else(|| Dim::known(1), |(_, d)| d.clone())
}
