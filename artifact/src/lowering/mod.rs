//! ONNX lowering: every primitive becomes standard operators of opset 17. One file per primitive and its adjoint.
//!
//! | primitive | operators |
//! | --- | --- |
//! | `Unary`, `Binary` | the operator of that name; `GuardedDiv` by `Where`, `Mod` of floats by `Floor` |
//! | `Select`, `Cast`, `Transpose`, `Concat`, `Softmax` | `Where`, and the operators of those names |
//! | `MatMul` | `MatMul`; transposed matrices: `Gemm`, more axes: `Transpose` first; transforms by `Abs`, `Relu`, `Min` |
//! | `Conv` | `Conv` |
//! | `ConvTranspose` | `ConvTranspose`; axes of unknown size are padded and then sliced |
//! | `WindowSum` | `AveragePool` times the kernel's size; dilated: `Conv` with ones on each channel |
//! | `WindowSumTranspose` | `ConvTranspose` with ones on each channel; a single window: `Expand` |
//! | `WindowMax` | `MaxPool` |
//! | `WindowMaxShare` | a `Slice` per tap, compared with the maximum by `Equal`; moved back by `ConvTranspose` |
//! | `Reduce` | `ReduceSum`, `ReduceMax`, …, `ArgMax`, `ArgMin` |
//! | `Reshape`, `Expand`, `Slice`, `Pad`, `Gather` | the operators of those names |
//! | `SliceTranspose` | `Pad`; steps: zeros between by `Pad` and `Reshape` first |
//! | `ScatterAdd` | `ScatterElements` with addition |
//! | `Overwrite` | `ScatterND` |
//! | `NonZero`, `NonMaxSuppression` | the operators of those names, padded to the largest size |
//! | `TopK` | the second result of `TopK` |
//! | `TreeLeaves` | `Gather`, `LessOrEqual`, `Less` and `Where`, once for each level |
//! | `Merge`, `MergeTranspose` | `If`, whose branches read values of the outer graph |
//! | `Attention`, `AttentionShare` | `MatMul`s and `Softmax`, as in their formulas |
//! | `Scan` | `Scan`, whose body reads its captures from the outer graph |
//! | `Dims`, `Iota` | `Reshape` of computed dimensions, `Range` |

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
mod pad_to;
mod reduce;
mod reshape;
mod scan;
mod select;
mod slice;
mod softmax;
mod top_k;
mod transform;
mod transpose;
mod tree_leaves;
mod unary;
mod window;
mod window_max;
mod window_sum;

use dlbc_ops::prim::{self, Prim, Transform};

use crate::onnx_builder::OnnxBuilder;
pub(crate) use contract::{Lowered, OnnxLowering, Operands};

impl OnnxLowering for Prim {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        lowering(self).ok_or("expected a computation, found an input or a constant")?.lower(builder, operands)
    }

    fn transforms(&self) -> Vec<Transform> {
        lowering(self).map(|prim| prim.transforms()).unwrap_or_default()
    }
}

/// Returns the lowering of a primitive; `None` for inputs and constants, which compute nothing.
fn lowering(prim: &Prim) -> Option<&dyn OnnxLowering> {
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
