//! Reductions.

use ndarray::ArrayD;

use super::Binary;
use super::contract::*;
use super::reference::layout::{Number, array, pick, strides, values, whole, wrong_kind};

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The product.
    Prod,
    /// Index of the first maximum, int64; one axis.
    ArgMax,
    /// Index of the first minimum, int64; one axis.
    ArgMin,
}

/// Reduction over `axes` (sorted, in range).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduce {
    /// The function.
    pub kind: Reduction,
    /// The axes.
    pub axes: Vec<usize>,
    /// Keep the reduced axes with dimension 1.
    pub keep: bool,
}

impl Builder {
    /// Reduction.
    pub fn reduce(&mut self, kind: Reduction, x: Value, axes: &[usize], keep: bool) -> Value {
        if axes.is_empty() {
            return x;
        }
        self.add(Reduce { kind, axes: axes.to_vec(), keep }, &[x])
    }

    /// The sum of all elements, a scalar.
    pub fn total(&mut self, x: Value) -> Value {
        let axes: Vec<usize> = (0..self.ty(x).rank()).collect();
        self.reduce(Reduction::Sum, x, &axes, false)
    }

    /// Undoes broadcasting: sums `r` over the axes along which a value of shape `to` was repeated.
    pub fn sum_to(&mut self, r: Value, to: &Shape) -> Value {
        let from = self.ty(r).shape;
        let lead = from.rank().saturating_sub(to.rank());
        let axes: Vec<usize> =
            (0..from.rank()).filter(|&i| i < lead || (to.0[i - lead].is(1) && !from.0[i].is(1))).collect();
        let r = self.reduce(Reduction::Sum, r, &axes, true);
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
        format!("Reduce{:?}", self.kind)
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

/// The reduction of `x` over `axes`; `dims` are the result's.
fn evaluate(kind: Reduction, axes: &[usize], x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match (kind, x) {
        (Reduction::ArgMax | Reduction::ArgMin, Array::F(x)) => arg(kind, axes, x, dims).map(Array::I),
        (Reduction::ArgMax | Reduction::ArgMin, Array::I(x)) => arg(kind, axes, x, dims).map(Array::I),
        (_, Array::F(x)) => numbers(kind, axes, x, dims).map(Array::F),
        (_, Array::I(x)) => numbers(kind, axes, x, dims).map(Array::I),
        (_, Array::B(_)) => Err(wrong_kind("a number type", x)),
    }
}

/// The elements that meet in each element of the result, one after another, and how many they are.
fn groups<T: Number>(x: &ArrayD<T>, axes: &[usize]) -> (Vec<T>, usize) {
    let (dims, strides) = (x.shape(), strides(x.shape()));
    let table = |axis: usize| whole(dims[axis], strides[axis]);
    let kept = (0..dims.len()).filter(|axis| !axes.contains(axis));
    let reduced = (0..dims.len()).filter(|axis| axes.contains(axis));
    let count = reduced.clone().map(|axis| dims[axis]).product();
    (pick(&values(x), &kept.chain(reduced).map(table).collect::<Vec<_>>(), &T::ZERO), count)
}

fn numbers<T: Number>(
    kind: Reduction,
    axes: &[usize],
    x: &ArrayD<T>,
    dims: &[usize],
) -> Result<ArrayD<T>, OpError> {
    let (start, f): (Option<T>, fn(T, T) -> T) = match kind {
        Reduction::Sum => (Some(T::ZERO), T::plus),
        Reduction::Prod => (Some(T::ONE), T::times),
        Reduction::Max | Reduction::ArgMax => (None, T::larger),
        Reduction::Min | Reduction::ArgMin => (None, T::smaller),
    };
    let (values, count) = groups(x, axes);
    if count == 0 {
        let start = start.ok_or_else(|| empty(kind))?;
        return array(dims, vec![start; dims.iter().product()]);
    }
    let fold = |group: &[T]| match start {
        Some(start) => group.iter().copied().fold(start, f),
        None => group[1..].iter().copied().fold(group[0], f),
    };
    array(dims, values.chunks_exact(count).map(fold).collect())
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
    let better = |a: T, b: T| if kind == Reduction::ArgMin { a < b } else { a > b };
    let first = |group: &[T]| {
        (1..count).fold(0, |best, i| if better(group[i], group[best]) { i } else { best }) as i64
    };
    array(dims, values.chunks_exact(count).map(first).collect())
}

fn empty(kind: Reduction) -> OpError {
    OpError::Invalid(format!("{kind:?} of no elements"))
}

/// The adjoint of the operand, if there is one.
fn derivative(kind: Reduction, axes: &[usize], d: &mut Adjoint<'_>) -> Option<Value> {
    let (x, y, r) = (d.x[0], d.y, d.r);
    let b = &mut *d.b;
    let full = b.ty(x).shape;
    let mut kept = full.clone();
    axes.iter().for_each(|a| kept.0[*a] = Dim::known(1));
    let spread = |b: &mut Builder, v: Value, to: &Shape| {
        let v = b.reshape(v, &kept);
        b.expand(v, to)
    };
    match kind {
        Reduction::Sum => Some(spread(b, r, &full)),
        Reduction::Max | Reduction::Min => {
            let extremum = b.reshape(y, &kept);
            let hit = b.binary(Binary::Equal, x, extremum);
            let ones = b.cast(hit, b.ty(x).dtype);
            let count = b.reduce(Reduction::Sum, ones, axes, true);
            let r = b.reshape(r, &kept);
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
