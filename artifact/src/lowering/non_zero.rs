//! Indices of the elements that are not 0.

use dlbc_ops::prim::NonZero;

use super::contract::*;
use super::pad_to::pad_to;

impl OnnxLowering for NonZero {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let indices = builder.add("NonZero", &[operands.names[0]], vec![]);
        let (size, vector) = (builder.add("Size", &[operands.names[0]], vec![]), builder.ints(&[1]));
        let size = builder.add("Reshape", &[&size, &vector], vec![]);
        Ok(pad_to(builder, &indices, 1, &size, 0))
    }
}
