//! Operators of a model in canonical form, one per file.
//!
//! An operator does not mention relevance: [`Operator::lower`] builds its forward, and [`Operator::role`] states its
//! role for rules. Readers (`readers()` of each file) turn ONNX nodes into operators. Several ONNX operators may be
//! read as one operator (`Flatten`, `Squeeze`, `Reshape`), and one as several (`Gemm` with `transA`).

mod activation;
mod add;
mod affine_grid;
mod arg;
mod arithmetic;
mod array_feature_extractor;
mod attention;
mod batch_norm;
mod bias_gelu;
mod binarizer;
mod bit_shift;
mod bitwise;
mod cast;
mod category;
mod causal_conv;
mod center_crop_pad;
mod classifier;
mod col2im;
mod compare;
mod concat;
mod constant;
mod conv;
mod conv_transpose;
mod cum_prod;
mod cum_sum;
mod deform_conv;
mod dequantise;
mod det;
mod einsum;
mod elements;
mod embed_norm;
mod expand;
mod eye_like;
mod feature_vectorizer;
mod fourier;
mod fused_product;
mod gather;
mod gather_nd;
mod grid;
mod grid_sample;
mod group_norm;
mod group_query_attention;
mod gru;
mod hardmax;
mod heads;
mod identity;
mod imputer;
mod integer_product;
mod interpolate;
mod is_nan;
mod layer_norm;
mod linear;
mod linear_attention;
mod linear_model;
mod local_response_norm;
mod loss;
mod lower;
mod lp_norm;
mod lstm;
mod matmul;
mod max_pool_indices;
mod max_unpool;
mod merge;
mod mixture;
mod mul;
mod multi_head_attention;
mod nchwc;
mod ngrams;
mod non_max_suppression;
mod non_zero;
mod normalizer;
mod overwrite;
mod packed_weights;
mod pad;
mod padding_mask;
mod pool;
mod prelu;
mod projected_attention;
mod quantisation;
mod quantisation_layout;
mod quantise;
mod quantised_layer;
mod quantised_lstm;
mod range;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod reverse_sequence;
mod rnn;
mod roi_align;
mod rotary_embedding;
mod sampling;
mod scaler;
mod scan;
mod scatter_add;
mod scatter_nd;
mod scatter_rows;
mod select;
mod skip_norm;
mod slice;
mod softmax;
mod space;
mod spectrum;
mod support_vectors;
mod tensor_scatter;
mod top_k;
mod transpose;
mod tree_ensemble;
mod trigonometry;
mod trilu;
mod unique;
mod zip_map;

pub mod fold;
mod fold_compact;
pub mod read;
pub use fold::eval;
pub mod role;

pub use activation::{Activation, Function};
pub use add::{Add, Sub};
pub use arg::Arg;
pub use arithmetic::{Arithmetic, Extremum};
pub use attention::Attention;
pub use batch_norm::BatchNorm;
pub use cast::{Cast, dtype as element_type};
pub use compare::Compare;
pub use concat::Concat;
pub use conv::Conv;
pub use conv_transpose::ConvTranspose;
pub use cum_sum::CumSum;
pub use expand::Expand;
pub use gather::Gather;
pub use grid::{Grid, QuantisedType};
pub use group_norm::GroupNorm;
pub use interpolate::Interpolate;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use local_response_norm::LocalResponseNorm;
pub use matmul::MatMul;
pub use merge::Merge;
pub use mul::{Div, Mul};
pub use non_max_suppression::NonMaxSuppression;
pub use non_zero::NonZero;
pub use overwrite::Overwrite;
pub use pad::Pad;
pub use pool::{AveragePool, MaxPool};
pub use prelu::PRelu;
pub use quantisation::{Detached, Encode, Quantisation, RoundingError};
pub use range::Range;
pub use reduce::{Reduce, ReduceKind};
pub use reshape::Reshape;
pub use scan::Scan;
pub use scatter_add::ScatterAdd;
pub use select::Select;
pub use slice::Slice;
pub use softmax::Softmax;
pub use top_k::TopK;
pub use transpose::Transpose;
pub use tree_ensemble::{Aggregate, TreeEnsemble};
pub use trigonometry::Trigonometric;
pub use trilu::Trilu;

