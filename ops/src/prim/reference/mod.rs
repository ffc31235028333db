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
        Prim::Dims { values, .. } => {
            let values = values.iter().map(layout::known).collect::<Result<Vec<i64>, _>>()?;
            layout::array(&dims, values).map(Array::I)
        }
        Prim::Unary(f) => elementwise::unary(*f, x(0)?),
        Prim::Binary(f) => elementwise::binary(*f, x(0)?, x(1)?, &dims),
        Prim::Select => elementwise::select(x(0)?, x(1)?, x(2)?, &dims),
        Prim::MatMul { a, b, ta, tb } => {
            let (a, b) = (Side { part: *a, swap: *ta }, Side { part: *b, swap: *tb });
            matmul::matmul((x(0)?, a), (x(1)?, b), &dims)
        }
        Prim::Conv { geometry, w } => conv::conv(geometry, x(0)?, (x(1)?, *w), inputs.get(2).copied(), &dims),
        Prim::ConvTranspose { geometry, w, .. } => conv::conv_transpose(geometry, x(0)?, (x(1)?, *w), &dims),
        Prim::WindowSum(w) => window::sum(w, x(0)?, &dims),
        Prim::WindowSumTranspose { window, .. } => window::sum_transpose(window, x(0)?, &dims),
        Prim::WindowMax(w) => window::max(w, x(0)?, &dims),
        Prim::WindowMaxShare { window, first } => window::max_share(window, *first, x(0)?, x(1)?, x(2)?),
        Prim::Reduce { kind, axes, .. } => reduce::reduce(*kind, axes, x(0)?, &dims),
        Prim::Softmax { axis } => reduce::softmax(*axis, x(0)?),
        Prim::Attention(g) => attention::attention(*g, [x(0)?, x(1)?, x(2)?], inputs.get(3).copied(), &dims),
        Prim::AttentionShare { geometry, value, of } => {
            let rest = (x(3)?, inputs.get(4).copied());
            attention::share(*geometry, *value, *of, [x(0)?, x(1)?, x(2)?], rest, &dims)
        }
        Prim::Reshape { .. } => movement::reshape(x(0)?, &dims),
        Prim::Transpose { perm } => movement::transpose(perm, x(0)?, &dims),
        Prim::Slice { axis, start, step, .. } => movement::slice(*axis, start, *step, x(0)?, &dims),
        Prim::SliceTranspose { axis, start, step, .. } => {
            movement::slice_transpose(*axis, start, *step, x(0)?, &dims)
        }
        Prim::Concat { axis } => movement::concat(*axis, inputs, &dims),
        Prim::Pad { before, mode, .. } => movement::pad(before, *mode, x(0)?, &dims),
        Prim::Expand { .. } => movement::expand(x(0)?, &dims),
        Prim::Gather { axis } => index::gather(*axis, x(0)?, x(1)?, &dims),
        Prim::ScatterAdd { axis, .. } => index::scatter_add(*axis, x(0)?, x(1)?, &dims),
        Prim::Overwrite => index::overwrite(x(0)?, x(1)?, x(2)?),
        Prim::NonZero => choice::non_zero(x(0)?, &dims),
        Prim::TopK { axis, largest, .. } => choice::top_k(*axis, *largest, x(0)?, &dims),
        Prim::NonMaxSuppression { center } => {
            choice::non_max_suppression(*center, [x(0)?, x(1)?, x(2)?, x(3)?, x(4)?], &dims)
        }
        Prim::Merge { condition } => {
            let chosen = if layout::known(condition)? == 0 { 1 } else { 0 };
            x(chosen).cloned()
        }
        Prim::MergeTranspose { condition, second, .. } => {
            if (layout::known(condition)? == 0) == *second {
                return x(0).cloned();
            }
            layout::array(&dims, vec![0.0; layout::elems(&dims)?]).map(Array::F)
        }
        Prim::Cast { to } => Ok(elementwise::cast(x(0)?, *to)),
        Prim::Scan(s) => scan::scan(s, inputs, &dims),
        Prim::Iota { .. } => Ok(Array::I(ArrayD::from_shape_fn(dims, |i| i[0] as i64))),
    }
}
