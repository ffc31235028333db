//! Implementations of the primitives by operators and float32 loops; one file per primitive and its adjoint.

// `mod` lines and the table of primitives are generated: `DLBC_UPDATE_TABLES=1 cargo test --workspace --test architecture`.
mod attention;
mod binary;
mod cast;
mod concat;
mod contract;
mod conv;
mod expand;
mod gather;
mod matmul;
mod pad;
mod reduce;
mod reshape;
mod scan;
mod select;
mod slice;
mod softmax;
mod transpose;
mod tree_leaves;
mod unary;
mod window_max;
mod window_sum;

use dlbc_ops::prim::{self, Prim};

pub use contract::{At, CpuPrimitive};

// Primitives that the reference kernels compute.
impl CpuPrimitive for prim::Dims {}
impl CpuPrimitive for prim::Iota {}
impl CpuPrimitive for prim::Merge {}
impl CpuPrimitive for prim::MergeTranspose {}
impl CpuPrimitive for prim::NonMaxSuppression {}
impl CpuPrimitive for prim::NonZero {}
impl CpuPrimitive for prim::Overwrite {}
impl CpuPrimitive for prim::TopK {}

/// Returns the implementation of a primitive; `None` for inputs and constants, which compute nothing.
pub fn implementation(prim: &Prim) -> Option<&dyn CpuPrimitive> {
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
