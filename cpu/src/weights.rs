//! Conversion of tensors to and from tract, and the constants of a plan, which nodes share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use dlbc_ops::graph::NodeId;
use dlbc_ops::prim::Transform;
use dlbc_ops::tensor::{Compact, DType, Tensor, TensorView};
use tract_onnx::tract_core::internal as tr;

use super::gemm::{Loop, widest};

/// Copies a tensor to tract, which owns its memory. Floats of any width become float32.
pub fn to_tract(t: &TensorView<'_>) -> tr::TractResult<tr::Tensor> {
    let dims = t.dims();
    if let Some(values) = t.as_f32() {
        return tr::Tensor::from_shape(dims, values);
    }
    if t.dtype().is_float() {
        return tr::Tensor::from_shape(dims, &t.to_f32());
    }
    match t.dtype() {
        DType::Bool => {
            tr::Tensor::from_shape(dims, &t.bytes().iter().map(|b| *b != 0).collect::<Vec<bool>>())
        }
        _ => tr::Tensor::from_shape(dims, &t.to_i64()),
    }
}

/// Returns the element type that represents `dtype` in tract: float32, int64 or bool.
pub fn datum(dtype: DType) -> tr::DatumType {
    match dtype {
        d if d.is_float() => tr::DatumType::F32,
        DType::Bool => tr::DatumType::Bool,
        _ => tr::DatumType::I64,
    }
}

/// Copies a tensor from tract, converted to the element type of the program.
pub fn from_tract(t: &tr::Tensor, dtype: DType) -> tr::TractResult<Tensor> {
    let dims = t.shape();
    let array = match t.datum_type() {
        tr::DatumType::F32 if dtype == DType::F32 => {
            return Ok(Tensor::from_f32(dims, t.try_as_plain_ram()?.as_slice::<f32>()?));
        }
        tr::DatumType::F32 => {
            let values = t.try_as_plain_ram()?.as_slice::<f32>()?.iter().map(|v| f64::from(*v)).collect();
            dlbc_ops::tensor::Array::F(ndarray::ArrayD::from_shape_vec(dims, values)?)
        }
        tr::DatumType::Bool => {
            let values = t.try_as_plain_ram()?.as_slice::<bool>()?.to_vec();
            dlbc_ops::tensor::Array::B(ndarray::ArrayD::from_shape_vec(dims, values)?)
        }
        _ => {
            let t = t.cast_to::<i64>()?;
            let values = t.try_as_plain_ram()?.as_slice::<i64>()?.to_vec();
            dlbc_ops::tensor::Array::I(ndarray::ArrayD::from_shape_vec(dims, values)?)
        }
    };
    Ok(array.to_tensor(dtype))
}

/// Applies an operand transform to a value.
pub fn transformed(transform: Transform, v: f32) -> f32 {
    match transform {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}

/// Values of a matrix.
#[derive(Clone)]
enum Values {
    /// The tensor of the program, whose float32 values can be read without a copy.
    Shared(Tensor),
    /// The values of a tensor of the program that are stored in fewer bits.
    Compact(Arc<Compact>),
    /// A copy, converted to float32 or transformed.
    Copied(Arc<Vec<f32>>),
    /// An input of the plan, by its index among the borrowed inputs.
    Borrowed(usize),
}

thread_local! {
    /// Borrowed matrices of the run that this thread executes.
    static BORROWED: RefCell<Vec<Tensor>> = const { RefCell::new(vec![]) };
}

/// Runs `f` with the matrices of [`Weight::borrowed`], which are inputs of its plan.
pub fn with_borrowed<T>(matrices: Vec<Tensor>, f: impl FnOnce() -> T) -> T {
    /// Restores the matrices of the outer run, which a waiting thread interrupted for this one; even after a panic.
    struct Before(Vec<Tensor>);
    impl Drop for Before {
        fn drop(&mut self) {
            BORROWED.set(std::mem::take(&mut self.0));
        }
    }
    let _before = Before(BORROWED.replace(matrices));
    f()
}

impl Values {
    /// Returns the values of a tensor of the program, copied only if they cannot be read in place.
    fn of(tensor: &Tensor) -> Values {
        match tensor.as_compact() {
            Some(values) => Values::Compact(values.clone()),
            None if tensor.as_f32().is_some() => Values::Shared(tensor.clone()),
            None => Values::Copied(Arc::new(tensor.to_f32())),
        }
    }

    fn get(&self) -> Elements<'_> {
        match self {
            // `Shared` holds only float32 tensors.
            Values::Shared(t) => Elements::Floats(t.as_f32().unwrap_or_default()),
            Values::Compact(values) => Elements::Compact(values),
            Values::Copied(v) => Elements::Floats(v),
            // Replaced by `of_this_run` before any read.
            Values::Borrowed(_) => Elements::Floats(&[]),
        }
    }
}

/// Elements of a matrix in memory.
#[derive(Clone, Copy)]
pub enum Elements<'a> {
    /// Each is stored.
    Floats(&'a [f32]),
    /// They are stored in fewer bits, and widened where they are read.
    Compact(&'a Compact),
}

impl<'a> Elements<'a> {
    /// Returns `len` elements from `at` on, which are widened to `buffer` if they are stored in fewer bits.
    #[inline]
    pub fn line<'b>(self, at: usize, len: usize, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Elements::Floats(values) => &values[at..at + len],
            Elements::Compact(values) => {
                widen(values, at, &mut buffer[..len]);
                &buffer[..len]
            }
        }
    }

    /// Returns the number of elements that [`Elements::line`] needs a buffer for.
    pub fn buffer(self, len: usize) -> usize {
        if matches!(self, Elements::Compact(_)) { len } else { 0 }
    }
}

