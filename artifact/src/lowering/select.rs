//! Elementwise choice between two operands.

use dlbc_ops::prim::Select;
use dlbc_ops::tensor::DType;

use super::contract::*;

impl OnnxLowering for Select {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let x = operands.names;
        if operands.types[1].dtype != DType::Bool {
            return Ok(builder.add("Where", x, vec![]));
        }
        // ONNX Runtime does not implement `Where` for booleans.
        let from_first = builder.add("And", &[x[0], x[1]], vec![]);
        let negated = builder.add("Not", &[x[0]], vec![]);
        let from_second = builder.add("And", &[&negated, x[2]], vec![]);
        Ok(builder.add("Or", &[&from_first, &from_second], vec![]))
    }
}
