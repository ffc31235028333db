//! Primitives: the vocabulary of the lowered program, forward and reverse together.
//!
//! Each is pure, has a type rule ([`Prim::infer`]), a reference kernel ([`mod@reference`]) and an ONNX spelling. Backends see
//! nothing else.

mod adjoint;
mod attention;
mod batch;
mod bind;
mod builder;
mod infer;
pub mod reference;
mod scan;
pub mod sign;
#[cfg(test)]
mod tests;
mod window;

pub use adjoint::adjoint;
pub use attention::{AttentionGeometry, AttentionPart};
pub use batch::batch;
pub use builder::Builder;
pub use scan::Scan;
pub use window::{ConvGeometry, Window};

use serde::{Deserialize, Serialize};

use crate::graph::{FanIn, Graph, PrintOp, Vocabulary};
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Which part of an operand a product reads: `|x|` is `Abs`, `max(x, 0)` is `Pos`, `min(x, 0)` is `Neg`; `x²`, and 1.
///
/// Weights are stored once; a kernel takes the part on the fly where it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// As it is.
    #[default]
    Id,
    /// The magnitude.
    Abs,
    /// The positive part.
    Pos,
    /// The negative part (its values are ≤ 0).
    Neg,
    /// The square.
    Square,
    /// 1 for every element.
    One,
}

/// Elementwise functions of one float operand (`Not` takes booleans).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// -1, 0 or 1.
    Sign,
    /// `eˣ`.
    Exp,
    /// `ln x`.
    Log,
    /// `√x`.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// The error function.
    Erf,
    /// `tanh x`.
    Tanh,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `alpha·x`.
    LeakyRelu {
        /// The factor.
        alpha: f32,
    },
    /// `x` where positive, else `alpha·(eˣ - 1)`.
    Elu {
        /// The factor.
        alpha: f32,
    },
    /// `clip(alpha·x + beta, 0, 1)`.
    HardSigmoid {
        /// The factor.
        alpha: f32,
        /// The offset.
        beta: f32,
    },
    /// `x · clip(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// Bounds are -∞ and ∞ when absent.
    Clip {
        /// The lower bound.
        min: Option<f32>,
        /// The upper bound.
        max: Option<f32>,
    },
    /// The next integer below.
    Floor,
    /// The next integer above.
    Ceil,
    /// Half to even.
    Round,
    /// `sin x`.
    Sin,
    /// `cos x`.
    Cos,
    /// Boolean negation.
    Not,
}

/// Elementwise functions of two operands, which broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// Integers: truncation towards zero.
    Div,
    /// `a / b` with `0` wherever `b` is `0`.
    GuardedDiv,
    /// `aᵇ`.
    Pow,
    /// The smaller.
    Min,
    /// The greater.
    Max,
    /// Sign of the divisor, as ONNX `Mod` with `fmod = 0`.
    Mod,
    /// Comparisons give booleans.
    Equal,
    /// `a < b`, a boolean.
    Less,
    /// `a ≤ b`, a boolean.
    LessOrEqual,
    /// Booleans.
    And,
    /// Booleans.
    Or,
    /// Booleans.
    Xor,
}

impl Binary {
    /// Whether the result is boolean.
    pub fn is_predicate(self) -> bool {
        matches!(self, Binary::Equal | Binary::Less | Binary::LessOrEqual)
    }

    /// Whether operands are boolean.
    pub fn is_logic(self) -> bool {
        matches!(self, Binary::And | Binary::Or | Binary::Xor)
    }
}

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The greatest.
    Max,
    /// The smallest.
    Min,
    /// The product.
    Prod,
    /// Index of the first maximum, int64; one axis.
    ArgMax,
    /// Index of the first minimum, int64; one axis.
    ArgMin,
}

/// How a pad is filled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The operand mirrored at its edge, the edge not repeated.
    Reflect,
    /// The element at the edge.
    Edge,
}

