//! The language of dlbc: tensors, graphs, operators, relevance rules and primitives.
//!
//! Data flows left to right: an ONNX node is *read* into an [`op::Op`], a rule gives its relevance, both are *lowered*
//! to [`prim::Prim`]s, which backends run and ONNX can spell.

pub mod error;
pub mod graph;
pub mod op;
pub mod prim;
pub mod program;
pub mod quadrature;
pub mod rule;
pub mod tensor;

pub use error::{OpError, Unequal};
