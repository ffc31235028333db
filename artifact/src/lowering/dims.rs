//! Tensors of dimensions.

use dlbc_ops::prim::Dims;
use dlbc_ops::tensor::{Dim, Tensor};
use dlbc_proto::write::attr_tensor;

use super::contract::*;
use crate::onnx_builder::types::initializer;

impl OnnxLowering for Dims {
    fn lower(&self, builder: &mut OnnxBuilder, _: &Operands) -> Lowered {
        let Dims { dims, values } = self;
        if let Some(known) = values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            let value = attr_tensor("value", initializer("", &Tensor::from_i64(dims, &known)));
            return Ok(builder.add("Constant", &[], vec![value]));
        }
        let vector = builder.vector(values)?;
        let to = builder.ints(&dims.iter().map(|d| *d as i64).collect::<Vec<_>>());
        Ok(builder.add("Reshape", &[&vector, &to], vec![]))
    }
}
