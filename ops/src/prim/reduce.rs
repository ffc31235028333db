//! Reductions over axes.

use ndarray::ArrayD;

use super::Binary;
use super::contract::*;
use super::reference::layout::{Number, array, pick, strides, values, whole, wrong_type};

/// Function of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// Sum of the elements; 0 for no elements.
    Sum,
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
    /// Product of the elements; 1 for no elements.
    Prod,
    /// Index of the first maximum along a single axis, int64.
    ArgMax,
    /// Index of the first minimum along a single axis, int64.
    ArgMin,
}

/// Reduction of the operand over axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduce {
    /// Function of the reduction.
    pub kind: Reduction,
    /// Reduced axes, ascending and in `0..rank`.
    pub axes: Vec<usize>,
    /// True if the reduced axes stay with dimension 1, false if they are removed.
    pub keep: bool,
}

impl Builder {
    /// Adds a reduction over `axes`, which are removed; returns `x` if there are none.
    pub fn reduce(&mut self, kind: Reduction, x: Value, axes: &[usize]) -> Value {
        if axes.is_empty() {
            return x;
        }
        self.add(Reduce { kind, axes: axes.to_vec(), keep: false }, &[x])
    }

    /// Adds a reduction over `axes`, which stay with dimension 1; returns `x` if there are none.
    pub fn reduce_keepdims(&mut self, kind: Reduction, x: Value, axes: &[usize]) -> Value {
        if axes.is_empty() {
            return x;
        }
        self.add(Reduce { kind, axes: axes.to_vec(), keep: true }, &[x])
    }

    /// Adds the sum of all elements, a scalar.
    pub fn total(&mut self, x: Value) -> Value {
        let axes: Vec<usize> = (0..self.ty(x).rank()).collect();
        self.reduce(Reduction::Sum, x, &axes)
    }

    /// Adds the adjoint of a broadcast: the sum of `r` over the axes along which a value of shape `to` was repeated.
    pub fn sum_to(&mut self, r: Value, to: &Shape) -> Value {
        let from = self.ty(r).shape;
        let lead = from.rank().saturating_sub(to.rank());
        let axes: Vec<usize> =
            (0..from.rank()).filter(|&i| i < lead || (to.0[i - lead].is(1) && !from.0[i].is(1))).collect();
        let r = self.reduce_keepdims(Reduction::Sum, r, &axes);
        self.reshape(r, to)
    }
}

fields!(Reduce { kind: Any, axes: Axes, keep: Any });

