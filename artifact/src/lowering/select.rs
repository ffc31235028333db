//! Choice by element.

use dlbc_ops::prim::Select;
use dlbc_ops::tensor::DType;

use super::contract::*;

impl OnnxLowering for Select {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let x = at.x;
        if at.types[1].dtype != DType::Bool {
            return Ok(s.add("Where", x, vec![]));
        }
        // ONNX Runtime has no `Where` of booleans.
        let yes = s.add("And", &[x[0], x[1]], vec![]);
        let no = s.add("Not", &[x[0]], vec![]);
        let no = s.add("And", &[&no, x[2]], vec![]);
        Ok(s.add("Or", &[&yes, &no], vec![]))
    }
}
