//! Replacement of rows.

use dlbc_ops::prim::Overwrite;
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_int;

use super::contract::*;

/// `(data, indices, updates)`: each index becomes a vector of one, as `ScatterND` takes them.
impl OnnxLowering for Overwrite {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, types) = (at.x, at.types);
        let column = s.ints(&[-1, 1]);
        let at = match types[1].dtype {
            DType::I64 => x[1].to_string(),
            _ => s.add("Cast", &[x[1]], vec![attr_int("to", 7)]),
        };
        let at = s.add("Reshape", &[&at, &column], vec![]);
        Ok(s.add("ScatterND", &[x[0], &at, x[2]], vec![]))
    }
}
