//! Dimensions as values.

use dlbc_ops::prim::Dims;
use dlbc_ops::tensor::{Dim, Tensor};
use dlbc_proto::write::attr_tensor;

use super::contract::*;
use crate::onnx_builder::types::initializer;

impl OnnxLowering for Dims {
    fn lower(&self, s: &mut OnnxBuilder, _: &Operands) -> Lowered {
        let Dims { dims, values } = self;
        if let Some(known) = values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            let value = attr_tensor("value", initializer("", &Tensor::from_i64(dims, &known)));
            return Ok(s.add("Constant", &[], vec![value]));
        }
        let vector = s.vector(values)?;
        let to = s.ints(&dims.iter().map(|d| *d as i64).collect::<Vec<_>>());
        Ok(s.add("Reshape", &[&vector, &to], vec![]))
    }
}
