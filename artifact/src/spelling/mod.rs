//! The ONNX spelling of every primitive, in standard operators of opset 17.
//!
//! | primitive | spelling |
//! | --- | --- |
//! | `Unary`, `Binary` | the operator of that name; `GuardedDiv` by `Where`, `Mod` of floats by `Floor` |
//! | `Select`, `Cast`, `Transpose`, `Concat`, `Softmax` | `Where`, and the operators of those names |
//! | `MatMul` | `MatMul`; transposed matrices: `Gemm`, more axes: `Transpose` first; parts by `Abs`, `Relu`, `Min` |
//! | `Conv` | `Conv` |
//! | `ConvTranspose` | `ConvTranspose`; what only a run can size is made large and then sliced |
//! | `WindowSum` | `AveragePool` times the kernel's size; dilated: `Conv` with ones, a channel at a time |
//! | `WindowSumTranspose` | `ConvTranspose` with ones, a channel at a time; a single window: `Expand` |
//! | `WindowMax` | `MaxPool` |
//! | `WindowMaxShare` | a `Slice` a tap, `Equal` to the maximum, counted; put back by `ConvTranspose` |
//! | `Reduce` | `ReduceSum`, `ReduceMax`, …, `ArgMax`, `ArgMin` |
//! | `Reshape`, `Expand`, `Slice`, `Pad`, `Gather` | the operators of those names |
//! | `SliceTranspose` | `Pad`; steps: zeros between by `Pad` and `Reshape` first |
//! | `ScatterAdd` | `ScatterElements` with addition |
//! | `Overwrite` | `ScatterND` |
//! | `NonZero`, `NonMaxSuppression` | the operators of those names, the result padded |
//! | `TopK` | the second result of `TopK` |
//! | `Merge`, `MergeTranspose` | `If`, whose branches read the values around them |
//! | `Attention`, `AttentionShare` | `MatMul`s and `Softmax`, as their formulas read |
//! | `Scan` | `Scan`, whose body reads its captures from the graph around it |
//! | `Dims`, `Iota` | `Reshape` of computed dimensions, `Range` |

mod attention;
mod choice;
mod elementwise;
mod index;
mod movement;
mod product;
mod scan;
mod share;
mod window;

use dlbc_ops::prim::{self, Part, Prim};
use dlbc_ops::tensor::{DType, TensorType};
use dlbc_proto::write::attr_int;

use crate::onnx_builder::OnnxBuilder;
use crate::onnx_builder::types::{code, sizes};

/// The name of a result, or why there is none.
pub(crate) type Spelled = Result<String, String>;

/// A primitive with its operands' names and types.
pub(crate) struct Site<'a> {
    /// The primitive.
    pub prim: &'a Prim,
    /// The operands' names.
    pub x: &'a [String],
    /// The operands' types.
    pub types: &'a [TensorType],
}