/// A primitive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Prim {
    /// A program input.
    Input,
    /// A constant. Serialised as an ONNX initializer.
    #[serde(skip)]
    Const(Tensor),
    /// An int64 tensor of dimensions, known once symbols are bound: `values` fill `dims`, row-major.
    Dims {
        /// The dimensions of this tensor.
        dims: Vec<usize>,
        /// Its values.
        values: Vec<Dim>,
    },
    /// Elementwise.
    Unary(Unary),
    /// Elementwise, broadcasting.
    Binary(Binary),
    /// `where(condition, a, b)`, broadcasting.
    Select,
    /// `part(a) · part(b)` over the last two axes (each transposed first if so marked), batch axes broadcast.
    /// Both operands have rank ≥ 2.
    MatMul {
        /// Part of `a`.
        a: Part,
        /// Part of `b`.
        b: Part,
        /// Swap the last two axes of `a`.
        ta: bool,
        /// Swap the last two axes of `b`.
        tb: bool,
    },
    /// Convolution: `x [n, c, …]`, `w [o, c/groups, …]`, optional `bias [o]` (always as it is).
    Conv {
        /// Geometry.
        geometry: ConvGeometry,
        /// Part of `w`.
        w: Part,
    },
    /// The adjoint of `Conv` in `x`: `s [n, o, …]`, `w [o, c/groups, …]` → `[n, c, to…]`.
    ConvTranspose {
        /// Geometry of the forward convolution.
        geometry: ConvGeometry,
        /// Part of `w`.
        w: Part,
        /// Spatial dimensions of the result.
        to: Vec<Dim>,
    },
    /// Sum over each window of `x [n, c, …]`; pads count as 0.
    WindowSum(Window),
    /// The adjoint of `WindowSum`: `s [n, c, …]` → `[n, c, to…]`.
    WindowSumTranspose {
        /// The forward window.
        window: Window,
        /// Spatial dimensions of the result.
        to: Vec<Dim>,
    },
    /// Maximum over each window of `x [n, c, …]`; pads count as -∞.
    WindowMax(Window),
    /// `(x, y, r)`: each `r` is shared equally among the positions of its window where `x` equals the maximum `y`, or goes to
    /// the first of them.
    WindowMaxShare {
        /// Of the forward.
        window: Window,
        /// To the first, in row-major order.
        first: bool,
    },
    /// Reduction over `axes` (sorted, in range).
    Reduce {
        /// What is computed.
        kind: Reduction,
        /// The axes.
        axes: Vec<usize>,
        /// Keep the reduced axes with dimension 1.
        keep: bool,
    },
    /// Softmax over one axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// `(q […, m, d], k […, n, d], v […, n, e], mask?)` → `softmax(scale · q kᵀ + mask) v`, `[…, m, e]`; the mask broadcasts to
    /// `[…, m, n]`. No backend need keep the weights.
    Attention(AttentionGeometry),
    /// `(q, k, v, r […, m, e], mask?)`: `r`, the relevance of an attention's result, shared by contribution magnitude. With
    /// the weights `p`, the flow through each is `f = p ⊙ ((r ⊘ p|v|) |v|ᵀ)`; the values get the share `value` of it, and each
    /// weight passes the rest on to its query and its key, half each, by `|q||k|ᵀ`.
    AttentionShare {
        /// Of the forward.
        geometry: AttentionGeometry,
        /// The share of the values, in 0..=1.
        value: f32,
        /// Which part this computes.
        of: AttentionPart,
    },
    /// The same elements under another shape.
    Reshape {
        /// The shape.
        to: Shape,
    },
    /// Axis `i` of the result is axis `perm[i]` of the operand.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// Along one axis: `start, start + step, …`, `len` elements. A negative step runs backwards.
    Slice {
        /// The axis.
        axis: usize,
        /// The first index.
        start: Dim,
        /// The number of elements.
        len: Dim,
        /// The step, not 0.
        step: i64,
    },
    /// The adjoint of `Slice`: zeros of dimension `to` along `axis`, with the operand in the slice.
    SliceTranspose {
        /// The axis.
        axis: usize,
        /// The first index.
        start: Dim,
        /// The dimension of the result along `axis`.
        to: Dim,
        /// The step, not 0.
        step: i64,
    },
    /// Concatenation along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Padding of each axis.
    Pad {
        /// Elements put before, by axis.
        before: Vec<Dim>,
        /// Elements put after, by axis.
        after: Vec<Dim>,
        /// The fill.
        mode: PadMode,
    },
    /// Broadcast to a shape.
    Expand {
        /// The shape.
        to: Shape,
    },
    /// `gather(data, indices)` along an axis; negative indices count from the end.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// The adjoint of `Gather` in `data`: `(updates, indices)` → zeros of dimension `to` along `axis`, plus each update at
    /// its index.
    ScatterAdd {
        /// The axis.
        axis: usize,
        /// The dimension of the result along `axis`.
        to: Dim,
    },
    /// `(data [n, …], indices [m], updates [m, …])` → `data` with its rows at `indices` replaced; of several updates of one
    /// row the last counts. Negative indices count from the end.
    Overwrite,
    /// The indices of the elements other than 0 of `x`, row-major: `[rank, elements]`, as many columns as there are such
    /// elements and then zeros. How many there are is another value's business.
    NonZero,
    /// Indices of the `k` greatest (or smallest) elements along an axis, int64, in order; of equal ones the first comes first.
    TopK {
        /// The axis.
        axis: usize,
        /// How many, at most the axis's dimension.
        k: Dim,
        /// The greatest; else the smallest.
        largest: bool,
    },
    /// `(boxes [n, s, 4], scores [n, c, s], most, overlap, least)`, the last three of one element: the boxes of each class
    /// that greedy non-maximum suppression keeps, as `(batch, class, box)` by falling score; `[n·c·s, 3]`, then rows of -1.
    NonMaxSuppression {
        /// Boxes are `(x, y, width, height)` of their centre; else two opposite corners `(y, x, y, x)`.
        center: bool,
    },
    /// `(a, b)`: `a` where the condition is 1, `b` where it is 0; the other one is not computed. A dimension in which they
    /// differ is that of the chosen one.
    Merge {
        /// 1 or 0, known once it is bound.
        condition: Dim,
    },
    /// The adjoint of `Merge` in one operand, of shape `to`: `r` if that operand was chosen, else zeros.
    MergeTranspose {
        /// Of the forward.
        condition: Dim,
        /// In `b`; else in `a`.
        second: bool,
        /// The shape of the operand.
        to: Shape,
    },
    /// Conversion.
    Cast {
        /// The element type.
        to: DType,
    },
    /// `0, 1, …, len - 1`, int64.
    Iota {
        /// How many.
        len: Dim,
    },
    /// A recurrence over time.
    Scan(Scan),
}

