//! Reductions.

use dlbc_ops::prim::{Reduce, Reduction};
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_int;

use super::contract::*;
use crate::onnx_builder::types::{code, sizes};

impl OnnxLowering for Reduce {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, dtype, axes) = (operands.names[0], operands.types[0].dtype, self.axes.as_slice());
        let keep = attr_int("keepdims", i64::from(self.keep));
        // In ONNX, no axes stand for all axes.
        let (op, is_arg) = match self.kind {
            _ if axes.is_empty() => return Ok(builder.add("Identity", &[x], vec![])),
            Reduction::Sum => {
                let axes = builder.ints(&axes.iter().map(|a| *a as i64).collect::<Vec<_>>());
                return Ok(builder.add("ReduceSum", &[x, &axes], vec![keep]));
            }
            Reduction::Max => ("ReduceMax", false),
            Reduction::Min => ("ReduceMin", false),
            Reduction::Prod => ("ReduceProd", false),
            Reduction::ArgMax => ("ArgMax", true),
            Reduction::ArgMin => ("ArgMin", true),
        };
        if !is_arg {
            return Ok(builder.add(op, &[x], vec![sizes("axes", axes), keep]));
        }
        // ONNX Runtime does not implement `ArgMax` and `ArgMin` for int64.
        let needs_cast = dtype == DType::I64;
        let to = attr_int("to", i64::from(code(DType::F64).to_onnx()));
        let x = if needs_cast { builder.add("Cast", &[x], vec![to]) } else { x.to_string() };
        Ok(builder.add(op, &[&x], vec![attr_int("axis", axes[0] as i64), keep]))
    }
}
