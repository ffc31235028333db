//! Padding of axes with a constant, by reflection, or with the edge. Reads `Pad`.

use super::Operator;
use super::read::{Reader, Reading, resolve};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Builder, PadMode, Prim};
use crate::tensor::{Dim, Shape};

/// Padding of each axis. Negative padding is read as a slice before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// Number of elements added before, by axis; ≥ 0.
    pub before: Vec<Dim>,
    /// Number of elements added after, by axis; ≥ 0.
    pub after: Vec<Dim>,
    /// Values of the added elements.
    pub mode: PadMode,
}

impl Operator for Pad {
    fn attributes(&self) -> String {
        format!(" before={:?} after={:?} {:?}", self.before, self.after, self.mode)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let (before, after, mode) = (self.before.clone(), self.after.clone(), self.mode);
        vec![b.add(prim::Pad { before, after, mode }, &[inputs[0]])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Pad {
    /// Removes the padding; relevance of reflected or repeated elements is added to the element that they copy.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let shape = b.ty(site.inputs[0]).shape;
        let mut r = r;
        for axis in 0..shape.rank() {
            let (before, after) = (&self.before[axis], &self.after[axis]);
            if before.is(0) && after.is(0) {
                continue;
            }
            let dim = &shape.0[axis];
            let slice = |start: Dim, len: &Dim, step: i64| {
                Prim::Slice(prim::Slice { axis, start, len: len.clone(), step })
            };
            let mut y = b.add(slice(before.clone(), dim, 1), &[r]);
            if self.mode != PadMode::Constant(0.0) && !matches!(self.mode, PadMode::Constant(_)) {
                for (start, len, at) in [(Dim::known(0), before, true), (before + dim, after, false)] {
                    if len.is(0) {
                        continue;
                    }
                    let margin = b.add(slice(start, len, 1), &[r]);
                    let back = self.add_margin(b, margin, axis, dim, len, at);
                    y = b.plus(y, back);
                }
            }
            r = y;
        }
        vec![Some(r)]
    }
}

impl Pad {
    /// Adds the relevance of a margin to the elements that the margin copies, in a tensor of the operand's dimension.
    fn add_margin(
        &self,
        b: &mut Builder,
        margin: Value,
        axis: usize,
        dim: &Dim,
        len: &Dim,
        leading: bool,
    ) -> Value {
        let put = |start: Dim, step: i64| {
            Prim::SliceTranspose(prim::SliceTranspose { axis, start, to: dim.clone(), step })
        };
        match self.mode {
            PadMode::Reflect => {
                // Before the operand, position `i` copies element `len - i`; after it, element `dim - 2 - i`.
                let start = if leading { len.clone() } else { dim - &Dim::known(2) };
                b.add(put(start, -1), &[margin])
            }
            _ => {
                let sum = b.reduce_keepdims(crate::prim::Reduction::Sum, margin, &[axis]);
                let start = if leading { Dim::known(0) } else { dim - &Dim::known(1) };
                b.add(put(start, 1), &[sum])
            }
        }
    }
}

/// Returns the reader of `Pad`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Pad", 2, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let rank = r.ty(x).rank();
    let mode = r.string_or("mode", "constant")?;
    let (pads, value, axes) = if r.opset < 11 {
        let pads = r.ints("pads")?.ok_or_else(|| OpError::missing_attribute("pads", "integers"))?;
        (pads.into_iter().map(Dim::known).collect(), r.float_or("value", 0.0)?, None)
    } else {
        let pads = r.dims_of(r.input(1)?, "pads")?;
        let value = r.optional(2).map(|v| r.float_of(v, "constant_value")).transpose()?.unwrap_or(0.0);
        (pads, value, r.optional(3).map(|v| r.ints_of(v, "axes")).transpose()?)
    };
    let axes = match axes {
        None => (0..rank).collect(),
        Some(axes) => axes.iter().map(|a| resolve(*a, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    if pads.len() != 2 * axes.len() {
        return Err(OpError::mismatch("pads", format!("{} values", 2 * axes.len()), pads.len()));
    }
    let mode = match mode.as_str() {
        "constant" => PadMode::Constant(value),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => return wrapped(r, x, &axes, &pads),
        other => return Err(OpError::mismatch("mode", "constant, reflect, edge or wrap", other)),
    };
    let zeros: Vec<Dim> = vec![Dim::known(0); rank];
    let (mut before, mut after) = (zeros.clone(), zeros);
    let mut y = x;
    for (i, axis) in axes.iter().enumerate() {
        let (b, a) = (&pads[i], &pads[i + axes.len()]);
        // Negative padding is a slice before the padding.
        let crop = |d: &Dim| d.as_known().filter(|v| *v < 0).map_or(0, |v| -v);
        let (cb, ca) = (crop(b), crop(a));
        if cb + ca > 0 {
            let len = r.ty(y).dim(*axis) - &Dim::known(cb.saturating_add(ca));
            y = r.add(super::Slice { axis: *axis, start: Dim::known(cb), len, step: 1 }, &[y])?;
        }
        before[*axis] = b + &Dim::known(cb);
        after[*axis] = a + &Dim::known(ca);
    }
    if Shape([before.clone(), after.clone()].concat()).0.iter().all(|d| d.is(0)) {
        return Ok(vec![y]);
    }
    Ok(vec![r.add(Pad { before, after, mode }, &[y])?])
}

/// Pads with the elements of the other end, as if the operand were repeated. Negative padding is a slice before it.
fn wrapped(r: &mut Reading, x: Value, axes: &[usize], pads: &[Dim]) -> Result<Vec<Value>, OpError> {
    let mut y = x;
    for (i, axis) in axes.iter().enumerate() {
        let (before, after) = (&pads[i], &pads[i + axes.len()]);
        let is_negative = |d: &Dim| d.as_known().is_some_and(|v| v < 0);
        let crop = |d: &Dim| if is_negative(d) { &Dim::known(0) - d } else { Dim::known(0) };
        if is_negative(before) || is_negative(after) {
            let len = &(r.ty(y).dim(*axis) - &crop(before)) - &crop(after);
            y = r.slice(y, *axis, crop(before), len)?;
        }
        let dim = r.ty(y).dim(*axis).clone();
        if let Some(pad) = [before, after].into_iter().find(|p| (&dim - p).as_known().is_some_and(|v| v < 0))
        {
            return Err(OpError::unsupported("pads of mode wrap", format!("at most {dim}"), pad));
        }
        let is_added = |d: &Dim| !d.is(0) && !is_negative(d);
        let mut parts = vec![y];
        if is_added(before) {
            parts.insert(0, r.slice(y, *axis, &dim - before, before.clone())?);
        }
        if is_added(after) {
            parts.push(r.slice(y, *axis, Dim::known(0), after.clone())?);
        }
        y = if let [single] = parts[..] { single } else { r.add(super::Concat { axis: *axis }, &parts)? };
    }
    Ok(vec![y])
}
