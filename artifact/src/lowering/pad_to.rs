//! Padding of results with a data-dependent size to their largest size.

use dlbc_ops::tensor::Tensor;
use dlbc_proto::write::attr_int;

use crate::onnx_builder::OnnxBuilder;

/// Pads the matrix `x` at the end of `axis` with `fill` to `total` rows or columns; `total` is an int64 vector of one element.
pub(super) fn pad_to(builder: &mut OnnxBuilder, x: &str, axis: i64, total: &str, fill: i64) -> String {
    let (shape, index) = (builder.add("Shape", &[x], vec![]), builder.ints(&[axis]));
    let size = builder.add("Gather", &[&shape, &index], vec![attr_int("axis", 0)]);
    let missing = builder.add("Sub", &[total, &size], vec![]);
    let zero = builder.ints(&[0]);
    let (before, concat_axis) = (builder.ints(&[0, 0]), attr_int("axis", 0));
    let after: [&str; 2] = if axis == 0 { [&missing, &zero] } else { [&zero, &missing] };
    let pads = builder.add("Concat", &[&before, after[0], after[1]], vec![concat_axis]);
    let fill = builder.constant(&Tensor::from_i64(&[], &[fill]));
    builder.add("Pad", &[x, &pads, &fill], vec![])
}
