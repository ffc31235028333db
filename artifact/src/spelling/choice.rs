//! Which elements, and which branch. What a run alone can count is padded to what it can be at most.

use dlbc_ops::tensor::{Array, Dim, Shape, Tensor, TensorType};
use dlbc_proto::write::{attr_graph, attr_int, attr_tensor, graph};

use super::Spelled;
use crate::onnx_builder::OnnxBuilder;
use crate::onnx_builder::types::{code, initializer, value_info};

/// `x` with elements of `fill` after those along `axis` of two, up to `total`, an int64 vector of one element.
fn padded(s: &mut OnnxBuilder, x: &str, axis: i64, total: &str, fill: i64) -> String {
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

pub(super) fn non_zero(s: &mut OnnxBuilder, x: &str) -> Spelled {
    let found = s.add("NonZero", &[x], vec![]);
    let (size, one) = (s.add("Size", &[x], vec![]), s.ints(&[1]));
    let size = s.add("Reshape", &[&size, &one], vec![]);
    Ok(padded(s, &found, 1, &size, 0))
}

pub(super) fn top_k(s: &mut OnnxBuilder, axis: usize, k: &Dim, largest: bool, x: &str) -> Spelled {
    let k = s.vector(std::slice::from_ref(k))?;
    let attributes = vec![attr_int("axis", axis as i64), attr_int("largest", i64::from(largest))];
    Ok(s.add_second("TopK", &[x, &k], attributes))
}

pub(super) fn non_max_suppression(
    s: &mut OnnxBuilder,
    center: bool,
    x: &[&str],
    types: &[TensorType],
) -> Spelled {
    let one = s.ints(&[1]);
    let [most, overlap, least] = [2, 3, 4].map(|k| s.add("Reshape", &[x[k], &one], vec![]));
    let most = s.add("Cast", &[&most], vec![attr_int("to", 7)]);
    let attributes = vec![attr_int("center_point_box", i64::from(center))];
    let found = s.add("NonMaxSuppression", &[x[0], x[1], &most, &overlap, &least], attributes);
    let total = s.vector(&[types[1].shape.elems()])?;
    Ok(padded(s, &found, 0, &total, -1))
}

/// The condition as `If` takes it.
fn boolean(s: &mut OnnxBuilder, condition: &Dim) -> Spelled {
    let condition = s.vector(std::slice::from_ref(condition))?;
    Ok(s.add("Cast", &[&condition], vec![attr_int("to", 9)]))
}

/// `If`, each of whose branches makes one value.
fn branches(
    s: &mut OnnxBuilder,
    condition: &str,
    ty: &TensorType,
    then: impl FnOnce(&mut OnnxBuilder) -> String,
    otherwise: impl FnOnce(&mut OnnxBuilder) -> String,
) -> String {
    // The branches' shapes may differ: only the rank is told.
    let ty = ty.with_shape((0..ty.rank()).map(|_| Dim::known(-1)).collect::<Shape>());
    let branch = |s: &mut OnnxBuilder, name: &str, fill: Box<dyn FnOnce(&mut OnnxBuilder) -> String + '_>| {
        let (made, nodes) = s.in_subgraph(fill);
        attr_graph(name, graph(&s.name(name), nodes, vec![], vec![], vec![value_info(&made, &ty)]))
    };
    let then = branch(s, "then_branch", Box::new(then));
    let otherwise = branch(s, "else_branch", Box::new(otherwise));
    s.add("If", &[condition], vec![then, otherwise])
}

pub(super) fn merge(s: &mut OnnxBuilder, condition: &Dim, x: &[&str], types: &[TensorType]) -> Spelled {
    let condition = boolean(s, condition)?;
    let same = |v: &str| {
        let v = v.to_string();
        move |s: &mut OnnxBuilder| s.add("Identity", &[&v], vec![])
    };
    Ok(branches(s, &condition, &types[0], same(x[0]), same(x[1])))
}

pub(super) fn merge_transpose(
    s: &mut OnnxBuilder,
    condition: &Dim,
    second: bool,
    to: &Shape,
    r: &str,
    types: &[TensorType],
) -> Spelled {
    let condition = boolean(s, condition)?;
    let to = s.vector(&to.0)?;
    let dtype = types[0].dtype;
    let zero = Array::F(ndarray::ArrayD::zeros(vec![1])).to_tensor(dtype);
    let taken = |s: &mut OnnxBuilder| s.add("Identity", &[r], vec![]);
    let none = |s: &mut OnnxBuilder| {
        s.add("ConstantOfShape", &[&to], vec![attr_tensor("value", initializer("", &zero))])
    };
    debug_assert!(code(dtype) == code(zero.dtype()));
    Ok(match second {
        false => branches(s, &condition, &types[0], taken, none),
        true => branches(s, &condition, &types[0], none, taken),
    })
}
