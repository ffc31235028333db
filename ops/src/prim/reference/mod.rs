//! Reference kernels: slow, obvious, in float64, int64 and bool. Every backend is compared with them.
//!
//! Integers wrap. A kernel gets its result's dimensions from [`Prim::infer`], which thereby checks every call.

mod attention;
mod choice;
mod conv;
mod elementwise;
mod index;
mod layout;
mod matmul;
mod movement;
mod reduce;
mod run;
mod scan;
mod window;

pub use run::{RunError, run};

use crate::prim;
use ndarray::ArrayD;

use self::matmul::Side;
use super::Prim;
use crate::OpError;
use crate::tensor::{Array, TensorType};

/// The value of a primitive other than an input.
///
/// # Errors
/// When operands do not fit, a dimension is not known, an index is out of range, integers are divided by 0, or the
/// result is too large.
pub fn eval(prim: &Prim, inputs: &[&Array]) -> Result<Array, OpError> {
    let types: Vec<TensorType> = inputs.iter().map(|x| layout::ty(x)).collect();
    let dims = layout::known_dims(&prim.infer(&types)?.shape.0)?;
    layout::elems(&dims)?;
    let x = |i: usize| {
        let missing = || OpError::Arity { expected: format!("more than {i}"), found: inputs.len() };
        inputs.get(i).copied().ok_or_else(missing)
    };
    match prim {
        Prim::Input => Err(OpError::Invalid("an input is given, not evaluated".into())),
        Prim::Const(t) => Ok(Array::from_tensor(t)),
        Prim::Dims(prim::Dims { values, .. }) => {
            let values = values.iter().map(layout::known).collect::<Result<Vec<i64>, _>>()?;
            layout::array(&dims, values).map(Array::I)
        }
        Prim::Unary(f) => elementwise::unary(*f, x(0)?),
        Prim::Binary(f) => elementwise::binary(*f, x(0)?, x(1)?, &dims),
        Prim::Select => elementwise::select(x(0)?, x(1)?, x(2)?, &dims),
        Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
            let (a, b) = (Side { part: *a, swap: *ta }, Side { part: *b, swap: *tb });
            matmul::matmul((x(0)?, a), (x(1)?, b), &dims)
        }
        Prim::Conv(prim::Conv { geometry, w }) => {
            conv::conv(geometry, x(0)?, (x(1)?, *w), inputs.get(2).copied(), &dims)
        }
        Prim::ConvTranspose(prim::ConvTranspose { geometry, w, .. }) => {
            conv::conv_transpose(geometry, x(0)?, (x(1)?, *w), &dims)
        }
        Prim::WindowSum(prim::WindowSum(w)) => window::sum(w, x(0)?, &dims),
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window, .. }) => {
            window::sum_transpose(window, x(0)?, &dims)
        }
        Prim::WindowMax(prim::WindowMax(w)) => window::max(w, x(0)?, &dims),
        Prim::WindowMaxShare(prim::WindowMaxShare { window, first }) => {
            window::max_share(window, *first, x(0)?, x(1)?, x(2)?)
        }
        Prim::Reduce(prim::Reduce { kind, axes, .. }) => reduce::reduce(*kind, axes, x(0)?, &dims),
        Prim::Softmax(prim::Softmax { axis }) => reduce::softmax(*axis, x(0)?),
        Prim::Attention(prim::Attention(g)) => {
            attention::attention(*g, [x(0)?, x(1)?, x(2)?], inputs.get(3).copied(), &dims)
        }
        Prim::AttentionShare(prim::AttentionShare { geometry, value, of }) => {
            let rest = (x(3)?, inputs.get(4).copied());
            attention::share(*geometry, *value, *of, [x(0)?, x(1)?, x(2)?], rest, &dims)
        }
        Prim::Reshape(_) => movement::reshape(x(0)?, &dims),
        Prim::Transpose(prim::Transpose { perm }) => movement::transpose(perm, x(0)?, &dims),
        Prim::Slice(prim::Slice { axis, start, step, .. }) => {
            movement::slice(*axis, start, *step, x(0)?, &dims)
        }
        Prim::SliceTranspose(prim::SliceTranspose { axis, start, step, .. }) => {
            movement::slice_transpose(*axis, start, *step, x(0)?, &dims)
        }
        Prim::Concat(prim::Concat { axis }) => movement::concat(*axis, inputs, &dims),
        Prim::Pad(prim::Pad { before, mode, .. }) => movement::pad(before, *mode, x(0)?, &dims),
        Prim::Expand(_) => movement::expand(x(0)?, &dims),
        Prim::Gather(prim::Gather { axis }) => index::gather(*axis, x(0)?, x(1)?, &dims),
        Prim::ScatterAdd(prim::ScatterAdd { axis, .. }) => index::scatter_add(*axis, x(0)?, x(1)?, &dims),
        Prim::Overwrite => index::overwrite(x(0)?, x(1)?, x(2)?),
        Prim::NonZero => choice::non_zero(x(0)?, &dims),
        Prim::TopK(prim::TopK { axis, largest, .. }) => choice::top_k(*axis, *largest, x(0)?, &dims),
        Prim::NonMaxSuppression(prim::NonMaxSuppression { center }) => {
            choice::non_max_suppression(*center, [x(0)?, x(1)?, x(2)?, x(3)?, x(4)?], &dims)
        }
        Prim::Merge(prim::Merge { condition }) => {
            let chosen = if layout::known(condition)? == 0 { 1 } else { 0 };
            x(chosen).cloned()
        }
        Prim::MergeTranspose(prim::MergeTranspose { condition, second, .. }) => {
            if (layout::known(condition)? == 0) == *second {
                return x(0).cloned();
            }
            layout::array(&dims, vec![0.0; layout::elems(&dims)?]).map(Array::F)
        }
        Prim::Cast(prim::Cast { to }) => Ok(elementwise::cast(x(0)?, *to)),
        Prim::Scan(s) => scan::scan(s, inputs, &dims),
        Prim::Iota(_) => Ok(Array::I(ArrayD::from_shape_fn(dims, |i| i[0] as i64))),
    }
}
