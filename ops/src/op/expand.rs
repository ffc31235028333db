//! Broadcast to a shape. Also reads `ConstantOfShape` and `Tile`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;
use crate::tensor::{Dim, Shape, Tensor, broadcast};

/// Broadcast to a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    /// The shape.
    pub to: Shape,
}

impl Operator for Expand {
    fn attributes(&self) -> String {
        format!(" to={}", self.to)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.expand(inputs[0], &self.to)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Expand {
    /// The copies' relevance sums up.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let shape = b.ty(site.inputs[0]).shape;
        vec![Some(b.sum_to(r, &shape))]
    }
}

/// Readers of `Expand`, `ConstantOfShape`, `Tile`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Expand", 8, |r| {
            let x = r.input(0)?;
            let shape = Shape(r.dims_of(r.input(1)?, "shape")?);
            let from = r.ty(x).shape;
            let to = broadcast(&from, &shape).ok_or_else(|| OpError::broadcast(&from, &shape))?;
            Ok(vec![if from == to { x } else { r.add(Expand { to }, &[x])? }])
        }),
        Reader::new("ConstantOfShape", 9, |r| {
            let to = Shape(r.dims_of(r.input(0)?, "shape")?);
            let value = r.tensor("value")?.unwrap_or_else(|| Tensor::scalar(0.0));
            let value = value
                .with_dims(&[])
                .ok_or_else(|| OpError::mismatch("value", "one element", value.elems()))?;
            let value = r.add_constant(value);
            Ok(vec![r.add(Expand { to }, &[value])?])
        }),
        Reader::new("Tile", 6, read_tile),
    ]
}

/// `Tile` repeats each axis: a new axis before it, broadcast, merged.
fn read_tile(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let repeats = r.dims_of(r.input(1)?, "repeats")?;
    let dims = r.ty(x).shape.0;
    if repeats.len() != dims.len() {
        return Err(OpError::mismatch("repeats", format!("{} values", dims.len()), repeats.len()));
    }
    let pairs = dims.iter().zip(&repeats);
    let split: Vec<Dim> = pairs.clone().flat_map(|(d, _)| [Dim::known(1), d.clone()]).collect();
    let wide: Vec<Dim> = pairs.clone().flat_map(|(d, n)| [n.clone(), d.clone()]).collect();
    let merged: Vec<Dim> = pairs.map(|(d, n)| d * n).collect();
    let y = r.reshape(x, Shape(split))?;
    let y = r.add(Expand { to: Shape(wide) }, &[y])?;
    Ok(vec![r.reshape(y, Shape(merged))?])
}
