//! Lowering of each primitive to launches; one file per primitive and its adjoint.

// `mod` lines and the table of primitives are generated: `DLBC_UPDATE_TABLES=1 cargo test --workspace --test architecture`.
mod attention;
mod binary;
mod cast;
mod concat;
mod contract;
mod conv;
mod dims;
mod expand;
mod gather;
mod iota;
mod matmul;
mod merge;
mod non_max_suppression;
mod non_zero;
mod overwrite;
mod pad;
mod reduce;
mod reshape;
mod scan;
mod select;
mod slice;
mod softmax;
mod top_k;
mod transpose;
mod tree_leaves;
mod unary;
mod window_max;
mod window_sum;

use dlbc_ops::prim::{self, Prim};

pub(super) use contract::{CudaPrimitive, NodeContext};

/// Returns the implementation of a primitive; `None` for inputs and constants, which compute nothing.
pub(super) fn implementation(prim: &Prim) -> Option<&dyn CudaPrimitive> {
    Some(match prim {
        Prim::Input | Prim::Const(_) => return None,
        Prim::Attention(prim) => prim,
        Prim::AttentionShare(prim) => prim,
        Prim::Binary(prim) => prim,
        Prim::Cast(prim) => prim,
        Prim::Concat(prim) => prim,
        Prim::Conv(prim) => prim,
        Prim::ConvTranspose(prim) => prim,
        Prim::Dims(prim) => prim,
        Prim::Expand(prim) => prim,
        Prim::Gather(prim) => prim,
        Prim::Iota(prim) => prim,
        Prim::MatMul(prim) => prim,
        Prim::Merge(prim) => prim,
        Prim::MergeTranspose(prim) => prim,
        Prim::NonMaxSuppression(prim) => prim,
        Prim::NonZero => &prim::NonZero,
        Prim::Overwrite => &prim::Overwrite,
        Prim::Pad(prim) => prim,
        Prim::Reduce(prim) => prim,
        Prim::Reshape(prim) => prim,
        Prim::Scan(prim) => prim,
        Prim::ScatterAdd(prim) => prim,
        Prim::Select => &prim::Select,
        Prim::Slice(prim) => prim,
        Prim::SliceTranspose(prim) => prim,
        Prim::Softmax(prim) => prim,
        Prim::TopK(prim) => prim,
        Prim::Transpose(prim) => prim,
        Prim::TreeLeaves(prim) => prim,
        Prim::Unary(prim) => prim,
        Prim::WindowMax(prim) => prim,
        Prim::WindowMaxShare(prim) => prim,
        Prim::WindowSum(prim) => prim,
        Prim::WindowSumTranspose(prim) => prim,
    })
}
