//! Primitives as tract operators of ours: those that tract lacks or does slowly.
//!
//! The hot ones have float32 loops in [`super::loops`]; the rest run on the reference kernels, which is slow and right.

use std::fmt;

use dlbc_ops::prim::{Binary, Prim, Unary, Window, reference};
use dlbc_ops::tensor::Array;
use ndarray::{ArrayD, IxDyn};
use tract_onnx::tract_core::internal as tr;
use tract_onnx::tract_core::internal::*;

use super::loops;

/// What a kernel refuses because of the values it got.
#[derive(Debug)]
pub struct Refused(String);

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
    /// Passes its operand on after checking it as indices of an axis of this dimension.
    check: Option<(usize, usize)>,
}

impl Kernel {
    /// The kernel of a primitive.
    pub fn new(title: String, prim: Prim, dtype: tr::DatumType, dims: Vec<usize>) -> Kernel {
        Kernel { title, prim, dtype, dims, check: None }
    }

    /// Passes indices on, refusing those outside `-dim..dim`.
    pub fn checked_indices(axis: usize, dim: usize) -> Kernel {
        let title = format!("indices of axis {axis}");
        Kernel { title, prim: Prim::Input, dtype: tr::DatumType::I64, dims: vec![], check: Some((axis, dim)) }
    }
}

// tract compares operators to merge equal nodes: a primitive prints all that it is.
impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        self.check == other.check
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
        if let Some((axis, dim)) = self.check {
            let plain = &inputs[0];
            let at = plain.try_as_plain_ram()?.as_slice::<i64>()?;
            let limit = dim as i64;
            if let Some(i) = at.iter().find(|i| !(-limit..limit).contains(*i)) {
                return Err(
                    Refused(format!("index {i} is out of range for axis {axis} of dimension {dim}")).into()
                );
            }
            return Ok(inputs);
        }
        if let Some(y) = self.fast(&inputs)? {
            return Ok(tvec!(tr::Tensor::from_shape(&self.dims, &y)?.into()));
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
    fn fast(&self, inputs: &[TValue]) -> TractResult<Option<Vec<f32>>> {
        if inputs.is_empty()
            || inputs.iter().any(|t| t.datum_type() != tr::DatumType::F32)
            || self.dtype != tr::DatumType::F32
        {
            return Ok(None);
        }
        let x = |i: usize| -> TractResult<&[f32]> { inputs[i].try_as_plain_ram()?.as_slice::<f32>() };
        let same = inputs.iter().all(|t| t.shape() == self.dims.as_slice());
        Ok(match &self.prim {
            Prim::Binary(Binary::GuardedDiv) if same => Some(loops::zip(x(0)?, x(1)?, loops::guarded_div)),
            Prim::Binary(Binary::GuardedDiv) => {
                let (a, b) = (&inputs[0], &inputs[1]);
                Some(loops::broadcast(x(0)?, a.shape(), x(1)?, b.shape(), &self.dims, loops::guarded_div))
            }
            Prim::Binary(Binary::Div) => {
                let (a, b) = (&inputs[0], &inputs[1]);
                Some(loops::broadcast(x(0)?, a.shape(), x(1)?, b.shape(), &self.dims, |a, b| a / b))
            }
            Prim::Unary(Unary::HardSigmoid { alpha, beta }) => {
                Some(x(0)?.iter().map(|v| (alpha * v + beta).clamp(0.0, 1.0)).collect())
            }
            Prim::Unary(Unary::Log) => Some(x(0)?.iter().map(|v| v.ln()).collect()),
            Prim::Unary(Unary::LeakyRelu { alpha }) => {
                Some(x(0)?.iter().map(|v| if *v < 0.0 { alpha * v } else { *v }).collect())
            }
            Prim::Unary(Unary::Elu { alpha }) => {
                Some(x(0)?.iter().map(|v| if *v < 0.0 { alpha * v.exp_m1() } else { *v }).collect())
            }
            Prim::WindowMaxShare(w) => {
                Some(loops::max_share(w, x(0)?, inputs[0].shape(), x(1)?, inputs[1].shape(), x(2)?))
            }
            Prim::WindowSumTranspose { window, .. } => {
                Some(loops::window_sum_transpose(window, x(0)?, inputs[0].shape(), &self.dims))
            }
            Prim::SliceTranspose { axis, start, step, .. } => {
                let start = start.as_known().unwrap_or(0);
                Some(loops::slice_transpose(x(0)?, inputs[0].shape(), &self.dims, *axis, start, *step))
            }
            _ => None,
        })
    }
}

impl TypedOp for Kernel {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        if self.check.is_some() {
            return Ok(tvec!(inputs[0].without_value()));
        }
        Ok(tvec!(self.dtype.fact(&self.dims)))
    }

    as_op!();
}

/// Adds up windows: `[n, g, c/g·taps, positions]` → `[n, c, to…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The window.
    pub window: Window,
    /// Positions by spatial axis.
    pub from: Vec<usize>,
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
        let y =
            loops::fold(&self.window, inputs[0].try_as_plain_ram()?.as_slice::<f32>()?, &self.from, &self.to);
        Ok(tvec!(tr::Tensor::from_shape(&self.to, &y)?.into()))
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
