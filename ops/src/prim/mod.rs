//! Primitives: the operations of lowered programs, forward and reverse.
//!
//! Each primitive is pure and has a type rule ([`Prim::infer`]), a reference kernel ([`mod@reference`]) and an ONNX
//! lowering. Engines see nothing else.

mod adjoint;
mod attention;
mod batch;
mod binary;
mod bind;
mod body;
mod builder;
mod cast;
mod check;
mod concat;
mod contract;
mod conv;
mod conv_weight;
mod dims;
mod expand;
mod fields;
mod float;
mod gather;
mod iota;
mod knowledge;
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
mod sign;
mod slice;
mod softmax;
#[cfg(test)]
mod tests;
mod top_k;
mod transform;
mod transpose;
mod tree_leaves;
mod unary;
mod window;
mod window_max;
mod window_sum;

pub use adjoint::{Adjoint, adjoint};
pub use attention::{Attention, AttentionGeometry, AttentionPart, AttentionShare};
pub use batch::{TargetAxis, batch};
pub use binary::Binary;
pub use builder::Builder;
pub use cast::Cast;
pub use concat::Concat;
pub use contract::Primitive;
pub use conv::{Conv, ConvTranspose};
pub use dims::Dims;
pub use expand::Expand;
pub use fields::{Field, Fields};
pub use gather::{Gather, ScatterAdd};
pub use iota::Iota;
pub use knowledge::{Knowledge, Known};
pub use matmul::{Factor, MatMul};
pub use merge::{Merge, MergeTranspose};
pub use non_max_suppression::NonMaxSuppression;
pub use non_zero::NonZero;
pub use overwrite::Overwrite;
pub use pad::{Pad, PadMode};
pub use reduce::{Reduce, Reduction};
pub use reshape::Reshape;
pub use scan::Scan;
pub use select::Select;
pub use sign::Signs;
pub use slice::{Slice, SliceTranspose};
pub use softmax::Softmax;
pub use top_k::TopK;
pub use transform::Transform;
pub use transpose::Transpose;
pub use tree_leaves::{Forest, OUTCOMES, TreeLeaves};
pub use unary::Unary;
pub use window::{ConvGeometry, Window};
pub use window_max::{WindowMax, WindowMaxShare};
pub use window_sum::{WindowSum, WindowSumTranspose};

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::OpError;
use crate::graph::{FanIn, Graph, PrintOp, Vocabulary};
use crate::program::Output;
use crate::tensor::{Tensor, TensorType};

/// Generates [`Prim`] and its conversions from the table of primitives: those without attributes (`unit`), and those
/// with attributes, held in the struct of the same name (`node`).
macro_rules! prim_table {
    (unit { $($unit:ident),+ $(,)? } node { $($node:ident),+ $(,)? }) => {
        /// Primitive operation with its attributes.
        #[derive(Clone, PartialEq, Serialize, Deserialize)]
        pub enum Prim {
            /// Program input.
            Input,
            /// Constant. Serialised as an ONNX initializer.
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

        impl Prim {
            /// Names of all primitives in the table.
            #[cfg(test)]
            const NAMES: &[&str] = &[$(stringify!($unit),)+ $(stringify!($node),)+];

            /// Returns the primitive as [`Primitive`]; `None` for inputs and constants, which compute nothing.
            pub fn inner(&self) -> Option<&dyn Primitive> {
                match self {
                    Prim::Input | Prim::Const(_) => None,
                    $(Prim::$unit => Some(&$unit),)+
                    $(Prim::$node(prim) => Some(prim),)+
                }
            }

            /// Returns the attributes for editing; `None` for primitives without attributes.
            fn inner_mut(&mut self) -> Option<&mut dyn Primitive> {
                match self {
                    Prim::Input | Prim::Const(_) $(| Prim::$unit)+ => None,
                    $(Prim::$node(prim) => Some(prim),)+
                }
            }
        }

        /// Prints the attributes without the name of the enum variant.
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
        TopK, NonMaxSuppression, TreeLeaves,
        Merge, MergeTranspose, Scan,
    }
}

impl Vocabulary for Prim {
    type Output = Output;
    const FAN_IN: FanIn = FanIn::One;
}

impl Prim {
    /// Returns the range of the number of operands.
    pub fn arity(&self) -> RangeInclusive<usize> {
        self.inner().map_or(0..=0, |prim| prim.arity())
    }

    /// Infers the type of the result.
    ///
    /// # Errors
    /// If the operands do not fit; the error names the expected and the actual value.
    pub fn infer(&self, inputs: &[TensorType]) -> Result<TensorType, OpError> {
        let arity = self.arity();
        if !arity.contains(&inputs.len()) {
            let expected =
                if arity.start() == arity.end() { arity.start().to_string() } else { format!("{arity:?}") };
            return Err(OpError::Arity { expected, actual: inputs.len() });
        }
        match (self, self.inner()) {
            (Prim::Const(t), _) => Ok(t.ty()),
            (_, Some(prim)) => prim.infer(inputs),
            (_, None) => Err(OpError::invalid("primitive", "a computation", "an input")),
        }
    }
}

impl PrintOp for Prim {
    fn name(&self) -> String {
        match (self, self.inner()) {
            (_, Some(prim)) => prim.title(),
            (Prim::Const(_), None) => "Const".into(),
            (_, None) => "Input".into(),
        }
    }

    fn attributes(&self) -> String {
        let text = self.inner().map(|prim| prim.attributes()).unwrap_or_default();
        if text.is_empty() { text } else { format!(" {text}") }
    }

    fn is_const(&self) -> bool {
        matches!(self, Prim::Const(_))
    }
}

impl Graph<Prim> {
    /// Verifies the invariants of the graph and the type of every node.
    ///
    /// # Errors
    /// All violations.
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
