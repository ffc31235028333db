//! Backend "cpu": each stage of a program becomes a tract model, built node by node.
//!
//! In that model, products, convolutions, attention and fused elementwise expressions are operators of this crate. Primitives
//! without an operator run on the float64 reference kernels.

mod attention;
mod backend;
mod cheap;
mod columns;
mod conv;
mod depthwise;
mod epilogue;
mod exponential;
mod extremum;
mod fold;
mod gemm;
mod grid;
mod indexing;
mod kernel;
mod linear;
mod lookup;
mod loops;
mod operands;
mod packing;
mod panels;
mod parallel;
mod pointwise;
mod prim;
mod products;
mod scan;
mod slices;
mod weights;
mod wire;
mod wiring;

pub use backend::CpuBackend;
