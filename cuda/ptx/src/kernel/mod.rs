//! The kernel families, one a file.

pub mod conv;
pub mod gemm;
pub mod index;
mod math;
pub mod pick;
pub mod pointwise;
pub mod pool;
pub mod reduce;
pub mod softmax;
mod tile;
