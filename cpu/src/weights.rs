//! Tensors to and from tract, and the constants of a plan: each constant, part and layout once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use dlbc_ops::graph::NodeId;
use dlbc_ops::prim::Transform;
use dlbc_ops::tensor::{DType, Tensor, TensorView};
use tract_onnx::tract_core::internal as tr;

/// A copy of a tensor for tract, which owns its memory. Floats of any width compute in float32.
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

/// The element type that stands for `dtype` in tract: float32, int64 or bool.
pub fn datum(dtype: DType) -> tr::DatumType {
    match dtype {
        d if d.is_float() => tr::DatumType::F32,
        DType::Bool => tr::DatumType::Bool,
        _ => tr::DatumType::I64,
    }
}

/// A tensor from tract, in the element type that the program says.
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

/// The part of values.
pub fn part_of(part: Transform, v: f32) -> f32 {
    match part {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}

/// The values of a constant: those of the program where they can be read in place, else a copy.
#[derive(Clone)]
enum Values {
    Shared(Tensor),
    Own(Arc<Vec<f32>>),
    /// Of an input of the plan, by its place among those that are given so.
    Given(usize),
}

thread_local! {
    /// The matrices of the run that this thread is in.
    static GIVEN: RefCell<Vec<Tensor>> = const { RefCell::new(vec![]) };
}

/// Runs `f` with matrices that are inputs of its plan: [`Weight::given`] is filled with them.
pub fn with_given<T>(matrices: Vec<Tensor>, f: impl FnOnce() -> T) -> T {
    /// A thread that waits may take up another run: what it had comes back afterwards, after a panic too.
    struct Before(Vec<Tensor>);
    impl Drop for Before {
        fn drop(&mut self) {
            GIVEN.set(std::mem::take(&mut self.0));
        }
    }
    let _before = Before(GIVEN.replace(matrices));
    f()
}

impl Values {
    fn get(&self) -> &[f32] {
        match self {
            // Made only from tensors that can be read in place.
            Values::Shared(t) => t.as_f32().unwrap_or_default(),
            Values::Own(v) => v,
            // Filled before anything is read.
            Values::Given(_) => &[],
        }
    }
}

/// A constant matrix of our own products, `[o, q]`.
#[derive(Clone)]
pub struct Weight {
    values: Values,
    q: usize,
    /// What products take of the values.
    part: Transform,
}

impl Weight {
    /// The matrix with rows of `q` that is input number `at` of a plan.
    pub fn given(at: usize, q: usize) -> Weight {
        Weight { values: Values::Given(at), q, part: Transform::Id }
    }

    /// Whether it is another matrix in every run.
    pub fn is_given(&self) -> bool {
        matches!(self.values, Values::Given(_))
    }

    /// The matrix that this run was given; `None` for a constant.
    pub fn filled(&self) -> Option<Weight> {
        let Values::Given(at) = self.values else { return None };
        let tensor = GIVEN.with_borrow(|all| all.get(at).cloned())?;
        let values = match tensor.as_f32() {
            Some(_) => Values::Shared(tensor),
            None => Values::Own(Arc::new(tensor.to_f32())),
        };
        Some(Weight { values, ..self.clone() })
    }

    /// What products take of a value.
    pub fn value(&self, at: usize) -> f32 {
        part_of(self.part, self.values.get()[at])
    }

    /// Values as they are stored.
    pub fn values(&self, at: usize, len: usize) -> &[f32] {
        &self.values.get()[at..at + len]
    }

    /// All values from one on, as they are stored.
    pub fn from(&self, at: usize) -> &[f32] {
        &self.values.get()[at..]
    }
}

impl PartialEq for Weight {
    fn eq(&self, other: &Weight) -> bool {
        let same = match (&self.values, &other.values) {
            (Values::Given(a), Values::Given(b)) => a == b,
            (Values::Given(_), _) | (_, Values::Given(_)) => false,
            _ => std::ptr::eq(self.values.get(), other.values.get()),
        };
        same && self.q == other.q && self.part == other.part
    }
}

impl Eq for Weight {}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight({} values, rows of {})", self.values.get().len(), self.q)
    }
}

/// The constants of a plan: each part once.
#[derive(Default)]
pub struct Cache {
    tensors: HashMap<(NodeId, Transform), Arc<tr::Tensor>>,
    values: HashMap<(NodeId, Transform), Values>,
    weights: HashMap<(NodeId, Transform, bool), Weight>,
}

impl Cache {
    /// A part of the constant of `node` as a tensor.
    pub fn tensor(
        &mut self,
        node: NodeId,
        part: Transform,
        tensor: &Tensor,
    ) -> tr::TractResult<Arc<tr::Tensor>> {
        if let Some(t) = self.tensors.get(&(node, part)) {
            return Ok(t.clone());
        }
        let mut made = to_tract(&tensor.view())?;
        if tensor.dtype().is_float() && part != Transform::Id {
            let mut plain = made.try_as_plain_ram_mut()?;
            plain.as_slice_mut::<f32>()?.iter_mut().for_each(|v| *v = part_of(part, *v));
        }
        let made = Arc::new(made);
        self.tensors.insert((node, part), made.clone());
        Ok(made)
    }

    /// The constant of `node` as a matrix whose rows have `q` elements, of which products take a part: on the way, or, where
    /// each element is read often by itself, made once.
    pub fn weight(&mut self, node: NodeId, part: Transform, tensor: &Tensor, q: usize, made: bool) -> Weight {
        let (stored, taken) = if made { (part, Transform::Id) } else { (Transform::Id, part) };
        if let Some(w) = self.weights.get(&(node, part, made)) {
            return Weight { q, ..w.clone() };
        }
        let shared = self.values.get(&(node, stored));
        let values = shared.cloned().unwrap_or_else(|| {
            if stored == Transform::Id && tensor.as_f32().is_some() {
                return Values::Shared(tensor.clone());
            }
            let mut values = tensor.to_f32();
            values.iter_mut().for_each(|v| *v = part_of(stored, *v));
            Values::Own(Arc::new(values))
        });
        self.values.insert((node, stored), values.clone());
        let weight = Weight { values, q, part: taken };
        self.weights.insert((node, part, made), weight.clone());
        weight
    }

    /// Bytes of all constants made: copies, not what is read in place.
    pub fn bytes(&self) -> u64 {
        let tensors: usize = self.tensors.values().map(|t| t.len() * t.datum_type().size_of()).sum();
        let own = self.values.values().map(|v| match v {
            Values::Shared(_) | Values::Given(_) => 0,
            Values::Own(v) => v.len() * 4,
        });
        (tensors + own.sum::<usize>()) as u64
    }
}
