//! Primitives: the vocabulary of the lowered program, forward and reverse together.
//!
//! Each is pure, has a type rule ([`Prim::infer`]), a reference kernel ([`mod@reference`]) and an ONNX spelling. Backends see
//! nothing else.

mod adjoint;
mod attention;
mod batch;
mod binary;
mod bind;
mod builder;
mod cast;
mod concat;
mod conv;
mod dims;
mod expand;
mod gather;
mod infer;
mod iota;
mod matmul;
mod merge;
mod non_max_suppression;
mod non_zero;
mod overwrite;
mod pad;
mod reduce;
pub mod reference;
mod reshape;
mod scan;
mod select;
pub mod sign;
mod slice;
mod softmax;
#[cfg(test)]
mod tests;
mod top_k;
mod transpose;
mod unary;
mod window;
mod window_max;
mod window_sum;

pub use adjoint::adjoint;
pub use attention::{Attention, AttentionGeometry, AttentionPart, AttentionShare};
pub use batch::batch;
pub use binary::Binary;
pub use builder::Builder;
pub use cast::Cast;
pub use concat::Concat;
pub use conv::{Conv, ConvTranspose};
pub use dims::Dims;
pub use expand::Expand;
pub use gather::{Gather, ScatterAdd};
pub use iota::Iota;
pub use matmul::{MatMul, Part};
pub use merge::{Merge, MergeTranspose};
pub use non_max_suppression::NonMaxSuppression;
pub use non_zero::NonZero;
pub use overwrite::Overwrite;
pub use pad::{Pad, PadMode};
pub use reduce::{Reduce, Reduction};
pub use reshape::Reshape;
pub use scan::Scan;
pub use select::Select;
pub use slice::{Slice, SliceTranspose};
pub use softmax::Softmax;
pub use top_k::TopK;
pub use transpose::Transpose;
pub use unary::Unary;
pub use window::{ConvGeometry, Window};
pub use window_max::{WindowMax, WindowMaxShare};
pub use window_sum::{WindowSum, WindowSumTranspose};

use crate::prim;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::graph::{FanIn, Graph, PrintOp, Vocabulary};
use crate::tensor::Tensor;

/// Writes [`Prim`] and its conversions from the table of primitives: those without attributes, and those whose attributes
/// are the type of the same name.
macro_rules! prim_table {
    (unit { $($unit:ident),+ $(,)? } node { $($node:ident),+ $(,)? }) => {
        /// A primitive.
        #[derive(Clone, PartialEq, Serialize, Deserialize)]
        pub enum Prim {
            /// A program input.
            Input,
            /// A constant. Serialised as an ONNX initializer.
            #[serde(skip)]
            Const(Tensor),
            $(
                #[doc = concat!("See [`struct@", stringify!($unit), "`].")]
                $unit,
            )+
            $(
                #[doc = concat!("See [`", stringify!($node), "`].")]
                $node($node),
            )+
        }

        /// The attributes, without the variant around them.
        impl fmt::Debug for Prim {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Prim::Input => f.write_str("Input"),
                    Prim::Const(t) => f.debug_tuple("Const").field(t).finish(),
                    $(Prim::$unit => f.write_str(stringify!($unit)),)+
                    $(Prim::$node(prim) => prim.fmt(f),)+
                }
            }
        }

        $(
            impl From<$unit> for Prim {
                fn from(_: $unit) -> Prim {
                    Prim::$unit
                }
            }
        )+

        $(
            impl From<$node> for Prim {
                fn from(prim: $node) -> Prim {
                    Prim::$node(prim)
                }
            }
        )+
    };
}

prim_table! {
    unit { Select, Overwrite, NonZero }
    node {
        Dims, Iota, Unary, Binary, Cast,
        MatMul, Conv, ConvTranspose,
        WindowSum, WindowSumTranspose, WindowMax, WindowMaxShare,
        Reduce, Softmax, Attention, AttentionShare,
        Reshape, Transpose, Slice, SliceTranspose, Concat, Pad, Expand,
        Gather, ScatterAdd,
        TopK, NonMaxSuppression,
        Merge, MergeTranspose, Scan,
    }
}

impl Vocabulary for Prim {
    const FAN_IN: FanIn = FanIn::One;
}

impl PrintOp for Prim {
    fn name(&self) -> String {
        match self {
            Prim::Unary(u) => format!("{u:?}").split([' ', '{']).next().unwrap_or_default().to_string(),
            Prim::Binary(b) => format!("{b:?}"),
            Prim::Reduce(prim::Reduce { kind, .. }) => format!("Reduce{kind:?}"),
            other => format!("{other:?}").split([' ', '{', '(']).next().unwrap_or_default().to_string(),
        }
    }

    fn attributes(&self) -> String {
        let text = match self {
            Prim::Input
            | Prim::Const(_)
            | Prim::Binary(_)
            | Prim::Select
            | Prim::Overwrite
            | Prim::NonZero => String::new(),
            Prim::WindowSum(prim::WindowSum(w)) | Prim::WindowMax(prim::WindowMax(w)) => w.to_string(),
            Prim::WindowMaxShare(prim::WindowMaxShare { window, first: false }) => window.to_string(),
            Prim::WindowMaxShare(prim::WindowMaxShare { window, first: true }) => format!("{window} first"),
            Prim::WindowSumTranspose(prim::WindowSumTranspose { window, to }) => {
                format!("{window} to={to:?}")
            }
            Prim::Attention(prim::Attention(g)) => g.to_string(),
            Prim::Scan(scan) => scan.to_string(),
            Prim::AttentionShare(prim::AttentionShare { geometry, value, of }) => {
                format!("{geometry} value={value} of={of:?}")
            }
            Prim::Conv(prim::Conv { geometry, w }) => format!("{geometry} w={w:?}"),
            Prim::ConvTranspose(prim::ConvTranspose { geometry, w, to }) => {
                format!("{geometry} w={w:?} to={to:?}")
            }
            Prim::Reshape(prim::Reshape { to }) | Prim::Expand(prim::Expand { to }) => format!("to={to}"),
            Prim::Reduce(prim::Reduce { axes, keep, .. }) => format!("axes={axes:?} keep={keep}"),
            Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
                format!("a={a:?}{} b={b:?}{}", if *ta { "ᵀ" } else { "" }, if *tb { "ᵀ" } else { "" })
            }
            other => {
                let text = format!("{other:?}");
                let inner = text.split_once('{').and_then(|(_, t)| t.rsplit_once('}')).map_or("", |(t, _)| t);
                inner.trim().to_string()
            }
        };
        if text.is_empty() { text } else { format!(" {text}") }
    }

    fn is_const(&self) -> bool {
        matches!(self, Prim::Const(_))
    }
}

impl Graph<Prim> {
    /// Verifies the graph and the type of every node.
    ///
    /// # Errors
    /// Every fault found.
    pub fn check(&self) -> Result<(), Vec<crate::graph::Fault>> {
        self.verify(|g, id| match g.op(id) {
            Prim::Input => None,
            op => {
                let types: Vec<_> = g.node_inputs(id).iter().map(|v| g.ty(*v).clone()).collect();
                Some(op.infer(&types).map(|t| vec![t]).map_err(|e| e.to_string()))
            }
        })
    }
}
