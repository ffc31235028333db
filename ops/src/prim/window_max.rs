//! Maximum pooling, and the shares of its relevance.

use super::Window;
use super::contract::*;
use super::reference::layout::{Number, array, elems, float, values, wrong_type};
use super::reference::taps::{fold, taps};

/// Maximum over each window of `x [n, c, …]`; padding counts as -∞.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WindowMax(pub Window);

/// Shares of a maximum pool's relevance. `(x, y, r)` → `[n, c, …]` of `x`: each `r` is divided equally among the
/// positions of its window where `x` equals the maximum `y`, or goes to the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowMaxShare {
    /// Window of the forward pool.
    pub window: Window,
    /// True if the first position in row-major order takes all.
    pub first: bool,
}

impl Fields for WindowMax {
    fn name(&self) -> &'static str {
        "WindowMax"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        visit(Field::Any);
    }

    fn dims_mut(&mut self, _visit: &mut dyn FnMut(&mut Dim)) {}

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl Primitive for WindowMax {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        windows_of(&self.0, &x[0])
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        match x[0] {
            Array::F(x) => fold(&self.0, x, dims, f64::LOWEST, f64::larger).map(Array::F),
            Array::I(x) => fold(&self.0, x, dims, i64::LOWEST, i64::larger).map(Array::I),
            Array::B(_) => Err(wrong_type("a number type", x[0])),
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let v = d.b.add(WindowMaxShare { window: self.0.clone(), first: true }, &[d.x[0], d.y, d.r]);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.fold_into_rows(self.clone(), 1))
    }

    /// A window that covers only padding is -∞; padding smaller than the kernel excludes such windows.
    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        let w = &self.0;
        (0..w.rank()).all(|i| w.before[i] < w.extent(i) && w.after[i] < w.extent(i)) && x.first()
    }
}

fields!(WindowMaxShare { window: Any, first: Any });

impl Primitive for WindowMaxShare {
    fn arity(&self) -> RangeInclusive<usize> {
        3..=3
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let w = &self.window;
        dims_equal("output of the window", spatial(&x[1], w)?, &w.output(spatial(&x[0], w)?)?)?;
        equal("shape of relevance", &x[2].shape, &x[1].shape)?;
        Ok(x[0].clone())
    }

    /// Evaluates the shares.
    fn evaluate(&self, x: &[&Array], _dims: &[usize]) -> Result<Array, OpError> {
        let (x, y, r) = (float(x[0])?, float(x[1])?, float(x[2])?);
        let dims = x.shape();
        let windows = taps(&self.window, &dims[2..], &y.shape()[2..])?;
        let size = elems(&dims[2..])?;
        let mut out = vec![0.0; elems(dims)?];
        let (x, y, r) = (values(x), values(y), values(r));
        for channel in 0..dims[0] * dims[1] {
            let (x, out) = (&x[channel * size..][..size], &mut out[channel * size..][..size]);
            let outputs = channel * windows.len();
            for (taps, (y, r)) in windows.iter().zip(y[outputs..].iter().zip(&r[outputs..])) {
                let mut winners: Vec<usize> =
                    taps.iter().map(|(_, at)| *at).filter(|at| x[*at] == *y).collect();
                if self.first {
                    winners.truncate(1);
                }
                for at in &winners {
                    out[*at] += r / winners.len() as f64;
                }
            }
        }
        array(dims, out).map(Array::F)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Err(d.unsupported())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.fold_into_rows(self.clone(), 3))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(2)
    }

    fn attributes(&self) -> String {
        format!("{}{}", self.window, if self.first { " first" } else { "" })
    }
}