/// Adds the nodes that spell a primitive, its result last.
///
/// # Errors
/// Why it cannot be spelled for these types.
pub(crate) fn spell(s: &mut OnnxBuilder, site: &Site) -> Spelled {
    let x: Vec<&str> = site.x.iter().map(String::as_str).collect();
    let x = x.as_slice();
    let types = site.types;
    match site.prim {
        Prim::Input | Prim::Const(_) => Err("it is no computation".into()),
        Prim::Unary(f) => elementwise::unary(s, *f, x[0], types[0].dtype),
        Prim::Binary(f) => elementwise::binary(s, *f, x[0], x[1], types[0].dtype),
        Prim::Select => elementwise::select(s, x, types[1].dtype),
        Prim::Cast(prim::Cast { to }) => {
            Ok(s.add("Cast", &[x[0]], vec![attr_int("to", i64::from(code(*to).to_onnx()))]))
        }
        Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
            product::matmul(s, (x[0], *a, *ta), (x[1], *b, *tb), types)
        }
        Prim::Conv(prim::Conv { geometry, w }) => product::conv(s, geometry, *w, x, types),
        Prim::ConvTranspose(prim::ConvTranspose { geometry, w, to }) => {
            let weight = part(s, x[1], *w, types[1].dtype);
            product::adjoint(s, geometry, x[0], &weight, to)
        }
        Prim::WindowSum(prim::WindowSum(w)) => window::sum(s, w, x[0], &types[0]),
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window, to }) => {
            window::sum_transpose(s, window, x[0], &types[0], to)
        }
        Prim::WindowMax(prim::WindowMax(w)) => window::max(s, w, x[0], &types[0]),
        Prim::WindowMaxShare(prim::WindowMaxShare { window, first }) => {
            share::share(s, window, *first, x, &types[0])
        }
        Prim::Reduce(prim::Reduce { kind, axes, keep }) => {
            elementwise::reduce(s, *kind, axes, *keep, x[0], types[0].dtype)
        }
        Prim::Softmax(prim::Softmax { axis }) => {
            Ok(s.add("Softmax", &[x[0]], vec![attr_int("axis", *axis as i64)]))
        }
        Prim::Attention(prim::Attention(g)) => attention::attention(s, *g, x, types),
        Prim::AttentionShare(prim::AttentionShare { geometry, value, of }) => {
            attention::share(s, *geometry, *value, *of, x, types)
        }
        Prim::Reshape(prim::Reshape { to }) => movement::reshape(s, x[0], &types[0].shape.0, &to.0),
        Prim::Transpose(prim::Transpose { perm }) => {
            Ok(s.add("Transpose", &[x[0]], vec![sizes("perm", perm)]))
        }
        Prim::Slice(prim::Slice { axis, start, len, step }) => {
            movement::slice(s, x[0], *axis, types[0].dim(*axis), start, len, *step)
        }
        Prim::SliceTranspose(prim::SliceTranspose { axis, start, to, step }) => {
            movement::slice_transpose(s, x[0], &types[0], *axis, start, to, *step)
        }
        Prim::Concat(prim::Concat { axis }) => Ok(s.add("Concat", x, vec![attr_int("axis", *axis as i64)])),
        Prim::Pad(prim::Pad { before, after, mode }) => {
            movement::pad(s, x[0], types[0].dtype, before, after, *mode)
        }
        Prim::Expand(prim::Expand { to }) => movement::expand(s, x[0], &types[0].shape, to),
        Prim::Gather(prim::Gather { axis }) => index::gather(s, *axis, x, types),
        Prim::ScatterAdd(prim::ScatterAdd { axis, to }) => index::scatter_add(s, *axis, to, x, types),
        Prim::Overwrite => index::overwrite(s, x, types),
        Prim::Scan(scan) => scan::scan(s, scan, x),
        Prim::Iota(prim::Iota { len }) => index::iota(s, len),
        Prim::NonZero => choice::non_zero(s, x[0]),
        Prim::TopK(prim::TopK { axis, k, largest }) => choice::top_k(s, *axis, k, *largest, x[0]),
        Prim::NonMaxSuppression(prim::NonMaxSuppression { center }) => {
            choice::non_max_suppression(s, *center, x, types)
        }
        Prim::Merge(prim::Merge { condition }) => choice::merge(s, condition, x, types),
        Prim::MergeTranspose(prim::MergeTranspose { condition, second, to }) => {
            choice::merge_transpose(s, condition, *second, to, x[0], types)
        }
        Prim::Dims(prim::Dims { dims, values }) => index::dims(s, dims, values),
    }
}

/// A part of a value.
fn part(s: &mut OnnxBuilder, x: &str, part: Part, dtype: DType) -> String {
    match part {
        Part::Id => x.to_string(),
        Part::Abs => s.add_cached("Abs", &[x], vec![]),
        Part::Pos if dtype.is_float() => s.add_cached("Relu", &[x], vec![]),
        Part::Square => s.add_cached("Mul", &[x, x], vec![]),
        Part::One => {
            let one = s.scalar(dtype, 1.0);
            let dims = s.add_cached("Shape", &[x], vec![]);
            s.add_cached("Expand", &[&one, &dims], vec![])
        }
        Part::Pos | Part::Neg => {
            let zero = s.scalar(dtype, 0.0);
            s.add_cached(if part == Part::Pos { "Max" } else { "Min" }, &[x, &zero], vec![])
        }
    }
}

/// `a / b`, 0 where `b` is 0.
fn guarded_div(s: &mut OnnxBuilder, a: &str, b: &str, dtype: DType) -> String {
    let (zero, one) = (s.scalar(dtype, 0.0), s.scalar(dtype, 1.0));
    let empty = s.add("Equal", &[b, &zero], vec![]);
    let divisor = s.add("Where", &[&empty, &one, b], vec![]);
    let quotient = s.add("Div", &[a, &divisor], vec![]);
    s.add("Where", &[&empty, &zero, &quotient], vec![])
}