use crate::OpError;
use crate::graph::{FanIn, Graph, PrintOp, Value, Vocabulary};
use crate::prim::{self, Builder};
use crate::tensor::{Dim, Tensor, TensorType};
use read::Reader;
use role::Role;

/// Interface of an operator.
pub trait Operator {
    /// Returns the attributes as text: ` key=value …`, or an empty string.
    fn attributes(&self) -> String;
    /// Builds the forward from primitives; returns one value per output.
    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value>;
    /// Returns the role for rules, where `live` marks the operands that carry relevance.
    fn role(&self, live: &[bool]) -> Role<'_>;
}

macro_rules! op_table {
    ($($variant:ident),+ $(,)?) => {
        /// Operator of a model. The enum and its dispatch are generated from the table of operators.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            /// Model input.
            Input,
            /// Constant.
            Const(Tensor),
            /// Int64 tensor whose elements are dimensions.
            Dims {
                /// Dimensions of the tensor.
                dims: Vec<usize>,
                /// Elements, row-major; as many as the product of `dims`.
                values: Vec<Dim>,
            },
            $(
                #[doc = concat!("See [`", stringify!($variant), "`].")]
                $variant($variant),
            )+
        }

        impl Op {
            fn operator(&self) -> Option<&dyn Operator> {
                match self {
                    Op::Input | Op::Const(_) | Op::Dims { .. } => None,
                    $(Op::$variant(op) => Some(op),)+
                }
            }

            fn operator_name(&self) -> &'static str {
                match self {
                    Op::Input => "Input",
                    Op::Const(_) => "Const",
                    Op::Dims { .. } => "Dims",
                    $(Op::$variant(_) => stringify!($variant),)+
                }
            }
        }

        $(
            impl From<$variant> for Op {
                fn from(op: $variant) -> Op {
                    Op::$variant(op)
                }
            }
        )+
    };
}

op_table! {
    Activation,
    Add,
    Arg,
    Arithmetic,
    Attention,
    AveragePool,
    BatchNorm,
    Cast,
    Compare,
    Concat,
    Conv,
    ConvTranspose,
    CumSum,
    Detached,
    Div,
    Encode,
    Expand,
    Extremum,
    Gather,
    GroupNorm,
    Interpolate,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MatMul,
    MaxPool,
    Merge,
    Mul,
    NonMaxSuppression,
    NonZero,
    Overwrite,
    PRelu,
    Pad,
    Quantisation,
    Range,
    Reduce,
    Reshape,
    RoundingError,
    Scan,
    ScatterAdd,
    Select,
    Slice,
    Softmax,
    Sub,
    TopK,
    Transpose,
    TreeEnsemble,
    Trilu,
}

/// Returns the readers of all ONNX operators.
pub fn readers() -> Vec<Reader> {
    [
        activation::readers(),
        add::readers(),
        affine_grid::readers(),
        arg::readers(),
        arithmetic::readers(),
        array_feature_extractor::readers(),
        attention::readers(),
        batch_norm::readers(),
        bias_gelu::readers(),
        binarizer::readers(),
        bit_shift::readers(),
        bitwise::readers(),
        cast::readers(),
        causal_conv::readers(),
        category::readers(),
        center_crop_pad::readers(),
        col2im::readers(),
        compare::readers(),
        concat::readers(),
        constant::readers(),
        conv::readers(),
        conv_transpose::readers(),
        cum_prod::readers(),
        cum_sum::readers(),
        deform_conv::readers(),
        dequantise::readers(),
        det::readers(),
        einsum::readers(),
        elements::readers(),
        embed_norm::readers(),
        expand::readers(),
        eye_like::readers(),
        feature_vectorizer::readers(),
        fourier::readers(),
        fused_product::readers(),
        gather::readers(),
        gather_nd::readers(),
        grid_sample::readers(),
        group_norm::readers(),
        group_query_attention::readers(),
        gru::readers(),
        hardmax::readers(),
        identity::readers(),
        imputer::readers(),
        integer_product::readers(),
        is_nan::readers(),
        layer_norm::readers(),
        linear::readers(),
        linear_attention::readers(),
        linear_model::readers(),
        local_response_norm::readers(),
        loss::readers(),
        lp_norm::readers(),
        lstm::readers(),
        matmul::readers(),
        max_unpool::readers(),
        mixture::readers(),
        mul::readers(),
        multi_head_attention::readers(),
        nchwc::readers(),
        ngrams::readers(),
        non_max_suppression::readers(),
        non_zero::readers(),
        normalizer::readers(),
        packed_weights::readers(),
        pad::readers(),
        pool::readers(),
        prelu::readers(),
        projected_attention::readers(),
        quantise::readers(),
        quantised_layer::readers(),
        quantised_lstm::readers(),
        range::readers(),
        reduce::readers(),
        reshape::readers(),
        resize::readers(),
        reverse_sequence::readers(),
        rnn::readers(),
        roi_align::readers(),
        rotary_embedding::readers(),
        scaler::readers(),
        scatter_nd::readers(),
        select::readers(),
        skip_norm::readers(),
        slice::readers(),
        softmax::readers(),
        space::readers(),
        spectrum::readers(),
        support_vectors::readers(),
        tensor_scatter::readers(),
        top_k::readers(),
        transpose::readers(),
        tree_ensemble::readers(),
        trilu::readers(),
        unique::readers(),
        zip_map::readers(),
    ]
    .concat()
}

