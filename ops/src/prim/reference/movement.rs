//! Movement of elements: nothing is computed, so every element type moves alike.

use ndarray::ArrayD;

use super::layout::{
    Table, around, array, broadcast, identity, known, known_dims, pick, strides, values, whole,
};
use crate::OpError;
use crate::prim::PadMode;
use crate::tensor::{Array, Dim};

/// Picks elements of any type; `fill` stands where a table has no entry.
pub(super) fn picked(x: &Array, tables: &[Table], fill: f32, dims: &[usize]) -> Result<Array, OpError> {
    Ok(match x {
        Array::F(x) => Array::F(array(dims, pick(&values(x), tables, &f64::from(fill)))?),
        Array::I(x) => Array::I(array(dims, pick(&values(x), tables, &(fill as i64)))?),
        Array::B(x) => Array::B(array(dims, pick(&values(x), tables, &(fill != 0.0)))?),
    })
}

/// The same elements as `dims`.
pub(super) fn reshape(x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    Ok(match x {
        Array::F(x) => Array::F(array(dims, values(x).into_owned())?),
        Array::I(x) => Array::I(array(dims, values(x).into_owned())?),
        Array::B(x) => Array::B(array(dims, values(x).into_owned())?),
    })
}

/// Axis `i` of the result is axis `perm[i]` of `x`.
pub(super) fn transpose(perm: &[usize], x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let strides = strides(x.dims());
    let tables: Vec<Table> = perm.iter().map(|axis| whole(x.dims()[*axis], strides[*axis])).collect();
    picked(x, &tables, 0.0, dims)
}

/// `x` repeated to `dims`.
pub(super) fn expand(x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    picked(x, &broadcast(x.dims(), dims), 0.0, dims)
}

/// `start, start + step, …` along `axis`; `dims` are the result's.
pub(super) fn slice(
    axis: usize,
    start: &Dim,
    step: i64,
    x: &Array,
    dims: &[usize],
) -> Result<Array, OpError> {
    let mut tables = identity(x.dims());
    tables[axis] =
        positions(start, step, dims[axis], x.dims()[axis])?.into_iter().map(|at| tables[axis][at]).collect();
    picked(x, &tables, 0.0, dims)
}

/// The adjoint of [`slice`]; `dims` are the result's.
pub(super) fn slice_transpose(
    axis: usize,
    start: &Dim,
    step: i64,
    x: &Array,
    dims: &[usize],
) -> Result<Array, OpError> {
    let mut tables = identity(x.dims());
    let mut table = vec![None; dims[axis]];
    for (entry, at) in tables[axis].iter().zip(positions(start, step, x.dims()[axis], dims[axis])?) {
        table[at] = *entry;
    }
    tables[axis] = table;
    picked(x, &tables, 0.0, dims)
}

/// The indices of a slice of `len` elements, all inside `dim`.
fn positions(start: &Dim, step: i64, len: usize, dim: usize) -> Result<Vec<usize>, OpError> {
    let start = known(start)?;
    let inside = |i: i64| {
        let at = start.checked_add(i.checked_mul(step)?)?;
        usize::try_from(at).ok().filter(|at| *at < dim)
    };
    let all: Option<Vec<usize>> = (0..len as i64).map(inside).collect();
    all.ok_or_else(|| {
        OpError::Invalid(format!("slice of {len} from {start} step {step} leaves dimension {dim}"))
    })
}

/// Concatenation along `axis`.
pub(super) fn concat(axis: usize, inputs: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
    let mut kinds = (vec![], vec![], vec![]);
    for x in inputs {
        match x {
            Array::F(x) => kinds.0.push(x),
            Array::I(x) => kinds.1.push(x),
            Array::B(x) => kinds.2.push(x),
        }
    }
    match (kinds.0.is_empty(), kinds.1.is_empty(), kinds.2.is_empty()) {
        (false, true, true) => joined(axis, &kinds.0, dims).map(Array::F),
        (true, false, true) => joined(axis, &kinds.1, dims).map(Array::I),
        (true, true, false) => joined(axis, &kinds.2, dims).map(Array::B),
        _ => Err(OpError::Invalid("operands have different element types".into())),
    }
}

fn joined<T: Clone>(axis: usize, inputs: &[&ArrayD<T>], dims: &[usize]) -> Result<ArrayD<T>, OpError> {
    let (outer, _, inner) = around(dims, axis);
    let blocks: Vec<_> = inputs.iter().map(|x| (values(x), x.shape()[axis] * inner)).collect();
    let mut out = Vec::with_capacity(dims.iter().product());
    for o in 0..outer {
        for (values, size) in &blocks {
            out.extend_from_slice(&values[o * size..][..*size]);
        }
    }
    array(dims, out)
}

/// Padding of each axis; `dims` are the result's.
pub(super) fn pad(before: &[Dim], mode: PadMode, x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let before = known_dims(before)?;
    let strides = strides(x.dims());
    let mut tables = Vec::with_capacity(dims.len());
    for (axis, dim) in x.dims().iter().enumerate() {
        if *dim == 0 && dims[axis] > 0 && !matches!(mode, PadMode::Constant(_)) {
            return Err(OpError::Invalid(format!("axis {axis} is empty, so no element can pad it")));
        }
        let last = *dim as i64 - 1;
        let source = |i: usize| {
            let i = i as i64 - before[axis] as i64;
            let inside = match mode {
                PadMode::Constant(_) => i,
                PadMode::Edge => i.min(last).max(0),
                PadMode::Reflect if i > last => 2 * last - i,
                PadMode::Reflect => i.abs(),
            };
            (0..=last).contains(&inside).then(|| inside as usize * strides[axis])
        };
        tables.push((0..dims[axis]).map(source).collect());
    }
    let fill = match mode {
        PadMode::Constant(fill) => fill,
        PadMode::Reflect | PadMode::Edge => 0.0,
    };
    picked(x, &tables, fill, dims)
}
