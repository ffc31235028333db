//! Folding of constants and of integer tensors of dimensions, while a model is read.
//!
//! A shape subgraph (`Shape → Gather → Mul → Concat → Reshape`) folds to the dimensions that it computes, so that later
//! stages do not see it. Data movements fold by moving indices with the reference kernels; arithmetic is done on
//! [`Dim`]s.

use std::collections::BTreeMap;

use super::fold_compact::{self, Folded};
use super::{Activation, Arithmetic, Function, Op};
use crate::OpError;
use crate::graph::{Graph, Value};
use crate::prim::{Binary, Builder, Prim, Unary, reference};
use crate::program::Output;
use crate::tensor::{Array, Dim, Tensor, TensorType};

/// Size of the largest result that is folded; larger ones are left to the engine.
const LARGEST_FOLD_BYTES: u64 = 64 << 20;
/// Number of elements of the largest tensor that is treated as dimensions, not data.
const LARGEST_DIMS: usize = 4096;

/// Integer tensor whose elements are dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct DimTensor {
    /// Dimensions of the tensor.
    pub dims: Vec<usize>,
    /// Elements, row-major.
    pub values: Vec<Dim>,
}

impl DimTensor {
    /// Returns the dimensions that a value holds: a `Dims` node or a constant of integers.
    pub fn from_value(graph: &Graph<Op>, v: Value) -> Option<DimTensor> {
        match graph.op(v.node) {
            Op::Dims { dims, values } => Some(DimTensor { dims: dims.clone(), values: values.clone() }),
            Op::Const(t) if t.dtype().is_integer() && t.elems() <= LARGEST_DIMS => Some(DimTensor {
                dims: t.dims().to_vec(),
                values: t.to_i64().into_iter().map(Dim::known).collect(),
            }),
            _ => None,
        }
    }

    /// Converts the tensor to a constant if every value is known, otherwise to [`Op::Dims`].
    pub fn into_op(self) -> Op {
        match self.values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            Some(known) => Op::Const(Tensor::from_i64(&self.dims, &known)),
            None => Op::Dims { dims: self.dims, values: self.values },
        }
    }
}

/// Returns the constant or [`Op::Dims`] to which `op(inputs)` folds; `None` if it does not fold.
///
/// # Errors
/// If a constant cannot be computed: an index is out of range, or an integer is divided by 0.
pub fn fold(graph: &Graph<Op>, op: &Op, inputs: &[Value], ty: &TensorType) -> Result<Option<Op>, OpError> {
    if inputs.is_empty() {
        // A constant, or a range of known length.
        return match op {
            Op::Range(r) if is_small(ty) && r.start.as_known().is_some() => {
                Ok(Some(Op::Const(eval(op, &[], ty)?)))
            }
            _ => Ok(None),
        };
    }
    if let Op::Merge(merge) = op
        && merge.condition.as_known().is_none()
    {
        return Ok(None);
    }
    let constants: Option<Vec<&Tensor>> = inputs.iter().map(|v| graph.constant(*v)).collect();
    if let Some(constants) = constants {
        return match fold_compact::fold(op, &constants, ty)? {
            Folded::Constant(t) => Ok(Some(Op::Const(t))),
            Folded::Computed if is_small(ty) => Ok(Some(Op::Const(eval(op, &constants, ty)?))),
            Folded::Computed | Folded::Unfolded => Ok(None),
        };
    }
    fold_dims(graph, op, inputs, ty)
}

/// Returns whether a result of this type is folded.
pub(super) fn is_small(ty: &TensorType) -> bool {
    ty.bytes().is_some_and(|b| b <= LARGEST_FOLD_BYTES)
}

/// Evaluates an operator on constants with the reference kernels.
///
/// # Errors
/// Errors of the kernels.
pub fn eval(op: &Op, inputs: &[&Tensor], ty: &TensorType) -> Result<Tensor, OpError> {
    let arrays: Vec<Array> = inputs.iter().map(|t| Array::from_tensor(t)).collect();
    let types: Vec<TensorType> = inputs.iter().map(|t| t.ty()).collect();
    Ok(eval_arrays(op, &types, arrays)?.to_tensor(ty.dtype))
}

fn eval_arrays(op: &Op, types: &[TensorType], arrays: Vec<Array>) -> Result<Array, OpError> {
    let mut b = Builder::new();
    let mut feed = BTreeMap::new();
    let mut values = vec![];
    for (i, (ty, array)) in types.iter().zip(arrays).enumerate() {
        let name = format!("x{i}");
        values.push(b.input(&name, ty.clone()));
        feed.insert(name, array);
    }
    let outputs = op.lower(&mut b, &values);
    b.ok()?;
    let Some(y) = outputs.first() else {
        return Err(OpError::invalid("outputs of the operator", "at least 1", 0));
    };
    let name = Output::value("y");
    b.graph_mut().add_output(name.clone(), *y);
    let outputs = reference::run(&b.finish(), &feed, &[name]).map_err(|e| e.source)?;
    outputs.into_values().next().ok_or_else(|| OpError::invalid("outputs of the operator", "at least 1", 0))
}