/// Writes the values from `at` on that are stored in fewer bits.
pub fn widen(values: &Compact, at: usize, to: &mut [f32]) {
    /// Widening of a line.
    struct Widen<'a>(&'a Compact, usize, &'a mut [f32]);
    impl Loop for Widen<'_> {
        #[inline(always)]
        fn run(self) {
            self.0.widen(self.1, self.2);
        }
    }
    widest(Widen(values, at, to));
}

/// A matrix `[o, q]` of a product.
#[derive(Clone)]
pub struct Weight {
    values: Values,
    q: usize,
    /// Transform that products apply to the values.
    transform: Transform,
}

impl Weight {
    /// Creates the matrix, with rows of `q` elements, that is borrowed input `index` of the plan.
    pub fn borrowed(index: usize, q: usize) -> Weight {
        Weight { values: Values::Borrowed(index), q, transform: Transform::Id }
    }

    /// Returns whether the matrix is a borrowed input of the plan.
    pub fn is_borrowed(&self) -> bool {
        matches!(self.values, Values::Borrowed(_))
    }

    /// Returns the borrowed matrix of the current run; `None` for a constant.
    pub fn of_this_run(&self) -> Option<Weight> {
        let Values::Borrowed(at) = self.values else { return None };
        let tensor = BORROWED.with_borrow(|all| all.get(at).cloned())?;
        Some(Weight { values: Values::of(&tensor), ..self.clone() })
    }

    /// Returns the elements, without the transform.
    pub fn elements(&self) -> Elements<'_> {
        self.values.get()
    }

    /// Returns the elements of a matrix to which the transform was applied when the program was planned.
    pub fn floats(&self) -> &[f32] {
        match self.values.get() {
            Elements::Floats(values) => values,
            // `ApplyTransform::AtPlan` copies them.
            Elements::Compact(_) => &[],
        }
    }

    /// Returns the transform that products apply to the elements.
    pub fn transform(&self) -> Transform {
        self.transform
    }
}

impl PartialEq for Weight {
    fn eq(&self, other: &Weight) -> bool {
        let same = match (&self.values, &other.values) {
            (Values::Borrowed(a), Values::Borrowed(b)) => a == b,
            (Values::Borrowed(_), _) | (_, Values::Borrowed(_)) => false,
            _ => match (self.values.get(), other.values.get()) {
                (Elements::Floats(a), Elements::Floats(b)) => std::ptr::eq(a, b),
                (Elements::Compact(a), Elements::Compact(b)) => std::ptr::eq(a, b),
                _ => false,
            },
        };
        same && self.q == other.q && self.transform == other.transform
    }
}

impl Eq for Weight {}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight(rows of {})", self.q)
    }
}

/// When a transform of a constant is applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplyTransform {
    /// When the program is planned, to a copy.
    AtPlan,
    /// When a product reads a value.
    AtUse,
}

/// The constants of a plan. Each is converted at most once per transform.
#[derive(Default)]
pub struct Cache {
    tensors: HashMap<(NodeId, Transform), Arc<tr::Tensor>>,
    values: HashMap<(NodeId, Transform, ApplyTransform), Values>,
    weights: HashMap<(NodeId, Transform, ApplyTransform), Weight>,
}

impl Cache {
    /// Returns the transformed constant of `node` as a tract tensor.
    pub fn tensor(
        &mut self,
        node: NodeId,
        transform: Transform,
        tensor: &Tensor,
    ) -> tr::TractResult<Arc<tr::Tensor>> {
        if let Some(t) = self.tensors.get(&(node, transform)) {
            return Ok(t.clone());
        }
        let mut constant = to_tract(&tensor.view())?;
        if tensor.dtype().is_float() && transform != Transform::Id {
            let mut plain = constant.try_as_plain_ram_mut()?;
            plain.as_slice_mut::<f32>()?.iter_mut().for_each(|v| *v = transformed(transform, *v));
        }
        let constant = Arc::new(constant);
        self.tensors.insert((node, transform), constant.clone());
        Ok(constant)
    }

    /// Returns the constant of `node` as a matrix with rows of `q` elements. `apply` says when the transform is applied; at plan time
    /// pays if each element is read often on its own.
    pub fn weight(
        &mut self,
        node: NodeId,
        transform: Transform,
        tensor: &Tensor,
        q: usize,
        apply: ApplyTransform,
    ) -> Weight {
        let (stored, at_use) = match apply {
            ApplyTransform::AtPlan => (transform, Transform::Id),
            ApplyTransform::AtUse => (Transform::Id, transform),
        };
        if let Some(w) = self.weights.get(&(node, transform, apply)) {
            return Weight { q, ..w.clone() };
        }
        let shared = self.values.get(&(node, stored, apply));
        let values = shared.cloned().unwrap_or_else(|| {
            if stored == Transform::Id && (apply == ApplyTransform::AtUse || tensor.as_compact().is_none()) {
                return Values::of(tensor);
            }
            let mut values = tensor.to_f32();
            values.iter_mut().for_each(|v| *v = transformed(stored, *v));
            Values::Copied(Arc::new(values))
        });
        self.values.insert((node, stored, apply), values.clone());
        let weight = Weight { values, q, transform: at_use };
        self.weights.insert((node, transform, apply), weight.clone());
        weight
    }

    /// Returns the bytes of all copies of constants.
    pub fn bytes(&self) -> u64 {
        let tensors: usize = self.tensors.values().map(|t| t.len() * t.datum_type().size_of()).sum();
        let copied = self.values.values().map(|v| match v {
            Values::Shared(_) | Values::Compact(_) | Values::Borrowed(_) => 0,
            Values::Copied(v) => v.len() * 4,
        });
        (tensors + copied.sum::<usize>()) as u64
    }
}
