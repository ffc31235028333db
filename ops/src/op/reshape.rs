//! Change of shape. Reads `Reshape`, `Flatten`, `Squeeze` and `Unsqueeze`.

use super::Operator;
use super::read::{Reader, Reading, resolve_all};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;
use crate::tensor::{Dim, Shape};

/// The elements of the operand under another shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// Shape of the result; it has as many elements as the operand.
    pub to: Shape,
}

impl Operator for Reshape {
    fn attributes(&self) -> String {
        format!(" to={}", self.to)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.reshape(inputs[0], &self.to)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Reshape {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let shape = b.ty(site.inputs[0]).shape;
        vec![Some(b.reshape(r, &shape))]
    }
}

/// Returns the readers of `Reshape`, `Flatten`, `Squeeze` and `Unsqueeze`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Reshape", 5, read_reshape),
        Reader::new("Flatten", 1, |r| {
            let x = r.input(0)?;
            let dims = r.ty(x).shape.0;
            let rank = dims.len() as i64;
            let axis = r.int_or("axis", 1)?;
            let axis = if axis < 0 { axis + rank } else { axis };
            if !(0..=rank).contains(&axis) {
                return Err(OpError::Axis { axis, rank: dims.len() });
            }
            let product = |d: &[Dim]| d.iter().fold(Dim::known(1), |n, d| &n * d);
            let to = Shape(vec![product(&dims[..axis as usize]), product(&dims[axis as usize..])]);
            Ok(vec![r.reshape(x, to)?])
        }),
        Reader::new("Squeeze", 1, |r| {
            let x = r.input(0)?;
            let dims = r.ty(x).shape.0;
            let drop = match axes(r)? {
                Some(axes) => resolve_all(&axes, dims.len())?,
                None => (0..dims.len()).filter(|i| dims[*i].is(1)).collect(),
            };
            if let Some(axis) = drop.iter().find(|a| !dims[**a].is(1)) {
                return Err(OpError::mismatch(&format!("dimension of axis {axis}"), 1, &dims[*axis]));
            }
            let to = dims.into_iter().enumerate().filter(|(i, _)| !drop.contains(i)).map(|(_, d)| d);
            Ok(vec![r.reshape(x, to.collect())?])
        }),
        Reader::new("Unsqueeze", 1, |r| {
            let x = r.input(0)?;
            let axes = axes(r)?.ok_or_else(|| OpError::missing_attribute("axes", "integers"))?;
            let mut dims = r.ty(x).shape.0;
            for axis in resolve_all(&axes, dims.len() + axes.len())? {
                dims.insert(axis, Dim::known(1));
            }
            Ok(vec![r.reshape(x, Shape(dims))?])
        }),
    ]
}

/// Reads axes, which are an attribute up to opset 12 and an operand afterwards.
fn axes(r: &Reading) -> Result<Option<Vec<i64>>, OpError> {
    match r.optional(1) {
        Some(v) => r.ints_of(v, "axes").map(Some),
        None => r.ints("axes"),
    }
}

/// Reads `Reshape`: `0` copies a dimension unless `allowzero` is set, and `-1` takes the remaining elements.
fn read_reshape(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let from = r.ty(x).shape;
    let allow_zero = r.flag("allowzero", false)?;
    let mut dims = r.dims_of(r.input(1)?, "shape")?;
    let mut rest = None;
    for (i, d) in dims.iter_mut().enumerate() {
        match d.as_known() {
            Some(0) if !allow_zero => {
                *d = from.0.get(i).cloned().ok_or(OpError::Axis { axis: i as i64, rank: from.rank() })?;
            }
            Some(-1) if rest.is_some() => return Err(OpError::invalid("shape", "at most one -1", "two")),
            Some(-1) => rest = Some(i),
            Some(v) if v < -1 => return Err(OpError::mismatch("shape", "values of at least -1", v)),
            _ => {}
        }
    }
    if let Some(i) = rest {
        dims[i] = Dim::known(1);
        let others = dims.iter().fold(Dim::known(1), |n, d| &n * d);
        let left = from.elems();
        dims[i] = left.floor_div(&others);
        let fits = &dims[i] * &others == left;
        if !fits && left.as_known().is_some() && others.as_known().is_some() {
            return Err(OpError::mismatch("elements", format!("a multiple of {others}"), left));
        }
    }
    Ok(vec![r.reshape(x, Shape(dims))?])
}