fn fold_dims(graph: &Graph<Op>, op: &Op, inputs: &[Value], ty: &TensorType) -> Result<Option<Op>, OpError> {
    let folded = match op {
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Concat(_) | Op::Expand(_) => {
            let Some(parts) = all_dims(graph, inputs) else { return Ok(None) };
            moved(op, &parts, vec![], ty)?
        }
        Op::Gather(_) => {
            let (Some(data), Some(indices)) =
                (DimTensor::from_value(graph, inputs[0]), graph.constant(inputs[1]))
            else {
                return Ok(None);
            };
            moved(op, &[data], vec![indices.clone()], ty)?
        }
        Op::Cast(_) if ty.dtype.is_integer() => DimTensor::from_value(graph, inputs[0]),
        Op::Activation(Activation { f: Function::Unary(Unary::Neg) }) => {
            DimTensor::from_value(graph, inputs[0]).map(|d| DimTensor {
                values: d.values.iter().map(|v| &Dim::known(0) - v).collect(),
                dims: d.dims,
            })
        }
        Op::Add(_) => binary(graph, inputs, |a, b| Some(a + b)),
        Op::Sub(_) => binary(graph, inputs, |a, b| Some(a - b)),
        Op::Mul(_) => binary(graph, inputs, |a, b| Some(a * b)),
        // Dimensions are not negative, so truncation equals floor.
        Op::Div(_) => binary(graph, inputs, |a, b| (!b.is(0)).then(|| a.floor_div(b))),
        Op::Arithmetic(Arithmetic { f: Binary::Mod }) => {
            binary(graph, inputs, |a, b| (!b.is(0)).then(|| a - &(&a.floor_div(b) * b)))
        }
        Op::Extremum(e) => binary(graph, inputs, |a, b| e.of_dims(a, b)),
        Op::Compare(c) => {
            let decide = |a: &Dim, b: &Dim| c.of_dims(a, b).map(|t| Dim::known(i64::from(t)));
            let Some(decided) = binary(graph, inputs, decide) else { return Ok(None) };
            let bytes = decided.values.iter().map(|v| u8::from(!v.is(0))).collect::<Vec<u8>>();
            return Ok(Tensor::from_bytes(ty.dtype, decided.dims, std::sync::Arc::new(bytes)).map(Op::Const));
        }
        Op::Select(_) => {
            let Some(condition) = graph.constant(inputs[0]) else { return Ok(None) };
            let (Some(a), Some(b)) =
                (DimTensor::from_value(graph, inputs[1]), DimTensor::from_value(graph, inputs[2]))
            else {
                return Ok(None);
            };
            select(condition, &a, &b)
        }
        Op::Reduce(r) => DimTensor::from_value(graph, inputs[0]).and_then(|d| r.of_dims(&d)),
        _ => None,
    };
    Ok(folded.filter(|d| d.values.len() <= LARGEST_DIMS).map(DimTensor::into_op))
}

fn all_dims(graph: &Graph<Op>, inputs: &[Value]) -> Option<Vec<DimTensor>> {
    inputs.iter().map(|v| DimTensor::from_value(graph, *v)).collect()
}

/// Applies a data movement to dimensions: moves their indices in a common pool.
fn moved(
    op: &Op,
    parts: &[DimTensor],
    rest: Vec<Tensor>,
    ty: &TensorType,
) -> Result<Option<DimTensor>, OpError> {
    let Some(dims) = ty.shape.as_known() else { return Ok(None) };
    if dims.iter().product::<usize>() > LARGEST_DIMS {
        return Ok(None);
    }
    let mut pool: Vec<Dim> = vec![];
    let mut tensors = vec![];
    for part in parts {
        let indices: Vec<i64> = (pool.len()..pool.len() + part.values.len()).map(|i| i as i64).collect();
        pool.extend(part.values.iter().cloned());
        tensors.push(Tensor::from_i64(&part.dims, &indices));
    }
    tensors.extend(rest);
    let types: Vec<TensorType> = tensors.iter().map(Tensor::ty).collect();
    let moved = eval_arrays(op, &types, tensors.iter().map(Array::from_tensor).collect())?;
    let indices = moved.to_tensor(crate::tensor::DType::I64).to_i64();
    let values: Option<Vec<Dim>> =
        indices.iter().map(|i| usize::try_from(*i).ok().and_then(|i| pool.get(i).cloned())).collect();
    Ok(values.map(|values| DimTensor { dims, values }))
}

/// Broadcasts tensors of dimensions and combines them elementwise.
fn binary(graph: &Graph<Op>, inputs: &[Value], f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<DimTensor> {
    let mut parts = all_dims(graph, inputs)?.into_iter();
    let mut sum = parts.next()?;
    for part in parts {
        sum = combine(&sum, &part, &f)?;
    }
    Some(sum)
}

fn combine(a: &DimTensor, b: &DimTensor, f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<DimTensor> {
    let (a, b) = broadcast(a, b)?;
    let values = a.values.iter().zip(&b.values).map(|(a, b)| f(a, b)).collect::<Option<Vec<Dim>>>()?;
    Some(DimTensor { dims: a.dims, values })
}

fn broadcast(a: &DimTensor, b: &DimTensor) -> Option<(DimTensor, DimTensor)> {
    let known = |d: &DimTensor| Tensor::from_i64(&d.dims, &vec![0; d.values.len()]).ty();
    let to = Prim::Binary(Binary::Add).infer(&[known(a), known(b)]).ok()?;
    let expand = |d: &DimTensor| {
        let op = Op::Expand(super::Expand { to: to.shape.clone() });
        moved(&op, std::slice::from_ref(d), vec![], &to).ok().flatten()
    };
    Some((expand(a)?, expand(b)?))
}

fn select(condition: &Tensor, a: &DimTensor, b: &DimTensor) -> Option<DimTensor> {
    let c = DimTensor {
        dims: condition.dims().to_vec(),
        values: condition.to_i64().into_iter().map(Dim::known).collect(),
    };
    let (a, b) = broadcast(a, b)?;
    let (c, a) = broadcast(&c, &a)?;
    let (_, b) = broadcast(&c, &b)?;
    let values =
        (0..a.values.len()).map(|i| if c.values[i].is(0) { &b.values[i] } else { &a.values[i] }.clone());
    Some(DimTensor { values: values.collect(), dims: a.dims.clone() })
}
