//! Arithmetic progressions whose length is known up to the inputs' dimensions. Reads `Range`; float ranges need known
//! ends.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Builder};
use crate::tensor::{DType, Dim};

/// Arithmetic progression of int64: `start, start + step, …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// First value.
    pub start: Dim,
    /// Difference of consecutive values.
    pub step: i64,
    /// Number of values.
    pub len: Dim,
}

impl Operator for Range {
    fn attributes(&self) -> String {
        format!(" start={} step={} len={}", self.start, self.step, self.len)
    }

    fn lower(&self, b: &mut Builder, _: &[Value]) -> Vec<Value> {
        let i = b.add(prim::Iota { len: self.len.clone() }, &[]);
        let step = b.add(prim::Dims { dims: vec![], values: vec![Dim::known(self.step)] }, &[]);
        let start = b.add(prim::Dims { dims: vec![], values: vec![self.start.clone()] }, &[]);
        let scaled = if self.step == 1 { i } else { b.mul(i, step) };
        vec![if self.start.is(0) { scaled } else { b.plus(scaled, start) }]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Returns the reader of `Range`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Range", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    // Every float is computed in float32.
    r.ignore(&["stash_type"]);
    let dtype = r.ty(r.input(0)?).dtype;
    if dtype.is_float()
        && let Some(y) = fractions(r, dtype)?
    {
        return Ok(vec![y]);
    }
    let scalar = |r: &mut Reading, i: usize, property: &str| -> Result<Dim, OpError> {
        let v = r.input(i)?;
        let dims = if dtype.is_float() { whole(r, v, property)? } else { r.dims_of(v, property)? };
        match dims.as_slice() {
            [d] => Ok(d.clone()),
            other => Err(OpError::mismatch(property, "one value", other.len())),
        }
    };
    let (start, limit) = (scalar(r, 0, "start")?, scalar(r, 1, "limit")?);
    let delta = scalar(r, 2, "delta")?;
    let step = delta.as_known().ok_or_else(|| OpError::symbolic("delta", "a known number", &delta))?;
    if step == 0 {
        return Err(OpError::invalid("delta", "other than 0", 0));
    }
    let span = if step > 0 { &limit - &start } else { &start - &limit };
    let len = span.ceil_div(step.saturating_abs());
    let len = if len.as_known().is_some_and(|n| n < 0) { Dim::known(0) } else { len };
    let y = r.add(Range { start, step, len }, &[])?;
    Ok(vec![if dtype == DType::I64 { y } else { r.add(super::Cast { to: dtype }, &[y])? }])
}

/// Builds a range of floats with known ends, `start + i * delta`; `None` if an end is not constant.
fn fractions(r: &mut Reading, dtype: DType) -> Result<Option<Value>, OpError> {
    let mut ends = [0.0; 3];
    for (i, end) in ends.iter_mut().enumerate() {
        let Some(t) = r.constant(r.input(i)?) else { return Ok(None) };
        match t.to_f64().as_slice() {
            [x] => *end = *x,
            other => return Err(OpError::mismatch("ends of a range", "one value each", other.len())),
        }
    }
    let [start, limit, delta] = ends;
    let count = ((limit - start) / delta).ceil().max(0.0);
    if delta == 0.0 || !count.is_finite() {
        return Err(OpError::invalid(
            "range",
            "a finite number of elements",
            format!("{start} to {limit} by {delta}"),
        ));
    }
    // A count beyond i64 saturates, and the limit on sizes then refuses it.
    let index = r.add(Range { start: Dim::known(0), step: 1, len: Dim::known(count as i64) }, &[])?;
    let index = r.add(super::Cast { to: dtype }, &[index])?;
    let (delta, start) = (r.add_scalar(delta, dtype), r.add_scalar(start, dtype));
    let scaled = r.add(super::Mul, &[index, delta])?;
    Ok(Some(r.add(super::Add, &[scaled, start])?))
}

/// Returns the dimensions that a float value represents: integers, or dimensions that were converted to float.
fn whole(r: &mut Reading, v: Value, property: &str) -> Result<Vec<Dim>, OpError> {
    if let Some(t) = r.constant(v) {
        let dim = |x: &f64| (x.fract() == 0.0 && x.abs() < 1e15).then(|| Dim::known(*x as i64));
        let dims = t.to_f64().iter().map(dim).collect::<Option<Vec<Dim>>>();
        return dims.ok_or_else(|| {
            OpError::unsupported(
                property,
                "a whole number where an end of the range is computed",
                "a fraction",
            )
        });
    }
    if let super::Op::Cast(_) = r.graph.op(v.node) {
        let from = r.graph.node_inputs(v.node)[0];
        if r.ty(from).dtype.is_integer() {
            return r.dims_of(from, property);
        }
    }
    Err(OpError::unsupported(property, "a constant or a cast integer", "a computed float"))
}
