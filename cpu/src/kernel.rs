//! Primitives as tract operators of ours: those that tract lacks or does slowly.
//!
//! The hot ones have float32 loops in [`super::loops`]; the rest run on the reference kernels, which is slow and right.

use std::fmt;

use dlbc_ops::prim::{self, Binary, Prim, Reduction, Window, reference};
use dlbc_ops::tensor::Array;
use ndarray::{ArrayD, IxDyn};
use tract_onnx::tract_core::internal as tr;
use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::loops;
use super::parallel::{chunks, made};

/// What a kernel refuses because of the values it got.
#[derive(Debug)]
pub struct Refused(String);

impl Refused {
    /// An index beyond an axis.
    pub fn index(title: &str, index: i64, axis: usize, dim: usize) -> Refused {
        Refused(format!("node `{title}`: index {index} is out of range for axis {axis} of dimension {dim}"))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A primitive as an operator, with the type of its result.
#[derive(Clone, Debug)]
pub struct Kernel {
    title: String,
    prim: Prim,
    dtype: tr::DatumType,
    dims: Vec<usize>,
}

impl Kernel {
    /// The kernel of a primitive.
    pub fn new(title: String, prim: Prim, dtype: tr::DatumType, dims: Vec<usize>) -> Kernel {
        Kernel { title, prim, dtype, dims }
    }
}

// tract compares operators to merge equal nodes, and loses readers of some it merges: equal primitives are one node already,
// so two nodes are never equal.
impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        self.title == other.title
            && self.dims == other.dims
            && format!("{:?}", self.prim) == format!("{:?}", other.prim)
    }
}

impl Eq for Kernel {}

impl Op for Kernel {
    fn name(&self) -> StaticName {
        format!("dlbc.{}", self.title).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Kernel {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        if let Some(y) = self.fast(&inputs)? {
            return Ok(tvec!(y.into()));
        }
        if let Some(y) = self.choice(&inputs)? {
            return Ok(tvec!(y.into()));
        }
        let arrays = inputs.iter().map(|t| array(t)).collect::<TractResult<Vec<Array>>>()?;
        let refs: Vec<&Array> = arrays.iter().collect();
        let made =
            reference::eval(&self.prim, &refs).map_err(|e| Refused(format!("node `{}`: {e}", self.title)))?;
        Ok(tvec!(tensor(made)?.into()))
    }
}

impl Kernel {
    /// The float32 loops, where there are some.
    fn fast(&self, inputs: &[TValue]) -> TractResult<Option<tr::Tensor>> {
        if inputs.is_empty()
            || inputs.iter().any(|t| t.datum_type() != tr::DatumType::F32)
            || self.dtype != tr::DatumType::F32
        {
            return Ok(None);
        }
        let x = inputs
            .iter()
            .map(|t| t.try_as_plain_ram()?.as_slice::<f32>())
            .collect::<TractResult<Vec<&[f32]>>>()?;
        let shape = |i: usize| inputs[i].shape();
        let taps = |w: &Window, from: &[usize], to: &[usize]| Taps::new(w.clone(), &from[2..], &to[2..]);
        let make = |f: &dyn Fn(&mut [f32])| made(&self.dims, f).map(Some);
        let broadcast = |f: fn(f32, f32) -> f32| {
            make(&|y| loops::broadcast(x[0], shape(0), x[1], shape(1), &self.dims, f, y))
        };
        match &self.prim {
            Prim::Binary(Binary::GuardedDiv) => broadcast(loops::guarded_div),
            Prim::Binary(Binary::Div) => broadcast(|a, b| a / b),
            Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, .. }) => {
                make(&|y| loops::sum(x[0], shape(0), axes, y))
            }
            Prim::Softmax(prim::Softmax { axis }) => {
                let inner = self.dims[axis + 1..].iter().product();
                make(&|y| loops::softmax(x[0], self.dims[*axis], inner, y))
            }
            Prim::WindowMax(prim::WindowMax(w)) => {
                make(&|y| loops::window_max(&taps(w, shape(0), &self.dims), x[0], y))
            }
            Prim::WindowSum(prim::WindowSum(w)) => {
                make(&|y| loops::window_sum(&taps(w, shape(0), &self.dims), x[0], y))
            }
            Prim::WindowMaxShare(prim::WindowMaxShare { window, first }) => {
                let taps = taps(window, shape(0), shape(1));
                make(&|y| loops::max_share(&taps, *first, x[0], x[1], x[2], y))
            }
            Prim::WindowSumTranspose(prim::WindowSumTranspose { window, .. }) => {
                make(&|y| loops::window_sum_transpose(&taps(window, &self.dims, shape(0)), x[0], y))
            }
            Prim::SliceTranspose(prim::SliceTranspose { axis, start, step, .. }) => {
                let inner = self.dims[axis + 1..].iter().product();
                let (from, to) = (shape(0)[*axis], self.dims[*axis]);
                let start = start.as_known().unwrap_or(0);
                make(&|y| loops::slice_transpose(x[0], inner, from, to, start, *step, y))
            }
            _ => Ok(None),
        }
    }
}

