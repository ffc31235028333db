//! Copy of the data with slices replaced by updates, or with updates added. Reads `ScatterND`.
//!
//! Shapes: data `[d₀, …]`, indices `[…, k]` (the first `k` axes of data), updates `[…, d_k, …]`.

use super::Operator;
use super::elements::{combine, resolved};
use super::read::{Reader, Reading};
use super::role::{Role, Route, Site};
use super::{Add, Mul};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, Prim};
use crate::tensor::{DType, Dim, Shape};

/// Replacement of rows: `data [n, …]` with the rows at `indices [m]` replaced by those of `updates [m, …]`. The last of
/// several updates of one row counts. Operands: data, indices, updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Overwrite;

impl Operator for Overwrite {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(Prim::Overwrite, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Overwrite {
    /// Updates that a later one replaces, and data that is replaced, receive no relevance.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let (data, at) = (site.inputs[0], site.inputs[1]);
        let (n, m) = (b.ty(data).dim(0).clone(), b.ty(at).dim(0).clone());
        let i = b.add(prim::Iota { len: m.clone() }, &[]);
        let none = b.scalar_like(-1.0, i);
        let no_writer = b.expand(none, &Shape(vec![n.clone()]));
        let writer = b.add(Prim::Overwrite, &[no_writer, at, i]);
        let column = |b: &mut Builder, v: Value, len: &Dim| {
            let rank = b.ty(data).rank();
            let shape = Shape([vec![len.clone()], vec![Dim::known(1); rank - 1]].concat());
            b.reshape(v, &shape)
        };
        let zero = b.scalar_like(0.0, r);
        let untouched = b.binary(Binary::Equal, writer, none);
        let untouched = column(b, untouched, &n);
        let data_relevance = b.add(Prim::Select, &[untouched, r, zero]);
        let last = b.add(prim::Gather { axis: 0 }, &[writer, at]);
        let last = b.binary(Binary::Equal, last, i);
        let last = column(b, last, &m);
        let updates_relevance = b.add(prim::Gather { axis: 0 }, &[r, at]);
        let updates_relevance = b.add(Prim::Select, &[last, updates_relevance, zero]);
        vec![Some(data_relevance), None, Some(updates_relevance)]
    }
}

/// Rows of zeros `[to, …]`, to which each row of `updates [m, …]` is added at `indices [m]`. Operands: updates,
/// indices.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterAdd {
    /// Number of rows of the result.
    pub to: Dim,
}

impl Operator for ScatterAdd {
    fn attributes(&self) -> String {
        format!(" to={}", self.to)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::ScatterAdd { axis: 0, to: self.to.clone() }, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Pool(self)
    }
}

impl super::role::LinearMap for ScatterAdd {
    fn has_weight(&self) -> bool {
        false
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, _: crate::prim::Transform) -> Value {
        b.add(prim::ScatterAdd { axis: 0, to: self.to.clone() }, &[x, site.inputs[1]])
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, _: crate::prim::Transform) -> Value {
        b.add(prim::Gather { axis: 0 }, &[s, site.inputs[1]])
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}

/// Returns the reader of `ScatterND`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("ScatterND", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (data, indices, updates) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let reduction = r.string_or("reduction", "none")?;
    let (d, i, u) = (r.ty(data), r.ty(indices), r.ty(updates));
    if !i.dtype.is_integer() {
        return Err(OpError::mismatch("indices", "integers", i.dtype));
    }
    let depth = i.shape.0.last().and_then(Dim::as_known).and_then(|k| usize::try_from(k).ok());
    let Some(depth) = depth.filter(|k| *k <= d.rank()) else {
        return Err(OpError::mismatch("last dimension of indices", format!("at most {}", d.rank()), &i));
    };
    let lead = Shape(i.shape.0[..i.rank() - 1].to_vec());
    let rest = Shape(d.shape.0[depth..].to_vec());
    let expected = Shape([lead.0.clone(), rest.0.clone()].concat());
    if u.shape != expected {
        return Err(OpError::shapes("shape of updates", &expected, &u.shape));
    }
    let flat = |rows: Dim| Shape([vec![rows], rest.0.clone()].concat());
    let rows = d.shape.0[..depth].iter().fold(Dim::known(1), |n, d| &n * d);
    let count = lead.elems();
    let at = row_of(r, indices, &d.shape.0[..depth], &count)?;
    let rows_of_data = r.reshape(data, flat(rows.clone()))?;
    let updates = r.reshape(updates, flat(count))?;
    let y = combine(r, &reduction, rows_of_data, at, updates, rows)?;
    Ok(vec![r.reshape(y, d.shape)?])
}

/// Returns the row that each index vector addresses, `[count]`; negative indices count from the end, and the row of an
/// index that is out of range is invalid.
pub(super) fn row_of(r: &mut Reading, indices: Value, dims: &[Dim], count: &Dim) -> Result<Value, OpError> {
    let depth = Dim::known(dims.len() as i64);
    let matrix = r.add(super::Cast { to: DType::I64 }, &[indices])?;
    let matrix = r.reshape(matrix, Shape(vec![count.clone(), depth]))?;
    let mut sum = None;
    let mut stride = Dim::known(1);
    for (k, dim) in dims.iter().enumerate().rev() {
        let column = super::Slice { axis: 1, start: Dim::known(k as i64), len: Dim::known(1), step: 1 };
        let term = r.add(column, &[matrix])?;
        let term = r.reshape(term, Shape(vec![count.clone()]))?;
        let mut term = resolved(r, term, dim)?;
        if !stride.is(1) {
            let stride = r.add_dims(vec![], vec![stride.clone()])?;
            term = r.add(Mul, &[term, stride])?;
        }
        sum = Some(match sum {
            None => term,
            Some(sum) => r.add(Add, &[sum, term])?,
        });
        stride = &stride * dim;
    }
    match sum {
        Some(sum) => Ok(sum),
        // Empty index vectors address the whole data.
        None => {
            let zero = r.add_scalar(0.0, DType::I64);
            r.add(super::Expand { to: Shape(vec![count.clone()]) }, &[zero])
        }
    }
}
