//! Suppression of overlapping boxes.

use dlbc_ops::prim::NonMaxSuppression;
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::pad_to::pad_to;

impl OnnxLowering for NonMaxSuppression {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, types) = (operands.names, operands.types);
        let vector = builder.ints(&[1]);
        let [max_boxes, overlap, min_score] =
            [2, 3, 4].map(|k| builder.add("Reshape", &[x[k], &vector], vec![]));
        let max_boxes = builder.add("Cast", &[&max_boxes], vec![attr_int("to", 7)]);
        let attributes = vec![attr_int("center_point_box", i64::from(self.center))];
        let selected =
            builder.add("NonMaxSuppression", &[x[0], x[1], &max_boxes, &overlap, &min_score], attributes);
        let total = builder.vector(&[types[1].shape.elems()])?;
        Ok(pad_to(builder, &selected, 0, &total, -1))
    }
}