impl Primitive for Reduce {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        infer(self.kind, &self.axes, self.keep, &x[0])
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        evaluate(self.kind, &self.axes, x[0], dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        if let Some(v) = derivative(self.kind, &self.axes, d) {
            d.set(0, v);
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let axes = self.axes.iter().map(|a| a + 1).collect();
        Ok(t.apply_to_first(Reduce { axes, ..*self }))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        match self.kind {
            Reduction::Sum => x.is_zero_or_empty(0),
            Reduction::Max | Reduction::Min | Reduction::Prod | Reduction::ArgMax | Reduction::ArgMin => {
                false
            }
        }
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        match self.kind {
            Reduction::Sum | Reduction::Max | Reduction::Min | Reduction::Prod => x.first(),
            Reduction::ArgMax | Reduction::ArgMin => false,
        }
    }

    fn title(&self) -> String {
        let word = match self.kind {
            Reduction::Sum => "ReduceSum",
            Reduction::Max => "ReduceMax",
            Reduction::Min => "ReduceMin",
            Reduction::Prod => "ReduceProd",
            Reduction::ArgMax => "ReduceArgMax",
            Reduction::ArgMin => "ReduceArgMin",
        };
        word.into()
    }

    fn attributes(&self) -> String {
        format!("axes={:?} keep={}", self.axes, self.keep)
    }
}

fn infer(kind: Reduction, axes: &[usize], keep: bool, x: &TensorType) -> Result<TensorType, OpError> {
    for axis in axes {
        axis_in(*axis, x)?;
    }
    let arg = matches!(kind, Reduction::ArgMax | Reduction::ArgMin);
    if arg && axes.len() != 1 {
        return Err(OpError::mismatch("axes", "one", axes.len()));
    }
    let dims = x.shape.0.iter().enumerate().filter_map(|(i, d)| match (axes.contains(&i), keep) {
        (false, _) => Some(d.clone()),
        (true, true) => Some(Dim::known(1)),
        (true, false) => None,
    });
    Ok(TensorType::new(if arg { DType::I64 } else { x.dtype }, dims.collect::<Shape>()))
}

/// Evaluates the reduction of `x` over `axes`; the result has dimensions `dims`.
fn evaluate(kind: Reduction, axes: &[usize], x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match (kind, x) {
        (Reduction::ArgMax | Reduction::ArgMin, Array::F(x)) => arg(kind, axes, x, dims).map(Array::I),
        (Reduction::ArgMax | Reduction::ArgMin, Array::I(x)) => arg(kind, axes, x, dims).map(Array::I),
        (_, Array::F(x)) => numbers(kind, axes, x, dims).map(Array::F),
        (_, Array::I(x)) => numbers(kind, axes, x, dims).map(Array::I),
        (_, Array::B(_)) => Err(wrong_type("a number type", x)),
    }
}

/// Returns the elements that are reduced into each element of the result, one group after another, and the size of a
/// group.
fn groups<T: Number>(x: &ArrayD<T>, axes: &[usize]) -> (Vec<T>, usize) {
    let (dims, strides) = (x.shape(), strides(x.shape()));
    let table = |axis: usize| whole(dims[axis], strides[axis]);
    let remaining = (0..dims.len()).filter(|axis| !axes.contains(axis));
    let reduced = (0..dims.len()).filter(|axis| axes.contains(axis));
    let count = reduced.clone().map(|axis| dims[axis]).product();
    (pick(&values(x), &remaining.chain(reduced).map(table).collect::<Vec<_>>(), &T::ZERO), count)
}

fn numbers<T: Number>(
    kind: Reduction,
    axes: &[usize],
    x: &ArrayD<T>,
    dims: &[usize],
) -> Result<ArrayD<T>, OpError> {
    let (start, f): (T, fn(T, T) -> T) = match kind {
        Reduction::Sum => (T::ZERO, T::plus),
        Reduction::Prod => (T::ONE, T::times),
        Reduction::Max | Reduction::ArgMax => (T::LOWEST, T::larger),
        Reduction::Min | Reduction::ArgMin => (T::HIGHEST, T::smaller),
    };
    let (values, count) = groups(x, axes);
    if count == 0 {
        return array(dims, vec![start; dims.iter().product()]);
    }
    let reduced = |group: &[T]| group.iter().copied().reduce(f).unwrap_or(start);
    array(dims, values.chunks_exact(count).map(reduced).collect())
}

fn arg<T: Number>(
    kind: Reduction,
    axes: &[usize],
    x: &ArrayD<T>,
    dims: &[usize],
) -> Result<ArrayD<i64>, OpError> {
    let (values, count) = groups(x, axes);
    if count == 0 {
        return Err(empty(kind));
    }
    let precedes = |a: T, b: T| if kind == Reduction::ArgMin { a < b } else { a > b };
    let first = |group: &[T]| {
        (1..count).fold(0, |best, i| if precedes(group[i], group[best]) { i } else { best }) as i64
    };
    array(dims, values.chunks_exact(count).map(first).collect())
}

fn empty(kind: Reduction) -> OpError {
    OpError::fault(format!("{kind:?} of no elements"), "at least 1")
}

/// Builds the adjoint of the operand; `None` for index reductions.
fn derivative(kind: Reduction, axes: &[usize], d: &mut Adjoint<'_>) -> Option<Value> {
    let (x, y, r) = (d.x[0], d.y, d.r);
    let b = &mut *d.b;
    let full = b.ty(x).shape;
    let mut kept_shape = full.clone();
    axes.iter().for_each(|a| kept_shape.0[*a] = Dim::known(1));
    let spread = |b: &mut Builder, v: Value, to: &Shape| {
        let v = b.reshape(v, &kept_shape);
        b.expand(v, to)
    };
    match kind {
        Reduction::Sum => Some(spread(b, r, &full)),
        Reduction::Max | Reduction::Min => {
            let extremum = b.reshape(y, &kept_shape);
            let hit = b.binary(Binary::Equal, x, extremum);
            let ones = b.cast(hit, b.ty(x).dtype);
            let count = b.reduce_keepdims(Reduction::Sum, ones, axes);
            let r = b.reshape(r, &kept_shape);
            let each = b.guarded_div(r, count);
            Some(b.mul(ones, each))
        }
        Reduction::Prod => {
            let product = b.mul(r, y);
            let product = spread(b, product, &full);
            Some(b.guarded_div(product, x))
        }
        Reduction::ArgMax | Reduction::ArgMin => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{
        assert_close, elements, error, eval, floats, indices, ints, random, row,
    };

    fn reduce(kind: Reduction, axes: &[usize], keep: bool) -> Reduce {
        Reduce { kind, axes: axes.to_vec(), keep }
    }

    #[test]
    fn reductions_have_hand_computed_values() {
        let x = floats(&[2, 3], &[1.0, -2.0, 4.0, 3.0, 5.0, 5.0]);
        assert_eq!(eval(reduce(Reduction::Sum, &[1], true), &[&x]), floats(&[2, 1], &[3.0, 13.0]));
        assert_eq!(eval(reduce(Reduction::Sum, &[0], false), &[&x]), row(&[4.0, 3.0, 9.0]));
        assert_eq!(eval(reduce(Reduction::Prod, &[0, 1], false), &[&x]), floats(&[], &[-600.0]));
        assert_eq!(eval(reduce(Reduction::Max, &[1], false), &[&x]), row(&[4.0, 5.0]));
        assert_eq!(eval(reduce(Reduction::Min, &[0], true), &[&x]), floats(&[1, 3], &[1.0, -2.0, 4.0]));
        assert_eq!(eval(reduce(Reduction::ArgMax, &[1], false), &[&x]), ints(&[2], &[2, 1]));
        assert_eq!(eval(reduce(Reduction::ArgMin, &[0], true), &[&x]), ints(&[1, 3], &[0, 0, 0]));
        assert_eq!(eval(reduce(Reduction::Sum, &[], false), &[&x]), x);
        let i = ints(&[2, 2], &[3, -4, 5, i64::MAX]);
        assert_eq!(eval(reduce(Reduction::Sum, &[0], false), &[&i]), ints(&[2], &[8, i64::MAX - 4]));
        assert_eq!(eval(reduce(Reduction::Min, &[0, 1], false), &[&i]), ints(&[], &[-4]));
        assert_eq!(eval(reduce(Reduction::ArgMax, &[0], false), &[&i]), ints(&[2], &[1, 1]));
    }

    #[test]
    fn reductions_of_middle_axes_keep_the_others_in_order() {
        let x = random(&[2, 3, 2, 2], 5);
        let y = eval(reduce(Reduction::Sum, &[1, 3], false), &[&x]);
        let v = elements(&x);
        let direct =
            |i: &Vec<usize>| -> f64 { indices(&[3, 2]).iter().map(|j| v[[i[0], j[0], i[1], j[1]]]).sum() };
        assert_close(&y, &floats(&[2, 2], &indices(&[2, 2]).iter().map(direct).collect::<Vec<_>>()));
    }

    #[test]
    fn reductions_of_nothing() {
        let x = floats(&[2, 0], &[]);
        assert_eq!(eval(reduce(Reduction::Sum, &[1], false), &[&x]), row(&[0.0, 0.0]));
        assert_eq!(eval(reduce(Reduction::Prod, &[1], true), &[&x]), floats(&[2, 1], &[1.0, 1.0]));
        assert_eq!(eval(reduce(Reduction::Max, &[0], false), &[&x]), row(&[]));
        let all = |v: f64| row(&[v, v]);
        assert_eq!(eval(reduce(Reduction::Max, &[1], false), &[&x]), all(f64::NEG_INFINITY));
        assert_eq!(eval(reduce(Reduction::Min, &[1], false), &[&x]), all(f64::INFINITY));
        assert_eq!(
            error(reduce(Reduction::ArgMin, &[1], false), &[&x]),
            "ArgMin of no elements: expected at least 1"
        );
    }

    #[test]
    fn nan_does_no_harm_beyond_its_element() {
        let x = row(&[f64::NAN, 2.0, f64::NAN]);
        for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
            eval(reduce(kind, &[0], false), &[&x]);
        }
        assert_eq!(eval(reduce(Reduction::ArgMax, &[0], false), &[&x]), ints(&[], &[0]));
    }
}
