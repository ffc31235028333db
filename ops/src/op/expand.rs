//! Broadcast to a shape. Reads `Expand`, `ConstantOfShape` and `Tile`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;
use crate::tensor::{Dim, Shape, Tensor, broadcast};

/// Broadcast of the operand to a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    /// Shape of the result.
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
    /// The relevance of all copies is summed.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let shape = b.ty(site.inputs[0]).shape;
        vec![Some(b.sum_to(r, &shape))]
    }
}

/// Returns the readers of `Expand`, `ConstantOfShape` and `Tile`.
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

/// Reads `Tile`: inserts an axis before each axis, broadcasts it, and merges both.
fn read_tile(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let repeats = r.dims_of(r.input(1)?, "repeats")?;
    let dims = r.ty(x).shape.0;
    if repeats.len() != dims.len() {
        return Err(OpError::mismatch("repeats", format!("{} values", dims.len()), repeats.len()));
    }
    let pairs = dims.iter().zip(&repeats);
    let split: Vec<Dim> = pairs.clone().flat_map(|(d, _)| [Dim::known(1), d.clone()]).collect();
    let repeated: Vec<Dim> = pairs.clone().flat_map(|(d, n)| [n.clone(), d.clone()]).collect();
    let merged: Vec<Dim> = pairs.map(|(d, n)| d * n).collect();
    let y = r.reshape(x, Shape(split))?;
    let y = r.add(Expand { to: Shape(repeated) }, &[y])?;
    Ok(vec![r.reshape(y, Shape(merged))?])
}
