//! The operator for primitives that tract lacks or computes slowly.
//!
//! Frequent primitives have float32 loops; the others run on the float64 reference kernels, which are slow.

use std::fmt;

use dlbc_ops::prim::{Prim, reference};
use dlbc_ops::tensor::Array;
use ndarray::{ArrayD, IxDyn};
use tract_onnx::tract_core::internal as tr;
use tract_onnx::tract_core::internal::*;

use super::operands::Operands;
use super::prim::implementation;

/// Error that is due to the values of operands.
#[derive(Debug)]
pub struct ValueError(String);

impl ValueError {
    /// Creates the error of an index out of range.
    pub fn index(title: &str, index: i64, axis: usize, dim: usize) -> ValueError {
        let expected = match dim {
            0 => "elements along the axis".to_string(),
            dim => format!("-{dim} to {}", dim - 1),
        };
        ValueError(format!(
            "node `{title}`: index {index} is out of range for axis {axis}: expected {expected}"
        ))
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ValueError {}

/// A primitive as an operator.
#[derive(Clone, Debug)]
pub struct Kernel {
    title: String,
    prim: Prim,
    dtype: tr::DatumType,
    dims: Vec<usize>,
}

impl Kernel {
    /// Creates the operator of a primitive whose result has the type `dtype` and dimensions `dims`.
    pub fn new(title: String, prim: Prim, dtype: tr::DatumType, dims: Vec<usize>) -> Kernel {
        Kernel { title, prim, dtype, dims }
    }
}

// tract merges nodes with equal operators and loses readers of some of them. Equal primitives are one node already, so operators of
// different nodes must differ.
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
        let operands = Operands { inputs: &inputs, dtype: self.dtype, dims: &self.dims };
        if let Some(prim) = implementation(&self.prim)
            && let Some(y) = prim.fast(&operands)?
        {
            return Ok(tvec!(y.into()));
        }
        let arrays = inputs.iter().map(|t| array(t)).collect::<TractResult<Vec<Array>>>()?;
        let refs: Vec<&Array> = arrays.iter().collect();
        let result = reference::eval(&self.prim, &refs)
            .map_err(|e| ValueError(format!("node `{}`: {e}", self.title)))?;
        Ok(tvec!(tensor(result)?.into()))
    }
}

impl TypedOp for Kernel {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.dtype.fact(&self.dims)))
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
