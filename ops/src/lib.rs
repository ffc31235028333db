//! Intermediate representations of dlbc: tensors, graphs, operators, relevance rules and primitives.
//!
//! 1. An ONNX node is read into an [`op::Op`] by the readers of its file (`op::readers`).
//! 2. A [`rule::Rule`] gives a formula over the operator's [`op::role::Role`], which builds the relevance of the operands.
//! 3. Operators and rules are both lowered to [`prim::Prim`]s, the only operations that engines and the ONNX export see.
//! 4. A [`program::Program`] holds the lowered graph, forward and reverse together, and describes its outputs.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod error;
pub mod graph;
pub mod op;
pub mod prim;
pub mod program;
pub mod quadrature;
pub mod rule;
pub mod tensor;

pub use error::{OpError, Unequal};
