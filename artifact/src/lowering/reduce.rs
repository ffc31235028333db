//! Reductions.

use dlbc_ops::prim::{Reduce, Reduction};
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_int;

use super::contract::*;
use crate::onnx_builder::types::{code, sizes};

impl OnnxLowering for Reduce {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, dtype, axes) = (at.x[0], at.types[0].dtype, self.axes.as_slice());
        let keep = attr_int("keepdims", i64::from(self.keep));
        // No axes mean all axes there.
        let (op, arg) = match self.kind {
            _ if axes.is_empty() => return Ok(s.add("Identity", &[x], vec![])),
            Reduction::Sum => {
                let axes = s.ints(&axes.iter().map(|a| *a as i64).collect::<Vec<_>>());
                return Ok(s.add("ReduceSum", &[x, &axes], vec![keep]));
            }
            Reduction::Max => ("ReduceMax", false),
            Reduction::Min => ("ReduceMin", false),
            Reduction::Prod => ("ReduceProd", false),
            Reduction::ArgMax => ("ArgMax", true),
            Reduction::ArgMin => ("ArgMin", true),
        };
        if !arg {
            return Ok(s.add(op, &[x], vec![sizes("axes", axes), keep]));
        }
        // ONNX Runtime has none of int64.
        let wide = dtype == DType::I64;
        let to = attr_int("to", i64::from(code(DType::F64).to_onnx()));
        let x = if wide { s.add("Cast", &[x], vec![to]) } else { x.to_string() };
        Ok(s.add(op, &[&x], vec![attr_int("axis", axes[0] as i64), keep]))
    }
}