impl Vocabulary for Prim {
    const FAN_IN: FanIn = FanIn::One;
}

impl PrintOp for Prim {
    fn name(&self) -> String {
        match self {
            Prim::Unary(u) => format!("{u:?}").split([' ', '{']).next().unwrap_or_default().to_string(),
            Prim::Binary(b) => format!("{b:?}"),
            Prim::Reduce { kind, .. } => format!("Reduce{kind:?}"),
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
            Prim::WindowSum(w) | Prim::WindowMax(w) => w.to_string(),
            Prim::WindowMaxShare { window, first: false } => window.to_string(),
            Prim::WindowMaxShare { window, first: true } => format!("{window} first"),
            Prim::WindowSumTranspose { window, to } => format!("{window} to={to:?}"),
            Prim::Attention(g) => g.to_string(),
            Prim::Scan(scan) => scan.to_string(),
            Prim::AttentionShare { geometry, value, of } => format!("{geometry} value={value} of={of:?}"),
            Prim::Conv { geometry, w } => format!("{geometry} w={w:?}"),
            Prim::ConvTranspose { geometry, w, to } => format!("{geometry} w={w:?} to={to:?}"),
            Prim::Reshape { to } | Prim::Expand { to } => format!("to={to}"),
            Prim::Reduce { axes, keep, .. } => format!("axes={axes:?} keep={keep}"),
            Prim::MatMul { a, b, ta, tb } => {
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