impl Kernel {
    /// Comparisons and choices of float32, where each operand has the result's shape or one element.
    fn choice(&self, inputs: &[TValue]) -> TractResult<Option<tr::Tensor>> {
        let all: usize = self.dims.iter().product();
        let float = |i: usize| inputs.get(i).is_some_and(|t| t.datum_type() == tr::DatumType::F32);
        if inputs.iter().any(|t| t.len() != all && t.len() != 1) || !float(1) {
            return Ok(None);
        }
        let x = |i: usize| inputs[i].try_as_plain_ram()?.as_slice::<f32>();
        match &self.prim {
            Prim::Select if float(2) && inputs[0].datum_type() == tr::DatumType::Bool => {
                let plain = inputs[0].try_as_plain_ram()?;
                let (condition, a, b) = (plain.as_slice::<bool>()?, x(1)?, x(2)?);
                made(&self.dims, |y| loops::select(condition, a, b, y)).map(Some)
            }
            Prim::Binary(f @ (Binary::Equal | Binary::Less | Binary::LessOrEqual)) if float(0) => {
                let (a, b) = (x(0)?, x(1)?);
                let mut y = tr::Tensor::zero_dt(tr::DatumType::Bool, &self.dims)?;
                let mut plain = y.try_as_plain_ram_mut()?;
                let made = plain.as_slice_mut::<bool>()?;
                match f {
                    Binary::Equal => loops::compare(a, b, made, |a, b| a == b),
                    Binary::Less => loops::compare(a, b, made, |a, b| a < b),
                    _ => loops::compare(a, b, made, |a, b| a <= b),
                }
                Ok(Some(y))
            }
            _ => Ok(None),
        }
    }
}

impl TypedOp for Kernel {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.dtype.fact(&self.dims)))
    }

    as_op!();
}

/// Adds up windows: `[n, g, c/g·taps, positions]` → `[n, c, to…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The window over a plane of the result.
    pub taps: Taps,
    /// Dimensions of the result.
    pub to: Vec<usize>,
}

impl Op for Fold {
    fn name(&self) -> StaticName {
        "dlbc.Fold".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Fold {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let columns = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        let all = 0..self.taps.positions();
        let size = self.taps.count() * all.len();
        let y = made(&self.to, |y| {
            chunks(y, self.taps.plane(), |i, y| {
                y.fill(0.0);
                self.taps.fold(&columns[i * size..][..size], &all, y);
            });
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Fold {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(tr::DatumType::F32.fact(&self.to)))
    }

    as_op!();
}

fn array(t: &tr::Tensor) -> TractResult<Array> {
    let dims = IxDyn(t.shape());
    let plain = t.try_as_plain_ram()?;
    Ok(match t.datum_type() {
        tr::DatumType::F32 => Array::F(ArrayD::from_shape_vec(
            dims,
            plain.as_slice::<f32>()?.iter().map(|v| f64::from(*v)).collect(),
        )?),
        tr::DatumType::Bool => Array::B(ArrayD::from_shape_vec(dims, plain.as_slice::<bool>()?.to_vec())?),
        _ => Array::I(ArrayD::from_shape_vec(dims, plain.as_slice::<i64>()?.to_vec())?),
    })
}

fn tensor(a: Array) -> TractResult<tr::Tensor> {
    let dims = a.dims().to_vec();
    match a {
        Array::F(a) => tr::Tensor::from_shape(&dims, &a.iter().map(|v| *v as f32).collect::<Vec<_>>()),
        Array::I(a) => tr::Tensor::from_shape(&dims, &a.iter().copied().collect::<Vec<_>>()),
        Array::B(a) => tr::Tensor::from_shape(&dims, &a.iter().copied().collect::<Vec<_>>()),
    }
}
