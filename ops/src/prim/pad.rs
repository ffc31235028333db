//! Padding of axes.

use super::contract::*;
use super::reference::layout::{known_dims, pick_array, strides};

/// Values of padding elements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// The same value for all elements.
    Constant(#[serde(serialize_with = "super::float::number")] f32),
    /// The operand mirrored at its edge, without repeating the edge.
    Reflect,
    /// The nearest element at the edge.
    Edge,
}

/// Padding of each axis of the operand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Number of elements added before, by axis; ≥ 0.
    pub before: Vec<Dim>,
    /// Number of elements added after, by axis; ≥ 0.
    pub after: Vec<Dim>,
    /// Values of the added elements.
    pub mode: PadMode,
}

fields!(Pad { before: Dims, after: Dims, mode: Any });

impl Primitive for Pad {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (x, Pad { before, after, mode }) = (&x[0], self);
        equal("pads before", before.len(), x.rank())?;
        equal("pads after", after.len(), x.rank())?;
        let mut ty = x.clone();
        for (i, dim) in ty.shape.0.iter_mut().enumerate() {
            for p in [&before[i], &after[i]] {
                let Some(p) = p.as_known() else { continue };
                let limit = match (mode, dim.as_known()) {
                    (PadMode::Reflect, Some(d)) => d - 1,
                    _ => i64::MAX,
                };
                if p < 0 || p > limit {
                    return Err(OpError::invalid(
                        &format!("pads of axis {i}"),
                        format!("at least 0 and at most {limit} for dimension {dim}"),
                        p,
                    ));
                }
            }
            *dim = &(&*dim + &before[i]) + &after[i];
        }
        Ok(ty)
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let (x, mode, before) = (x[0], self.mode, known_dims(&self.before)?);
        let strides = strides(x.dims());
        let mut tables = Vec::with_capacity(dims.len());
        for (axis, dim) in x.dims().iter().enumerate() {
            if *dim == 0 && dims[axis] > 0 && !matches!(mode, PadMode::Constant(_)) {
                return Err(OpError::invalid(
                    &format!("axis {axis}, whose elements pad it"),
                    "at least 1 element",
                    0,
                ));
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
        pick_array(x, &tables, fill, dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let PadMode::Constant(_) = self.mode else { return Err(d.unsupported()) };
        let mut v = d.r;
        for (axis, start) in self.before.iter().enumerate() {
            let len = d.b.ty(d.x[0]).dim(axis).clone();
            if d.b.ty(v).dim(axis) != &len {
                v = d.b.slice(v, axis, start, &len);
            }
        }
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let with = |pads: &[Dim]| [&[Dim::known(0)], pads].concat();
        Ok(t.apply_to_first(Pad { before: with(&self.before), after: with(&self.after), mode: self.mode }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{error, eval, floats, ints, known, row};

    #[test]
    fn pads_fill_by_mode() {
        let pad = |before: i64, after: i64, mode| Pad {
            before: vec![Dim::known(before)],
            after: vec![Dim::known(after)],
            mode,
        };
        let x = row(&[1.0, 2.0, 3.0]);
        let constant = eval(pad(1, 2, PadMode::Constant(0.5)), &[&x]);
        assert_eq!(constant, row(&[0.5, 1.0, 2.0, 3.0, 0.5, 0.5]));
        assert_eq!(eval(pad(2, 1, PadMode::Reflect), &[&x]), row(&[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]));
        assert_eq!(eval(pad(2, 1, PadMode::Edge), &[&x]), row(&[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]));
        assert_eq!(eval(pad(1, 0, PadMode::Constant(-2.0)), &[&ints(&[1], &[7])]), ints(&[2], &[-2, 7]));
        assert!(error(pad(1, 0, PadMode::Edge), &[&row(&[])]).contains("at least 1 element"));
        assert!(error(pad(3, 0, PadMode::Reflect), &[&x]).contains("at most 2 for dimension 3"));
        let square = Pad { before: known(&[0, 1]), after: known(&[1, 0]), mode: PadMode::Edge };
        let x = floats(&[2, 1], &[1.0, 2.0]);
        assert_eq!(eval(square, &[&x]), floats(&[3, 2], &[1.0, 1.0, 2.0, 2.0, 2.0, 2.0]));
    }
}
