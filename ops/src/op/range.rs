//! `Range`: `start, start + step, …` of integers, its length known up to the inputs' dimensions.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Builder, Prim};
use crate::tensor::{DType, Dim};

/// An arithmetic progression of int64.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The first value.
    pub start: Dim,
    /// The difference.
    pub step: i64,
    /// How many.
    pub len: Dim,
}

impl Operator for Range {
    fn attributes(&self) -> String {
        format!(" start={} step={} len={}", self.start, self.step, self.len)
    }

    fn lower(&self, b: &mut Builder, _: &[Value]) -> Vec<Value> {
        let i = b.add(Prim::Iota { len: self.len.clone() }, &[]);
        let step = b.add(Prim::Dims { dims: vec![], values: vec![Dim::known(self.step)] }, &[]);
        let start = b.add(Prim::Dims { dims: vec![], values: vec![self.start.clone()] }, &[]);
        let scaled = if self.step == 1 { i } else { b.mul(i, step) };
        vec![if self.start.is(0) { scaled } else { b.plus(scaled, start) }]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// The reader.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Range", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let dtype = r.ty(r.input(0)?).dtype;
    if !dtype.is_integer() {
        return Err(OpError::Unsupported(format!("a range of {dtype} is not supported")));
    }
    let scalar = |r: &mut Reading, i: usize, what: &str| -> Result<Dim, OpError> {
        match r.dims_of(r.input(i)?, what)?.as_slice() {
            [d] => Ok(d.clone()),
            other => Err(OpError::mismatch(what, "one value", other.len())),
        }
    };
    let (start, limit) = (scalar(r, 0, "start")?, scalar(r, 1, "limit")?);
    let step = scalar(r, 2, "delta")?.as_known();
    let step = step.ok_or_else(|| OpError::Unsupported("delta must be a known number".into()))?;
    if step == 0 {
        return Err(OpError::Invalid("delta is 0".into()));
    }
    let span = if step > 0 { &limit - &start } else { &start - &limit };
    let len = span.ceil_div(step.saturating_abs());
    let len = if len.as_known().is_some_and(|n| n < 0) { Dim::known(0) } else { len };
    let y = r.add(Range { start, step, len }, &[])?;
    Ok(vec![if dtype == DType::I64 { y } else { r.add(super::Cast { to: dtype }, &[y])? }])
}
