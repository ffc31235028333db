//! Gather and its adjoint, ranges, and dimensions as values.

use dlbc_ops::tensor::{Array, DType, Dim, Tensor, TensorType};
use dlbc_proto::write::{attr_int, attr_string, attr_tensor};

use super::Spelled;
use super::movement::reshape;
use crate::onnx_builder::OnnxBuilder;
use crate::onnx_builder::types::initializer;

/// Indices as ONNX takes them.
fn indices(s: &mut OnnxBuilder, x: &str, dtype: DType) -> String {
    match dtype {
        DType::I32 | DType::I64 => x.into(),
        _ => s.add("Cast", &[x], vec![attr_int("to", 7)]),
    }
}

pub(super) fn gather(s: &mut OnnxBuilder, axis: usize, x: &[&str], types: &[TensorType]) -> Spelled {
    let at = indices(s, x[1], types[1].dtype);
    Ok(s.add("Gather", &[x[0], &at], vec![attr_int("axis", axis as i64)]))
}

/// `(updates, indices)` → zeros plus each update at its index. The indexed axes are made one, and each index is repeated
/// for all the elements it stands for: runtimes add those one after another, in one order.
pub(super) fn scatter_add(
    s: &mut OnnxBuilder,
    axis: usize,
    to: &Dim,
    x: &[&str],
    types: &[TensorType],
) -> Spelled {
    let (d, index) = (&types[0].shape.0, &types[1].shape);
    let (before, after) = (&d[..axis], &d[axis + index.rank()..]);
    let mut at = indices(s, x[1], types[1].dtype);
    let mut updates = x[0].to_string();
    if index.rank() != 1 {
        let count = index.elems();
        updates = reshape(s, &updates, d, &[before, &[count], after].concat())?;
    }
    let mut column = vec![1i64; before.len() + 1 + after.len()];
    column[axis] = -1;
    let column = s.ints(&column);
    at = s.add("Reshape", &[&at, &column], vec![]);
    let shape = s.add("Shape", &[&updates], vec![]);
    let at = s.add("Expand", &[&at, &shape], vec![]);
    let result = s.vector(&[before, std::slice::from_ref(to), after].concat())?;
    let zero = Array::F(ndarray::ArrayD::zeros(vec![1])).to_tensor(types[0].dtype);
    let zeros = s.add("ConstantOfShape", &[&result], vec![attr_tensor("value", initializer("", &zero))]);
    let attributes = vec![attr_int("axis", axis as i64), attr_string("reduction", "add")];
    Ok(s.add("ScatterElements", &[&zeros, &at, &updates], attributes))
}

/// `(data, indices, updates)`: each index becomes a vector of one, as `ScatterND` takes them.
pub(super) fn overwrite(s: &mut OnnxBuilder, x: &[&str], types: &[TensorType]) -> Spelled {
    let column = s.ints(&[-1, 1]);
    let at = match types[1].dtype {
        DType::I64 => x[1].to_string(),
        _ => s.add("Cast", &[x[1]], vec![attr_int("to", 7)]),
    };
    let at = s.add("Reshape", &[&at, &column], vec![]);
    Ok(s.add("ScatterND", &[x[0], &at, x[2]], vec![]))
}

pub(super) fn iota(s: &mut OnnxBuilder, len: &Dim) -> Spelled {
    let mut scalar = |v: i64| s.constant(&Tensor::from_i64(&[], &[v]));
    let (zero, one) = (scalar(0), scalar(1));
    let len = match len.as_known() {
        Some(len) => scalar(len),
        None => {
            let vector = s.vector(std::slice::from_ref(len))?;
            s.add("Squeeze", &[&vector], vec![])
        }
    };
    Ok(s.add("Range", &[&zero, &len, &one], vec![]))
}

pub(super) fn dims(s: &mut OnnxBuilder, dims: &[usize], values: &[Dim]) -> Spelled {
    if let Some(known) = values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
        let value = attr_tensor("value", initializer("", &Tensor::from_i64(dims, &known)));
        return Ok(s.add("Constant", &[], vec![value]));
    }
    let vector = s.vector(values)?;
    let to = s.ints(&dims.iter().map(|d| *d as i64).collect::<Vec<_>>());
    Ok(s.add("Reshape", &[&vector, &to], vec![]))
}
