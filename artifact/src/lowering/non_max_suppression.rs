//! Suppression of overlapping boxes.

use dlbc_ops::prim::NonMaxSuppression;
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::padded::padded;

impl OnnxLowering for NonMaxSuppression {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, types) = (at.x, at.types);
        let one = s.ints(&[1]);
        let [most, overlap, least] = [2, 3, 4].map(|k| s.add("Reshape", &[x[k], &one], vec![]));
        let most = s.add("Cast", &[&most], vec![attr_int("to", 7)]);
        let attributes = vec![attr_int("center_point_box", i64::from(self.center))];
        let found = s.add("NonMaxSuppression", &[x[0], x[1], &most, &overlap, &least], attributes);
        let total = s.vector(&[types[1].shape.elems()])?;
        Ok(padded(s, &found, 0, &total, -1))
    }
}