impl Op {
    /// Builds the forward from primitives; returns one value per output.
    pub fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        match self {
            Op::Const(t) => vec![b.constant("constant", t.clone())],
            Op::Dims { dims, values } => {
                vec![b.add(
                    crate::prim::Prim::Dims(prim::Dims { dims: dims.clone(), values: values.clone() }),
                    &[],
                )]
            }
            // The caller creates inputs, because it knows their names.
            Op::Input => vec![],
            _ => self.operator().map_or_else(Vec::new, |op| op.lower(b, inputs)),
        }
    }

    /// Returns the operator's name without attributes.
    pub fn title(&self) -> String {
        PrintOp::name(self)
    }

    /// Returns the role for rules, where `live` marks the operands that carry relevance.
    pub fn role(&self, live: &[bool]) -> Role<'_> {
        self.operator().map_or(Role::NoRelevance, |op| op.role(live))
    }

    /// Infers the types of the outputs by lowering the operator.
    ///
    /// # Errors
    /// If the inputs do not fit.
    pub fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, OpError> {
        let mut b = Builder::new();
        let values: Vec<Value> = inputs.iter().map(|ty| b.input("x", ty.clone())).collect();
        let outputs = self.lower(&mut b, &values);
        b.ok()?;
        Ok(outputs.into_iter().map(|v| b.ty(v)).collect())
    }
}

impl Vocabulary for Op {
    type Output = String;
    const FAN_IN: FanIn = FanIn::One;
}

impl PrintOp for Op {
    fn name(&self) -> String {
        match self {
            Op::Activation(a) => a.name(),
            Op::Arithmetic(a) => a.name(),
            Op::Extremum(e) => e.name(),
            Op::Compare(c) => c.name(),
            Op::Reduce(r) => r.name(),
            other => other.operator_name().into(),
        }
    }

    fn attributes(&self) -> String {
        match self {
            Op::Dims { values, .. } => format!(" {values:?}"),
            _ => self.operator().map_or_else(String::new, |op| op.attributes()),
        }
    }

    fn is_const(&self) -> bool {
        matches!(self, Op::Const(_))
    }
}

impl Graph<Op> {
    /// Verifies the invariants of the graph and the types of every node.
    ///
    /// # Errors
    /// All violations.
    pub fn check(&self) -> Result<(), Vec<crate::graph::Fault>> {
        self.verify(|g, id| match g.op(id) {
            Op::Input => None,
            op => {
                let types: Vec<_> = g.node_inputs(id).iter().map(|v| g.ty(*v).clone()).collect();
                Some(op.infer(&types).map_err(|e| e.to_string()))
            }
        })
    }

    /// Returns the tensor of a constant; `None` for computed values.
    pub fn constant(&self, v: Value) -> Option<&Tensor> {
        match self.op(v.node) {
            Op::Const(t) => Some(t),
            _ => None,
        }
    }
}
