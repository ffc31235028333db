//! Results that a run alone can count, padded to their largest size.

use dlbc_ops::tensor::Tensor;
use dlbc_proto::write::attr_int;

use crate::onnx_builder::OnnxBuilder;

/// `x` with elements of `fill` after those along `axis` of two, up to `total`, an int64 vector of one element.
pub(super) fn padded(s: &mut OnnxBuilder, x: &str, axis: i64, total: &str, fill: i64) -> String {
    let (shape, at) = (s.add("Shape", &[x], vec![]), s.ints(&[axis]));
    let found = s.add("Gather", &[&shape, &at], vec![attr_int("axis", 0)]);
    let rest = s.add("Sub", &[total, &found], vec![]);
    let none = s.ints(&[0]);
    let (before, zero) = (s.ints(&[0, 0]), attr_int("axis", 0));
    let after: [&str; 2] = if axis == 0 { [&rest, &none] } else { [&none, &rest] };
    let pads = s.add("Concat", &[&before, after[0], after[1]], vec![zero]);
    let fill = s.constant(&Tensor::from_i64(&[], &[fill]));
    s.add("Pad", &[x, &pads, &fill], vec![])
}
