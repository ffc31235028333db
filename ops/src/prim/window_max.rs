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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{assert_close, data, eval, floats, ints, random};
    use crate::prim::tests::windows::{direct_loop, line, windows};

    proptest! {
        #[test]
        fn maxima_equal_a_direct_loop((window, x) in windows(), seed in any::<u64>()) {
            let x = random(&x, seed);
            let y = eval(WindowMax(window.clone()), &[&x]);
            let max = |taps: &[f64]| taps.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            assert_close(&y, &direct_loop(&window, &x, y.dims(), max));
        }

        #[test]
        fn shares_conserve_the_total((window, x) in windows(), seed in any::<u64>()) {
            let x = random(&x, seed);
            let y = eval(WindowMax(window.clone()), &[&x]);
            let r = random(y.dims(), seed ^ 1);
            let shared = eval(WindowMaxShare { window, first: false }, &[&x, &y, &r]);
            // A window that lies in the pads alone shares nothing.
            let passed: f64 = data(&r).iter().zip(data(&y)).filter(|(_, y)| y.is_finite()).map(|(r, _)| r).sum();
            prop_assert!((data(&shared).iter().sum::<f64>() - passed).abs() < 1e-9);
        }
    }

    #[test]
    fn maxima_have_hand_computed_values() {
        let x = floats(&[1, 1, 5], &[1.0, 5.0, 2.0, -4.0, 3.0]);
        let max = eval(WindowMax(line(2, 2, (0, 0), true)), &[&x]);
        assert_eq!(max, floats(&[1, 1, 3], &[5.0, 2.0, 3.0]));
        let max = eval(WindowMax(line(1, 1, (1, 0), false)), &[&x]);
        assert_eq!(data(&max)[0], f64::NEG_INFINITY);
        let whole = eval(WindowMax(line(2, 2, (0, 0), true)), &[&ints(&[1, 1, 3], &[-5, -7, -9])]);
        assert_eq!(whole, ints(&[1, 1, 2], &[-5, -9]));
    }

    #[test]
    fn ties_share_equally_and_nan_takes_nothing() {
        let x = floats(&[1, 1, 4], &[2.0, 2.0, f64::NAN, f64::NAN]);
        let (y, r) = (floats(&[1, 1, 2], &[2.0, f64::NAN]), floats(&[1, 1, 2], &[6.0, 1.0]));
        let shared = eval(WindowMaxShare { window: line(2, 2, (0, 0), false), first: false }, &[&x, &y, &r]);
        assert_eq!(shared, floats(&[1, 1, 4], &[3.0, 3.0, 0.0, 0.0]));
    }
}
