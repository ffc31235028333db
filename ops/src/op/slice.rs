//! Slice along one axis. Reads `Slice` (one operator per axis) and `Split` (one operator per part).

use super::Operator;
use super::read::{Reader, Reading, resolve};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Builder};
use crate::tensor::Dim;

/// Elements `start, start + step, …` along `axis`, `len` of them. A negative step runs backwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Axis of the slice, in `0..rank`.
    pub axis: usize,
    /// First index.
    pub start: Dim,
    /// Number of elements.
    pub len: Dim,
    /// Distance of consecutive indices, not 0.
    pub step: i64,
}

impl Operator for Slice {
    fn attributes(&self) -> String {
        format!(" axis={} start={} len={} step={}", self.axis, self.start, self.len, self.step)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let Slice { axis, start, len, step } = self.clone();
        vec![b.add(prim::Slice { axis, start, len, step }, &[inputs[0]])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Slice {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let to = b.ty(site.inputs[0]).dim(self.axis).clone();
        let (axis, start, step) = (self.axis, self.start.clone(), self.step);
        vec![Some(b.add(prim::SliceTranspose { axis, start, to, step }, &[r]))]
    }
}

/// Returns the readers of `Slice` and `Split`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Slice", 1, read_slice), Reader::new("Split", 2, read_split)]
}

/// Reads `Slice`. Its bounds are attributes up to opset 9 and operands afterwards.
fn read_slice(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let mut x = r.input(0)?;
    let rank = r.ty(x).rank();
    let known = |v: Vec<i64>| v.into_iter().map(Dim::known).collect::<Vec<_>>();
    let missing = |attribute: &str| OpError::missing_attribute(attribute, "integers");
    let (starts, ends, axes, steps) = if r.opset < 10 {
        let starts = r.ints("starts")?.ok_or_else(|| missing("starts"))?;
        let ends = r.ints("ends")?.ok_or_else(|| missing("ends"))?;
        (known(starts), known(ends), r.ints("axes")?, None)
    } else {
        let axes = r.optional(3).map(|v| r.ints_of(v, "axes")).transpose()?;
        let steps = r.optional(4).map(|v| r.ints_of(v, "steps")).transpose()?;
        (r.dims_of(r.input(1)?, "starts")?, r.dims_of(r.input(2)?, "ends")?, axes, steps)
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    let lengths = [starts.len(), ends.len(), axes.len(), steps.len()];
    if lengths.iter().any(|n| *n != starts.len()) {
        let property = "lengths of starts, ends, axes and steps";
        return Err(OpError::invalid(property, "the same", format!("{lengths:?}")));
    }
    for i in 0..starts.len() {
        let axis = resolve(axes[i], rank)?;
        let dim = r.ty(x).dim(axis).clone();
        let (start, end) = match steps[i] > 0 && r.is_data_dependent(&dim) {
            true => (within(r, &starts[i], &dim)?, within(r, &ends[i], &dim)?),
            false => (starts[i].clone(), ends[i].clone()),
        };
        let slice = bounds(axis, &start, &end, steps[i], &dim)?;
        let whole = slice.start.is(0) && slice.step == 1 && slice.len == dim;
        if !whole {
            x = r.add(slice, &[x])?;
        }
    }
    Ok(vec![x])
}

/// Index beyond every dimension. Exporters write the largest int32 or int64, or a billion, for the end of an axis.
const BEYOND: i64 = 1_000_000_000;

/// Clamps a bound to a data-dependent dimension, in the graph if only a run can tell whether it lies inside.
fn within(r: &mut Reading, bound: &Dim, dim: &Dim) -> Result<Dim, OpError> {
    match bound.as_known() {
        Some(v) if v == 0 || v.saturating_abs() >= BEYOND => Ok(bound.clone()),
        Some(v) if v > 0 => r.smaller_dim(bound, dim),
        Some(_) => r.larger_dim(&(dim + bound), &Dim::known(0)),
        None => Ok(bound.clone()),
    }
}

/// Returns the slice with `start` and `end` clamped as ONNX specifies, as far as the dimension is known.
fn bounds(axis: usize, start: &Dim, end: &Dim, step: i64, dim: &Dim) -> Result<Slice, OpError> {
    if step == 0 || step == i64::MIN {
        return Err(OpError::invalid("step of a slice", "other than 0 and above -2^63", step));
    }
    // Negative indices count from the end; the result is clamped to low..=high.
    let clamp = |v: &Dim, low: i64, high: &Dim| -> Dim {
        match (v.as_known(), high.as_known()) {
            (Some(v), Some(high)) => {
                let d = dim.as_known().unwrap_or(i64::MAX);
                Dim::known((if v < 0 { v.saturating_add(d) } else { v }).clamp(low, high.max(low)))
            }
            // An index beyond any dimension is the end.
            (Some(v), None) if v >= BEYOND => high.clone(),
            (Some(v), None) if v <= -BEYOND => Dim::known(low),
            _ if v.is_negative() => dim + v,
            _ if (v - high).is_nonnegative() => high.clone(),
            _ => v.clone(),
        }
    };
    let unit = Dim::known(1);
    let (start, end) = if step > 0 {
        (clamp(start, 0, dim), clamp(end, 0, dim))
    } else {
        (clamp(start, 0, &(dim - &unit)), clamp(end, -1, &(dim - &unit)))
    };
    let span = if step > 0 { &end - &start } else { &start - &end };
    let len = span.ceil_div(step.abs());
    let len = if len.as_known().is_some_and(|n| n < 0) { Dim::known(0) } else { len };
    let start = if len.is(0) { Dim::known(0) } else { start };
    Ok(Slice { axis, start, len, step })
}

/// Reads `Split`. Its sizes are an attribute up to opset 12 and an operand afterwards; without them the parts are
/// equal, up to a smaller last one.
fn read_split(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let axis = resolve(r.int_or("axis", 0)?, r.ty(x).rank())?;
    let dim = r.ty(x).dim(axis).clone();
    let sizes = match r.optional(1) {
        Some(v) => Some(r.dims_of(v, "split")?),
        None => r.ints("split")?.map(|s| s.into_iter().map(Dim::known).collect()),
    };
    let parts = r.int_or("num_outputs", r.outputs as i64)?;
    if parts != r.outputs as i64 {
        return Err(OpError::mismatch("num_outputs", r.outputs, parts));
    }
    let sizes: Vec<Dim> = match sizes {
        Some(sizes) => sizes,
        None => {
            let part = dim.ceil_div(parts.max(1));
            let last = &dim - &(&part * &Dim::known(parts - 1));
            (0..parts).map(|i| if i + 1 == parts { last.clone() } else { part.clone() }).collect()
        }
    };
    if sizes.len() != r.outputs {
        return Err(OpError::mismatch("split", format!("{} sizes", r.outputs), sizes.len()));
    }
    let total = sizes.iter().fold(Dim::known(0), |n, s| &n + s);
    // The last computed size is the rest of the axis, so that the parts add up to the whole.
    let data_dependent = sizes.iter().any(|s| r.is_data_dependent(s));
    let mut sizes = sizes;
    if data_dependent && let Some(last) = sizes.pop() {
        let others = sizes.iter().fold(Dim::known(0), |n, s| &n + s);
        sizes.push(if r.is_data_dependent(&last) { &dim - &others } else { last });
    }
    // A model that was traced with a fixed number of tokens or boxes.
    if !data_dependent && total.as_known().is_some() && dim.as_known().is_none() {
        return Err(OpError::invalid(
            "sum of split",
            format!("{dim} rows, which a run decides"),
            format!("{total}: the exporter froze what the traced input had"),
        ));
    }
    if (!data_dependent && total != dim) || sizes.iter().any(|s| s.as_known().is_some_and(|s| s < 0)) {
        return Err(OpError::mismatch("sum of split", &dim, total));
    }
    let mut start = Dim::known(0);
    let mut outputs = vec![];
    for len in sizes {
        outputs.push(r.add(Slice { axis, start: start.clone(), len: len.clone(), step: 1 }, &[x])?);
        start = &start + &len;
    }
    Ok(outputs)
}
