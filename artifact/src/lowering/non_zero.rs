//! Indices of the elements other than 0.

use dlbc_ops::prim::NonZero;

use super::contract::*;
use super::padded::padded;

impl OnnxLowering for NonZero {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let found = s.add("NonZero", &[at.x[0]], vec![]);
        let (size, one) = (s.add("Size", &[at.x[0]], vec![]), s.ints(&[1]));
        let size = s.add("Reshape", &[&size, &one], vec![]);
        Ok(padded(s, &found, 1, &size, 0))
    }
}
