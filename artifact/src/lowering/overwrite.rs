//! Replacement of rows by index.

use dlbc_ops::prim::Overwrite;
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_int;

use super::contract::*;

/// `(data, indices, updates)`: each index becomes a vector of one element, the form that `ScatterND` takes.
impl OnnxLowering for Overwrite {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, types) = (operands.names, operands.types);
        let column = builder.ints(&[-1, 1]);
        let indices = match types[1].dtype {
            DType::I64 => x[1].to_string(),
            _ => builder.add("Cast", &[x[1]], vec![attr_int("to", 7)]),
        };
        let indices = builder.add("Reshape", &[&indices, &column], vec![]);
        Ok(builder.add("ScatterND", &[x[0], &indices, x[2]], vec![]))
    }
}
