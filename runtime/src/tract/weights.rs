//! Tensors to and from tract, and the constants of a plan: each constant, part and layout once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use dlbc_ops::graph::NodeId;
use dlbc_ops::prim::Part;
use dlbc_ops::tensor::{DType, Tensor};
use tract_onnx::tract_core::internal as tr;

use super::gemm::Matrix;

/// A tensor for tract. Floats of any width compute in float32.
pub fn to_tract(t: &Tensor) -> tr::TractResult<tr::Tensor> {
    let dims = t.dims();
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
pub fn part_of(part: Part, v: f32) -> f32 {
    match part {
        Part::Id => v,
        Part::Abs => v.abs(),
        Part::Pos => v.max(0.0),
        Part::Neg => v.min(0.0),
    }
}

/// The values of a constant: those of the program where they can be read in place, else a copy.
#[derive(Clone)]
enum Values {
    Shared(Tensor),
    Own(Arc<Vec<f32>>),
}

impl Values {
    fn get(&self) -> &[f32] {
        match self {
            // Made only from tensors that can be read in place.
            Values::Shared(t) => t.as_f32().unwrap_or_default(),
            Values::Own(v) => v,
        }
    }
}

/// A constant matrix of our own products: `[o, q]`, or by group `[q, o]` when it is stored for the adjoint.
#[derive(Clone)]
pub struct Weight {
    values: Values,
    q: usize,
    /// Output channels of a group, when each group is stored as `[q, o]`.
    turned: Option<usize>,
}

impl Weight {
    /// Rows of `[o, q]` from `row` on.
    pub fn rows(&self, row: usize) -> Matrix<'_> {
        match self.turned {
            None => Matrix { data: self.from(row * self.q), row: self.q, column: 1 },
            Some(o) => {
                let (group, row) = (row / o, row % o);
                Matrix { data: self.from(group * self.q * o + row), row: 1, column: o }
            }
        }
    }

    /// The transposed matrix of a group of `o` channels, from its row `first` on.
    pub fn columns(&self, group: usize, o: usize, first: usize) -> Matrix<'_> {
        match self.turned {
            None => Matrix { data: self.from(group * o * self.q + first), row: 1, column: self.q },
            Some(o) => Matrix { data: self.from((group * self.q + first) * o), row: o, column: 1 },
        }
    }

    /// Values as they are stored.
    pub fn values(&self, at: usize, len: usize) -> &[f32] {
        &self.values.get()[at..at + len]
    }

    /// All values from one on.
    pub fn from(&self, at: usize) -> &[f32] {
        &self.values.get()[at..]
    }
}

impl PartialEq for Weight {
    fn eq(&self, other: &Weight) -> bool {
        std::ptr::eq(self.values.get(), other.values.get())
            && (self.q, self.turned) == (other.q, other.turned)
    }
}

impl Eq for Weight {}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight({} values, rows of {})", self.values.get().len(), self.q)
    }
}

/// How a constant is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// As it is.
    Plain,
    /// Each group of so many output channels turned: `[q, o]`.
    Turned(usize),
}

/// The constants of a plan: each part and layout once.
#[derive(Default)]
pub struct Cache {
    tensors: HashMap<(NodeId, Part), Arc<tr::Tensor>>,
    weights: HashMap<(NodeId, Part, Layout), Weight>,
}

impl Cache {
    /// A part of the constant of `node` as a tensor.
    pub fn tensor(&mut self, node: NodeId, part: Part, tensor: &Tensor) -> tr::TractResult<Arc<tr::Tensor>> {
        if let Some(t) = self.tensors.get(&(node, part)) {
            return Ok(t.clone());
        }
        let mut made = to_tract(tensor)?;
        if tensor.dtype().is_float() && part != Part::Id {
            let mut plain = made.try_as_plain_ram_mut()?;
            plain.as_slice_mut::<f32>()?.iter_mut().for_each(|v| *v = part_of(part, *v));
        }
        let made = Arc::new(made);
        self.tensors.insert((node, part), made.clone());
        Ok(made)
    }

    /// A part of the constant of `node` as a matrix whose rows, before any turning, have `q` elements.
    pub fn weight(&mut self, node: NodeId, part: Part, layout: Layout, tensor: &Tensor, q: usize) -> Weight {
        let key = (node, part, layout);
        if let Some(w) = self.weights.get(&key) {
            return Weight { q, ..w.clone() };
        }
        let own = |values: Vec<f32>| Values::Own(Arc::new(values));
        let weight = match layout {
            Layout::Plain if part == Part::Id && tensor.as_f32().is_some() => {
                Weight { values: Values::Shared(tensor.clone()), q, turned: None }
            }
            Layout::Plain => {
                let mut values = tensor.to_f32();
                values.iter_mut().for_each(|v| *v = part_of(part, *v));
                Weight { values: own(values), q, turned: None }
            }
            Layout::Turned(o) => {
                let from = tensor.to_f32();
                let mut values = vec![0.0; from.len()];
                for (to, from) in values.chunks_exact_mut(o * q).zip(from.chunks_exact(o * q)) {
                    turn(from, o, q, |v| part_of(part, v), to);
                }
                Weight { values: own(values), q, turned: Some(o) }
            }
        };
        self.weights.insert(key, weight.clone());
        weight
    }

    /// Bytes of all constants made: copies, not what is read in place.
    pub fn bytes(&self) -> u64 {
        let tensors: usize = self.tensors.values().map(|t| t.len() * t.datum_type().size_of()).sum();
        let own = self.weights.values().map(|w| match &w.values {
            Values::Shared(_) => 0,
            Values::Own(v) => v.len() * 4,
        });
        (tensors + own.sum::<usize>()) as u64
    }
}

/// `to[j, i] = f(from[i, j])` for `from [rows, columns]`, in tiles that the cache holds.
fn turn(from: &[f32], rows: usize, columns: usize, f: impl Fn(f32) -> f32, to: &mut [f32]) {
    const TILE: usize = 32;
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for i in top..(top + TILE).min(rows) {
                for j in left..(left + TILE).min(columns) {
                    to[j * rows + i] = f(from[i * columns + j]);
                }
            }
        }
    }
}
