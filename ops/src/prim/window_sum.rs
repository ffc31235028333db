//! Sums over windows, and their adjoint.

use ndarray::ArrayD;

use super::Window;
use super::contract::*;
use super::reference::layout::{Number, array, elems, values, wrong_type};
use super::reference::taps::{fold, taps};

/// Sum over each window of `x [n, c, …]`; padding counts as 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WindowSum(pub Window);

/// Adjoint of [`WindowSum`]. `(s [n, c, …])` → `[n, c, to…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSumTranspose {
    /// Window of the forward sum.
    pub window: Window,
    /// Spatial dimensions of the result.
    pub to: Vec<Dim>,
}

impl Builder {
    /// Adds sums over the windows of `x`.
    pub fn window_sum(&mut self, window: &Window, x: Value) -> Value {
        self.add(WindowSum(window.clone()), &[x])
    }
}

impl Fields for WindowSum {
    fn name(&self) -> &'static str {
        "WindowSum"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        visit(Field::Any);
    }

    fn dims_mut(&mut self, _visit: &mut dyn FnMut(&mut Dim)) {}

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl Primitive for WindowSum {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        windows_of(&self.0, &x[0])
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        match x[0] {
            Array::F(x) => fold(&self.0, x, dims, 0.0, f64::plus).map(Array::F),
            Array::I(x) => fold(&self.0, x, dims, 0, i64::plus).map(Array::I),
            Array::B(_) => Err(wrong_type("a number type", x[0])),
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let to = d.shape(0).0[2..].to_vec();
        let v = d.b.add(WindowSumTranspose { window: self.0.clone(), to }, &[d.r]);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.fold_into_rows(self.clone(), 1))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }
}

fields!(WindowSumTranspose { window: Any, to: Dims });

impl Primitive for WindowSumTranspose {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (s, WindowSumTranspose { window, to }) = (&x[0], self);
        dims_equal("output of the window", spatial(s, window)?, &window.output(to)?)?;
        Ok(s.with_shape([s.shape.0[..2].to_vec(), to.clone()].concat()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        match x[0] {
            Array::F(s) => spread(&self.window, s, dims).map(Array::F),
            Array::I(s) => spread(&self.window, s, dims).map(Array::I),
            Array::B(_) => Err(wrong_type("a number type", x[0])),
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let v = d.b.window_sum(&self.window, d.r);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.fold_into_rows(self.clone(), 1))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }

    fn attributes(&self) -> String {
        format!("{} to={:?}", self.window, self.to)
    }
}

fn spread<T: Number>(window: &Window, s: &ArrayD<T>, dims: &[usize]) -> Result<ArrayD<T>, OpError> {
    let windows = taps(window, &dims[2..], &s.shape()[2..])?;
    let size = elems(&dims[2..])?;
    let mut out = vec![T::ZERO; elems(dims)?];
    let s = values(s);
    for channel in 0..dims[0] * dims[1] {
        let out = &mut out[channel * size..][..size];
        for (taps, s) in windows.iter().zip(&s[channel * windows.len()..]) {
            for (_, at) in taps {
                out[*at] = out[*at].plus(*s);
            }
        }
    }
    array(dims, out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{assert_close, eval, floats, inner, known, random};
    use crate::prim::tests::windows::{direct_loop, line, windows};

    proptest! {
        #[test]
        fn sums_equal_a_direct_loop((window, x) in windows(), seed in any::<u64>()) {
            let x = random(&x, seed);
            let y = eval(WindowSum(window.clone()), &[&x]);
            assert_close(&y, &direct_loop(&window, &x, y.dims(), |taps| taps.iter().sum()));
        }

        #[test]
        fn the_transpose_is_the_adjoint((window, x) in windows(), seed in any::<u64>()) {
            let x = random(&x, seed);
            let y = eval(WindowSum(window.clone()), &[&x]);
            let s = random(y.dims(), seed ^ 1);
            let back = eval(WindowSumTranspose { window, to: known(&x.dims()[2..]) }, &[&s]);
            prop_assert!((inner(&y, &s) - inner(&x, &back)).abs() < 1e-9);
        }
    }

    #[test]
    fn sums_have_hand_computed_values() {
        let x = floats(&[1, 1, 5], &[1.0, 5.0, 2.0, -4.0, 3.0]);
        let sum = eval(WindowSum(line(2, 2, (1, 0), false)), &[&x]);
        assert_eq!(sum, floats(&[1, 1, 3], &[1.0, 7.0, -1.0]));
        let floor = eval(WindowSum(line(2, 2, (0, 0), false)), &[&x]);
        assert_eq!(floor, floats(&[1, 1, 2], &[6.0, -2.0]));
        let ceil = eval(WindowSum(line(2, 2, (0, 0), true)), &[&x]);
        assert_eq!(ceil, floats(&[1, 1, 3], &[6.0, -2.0, 3.0]));
    }
}
