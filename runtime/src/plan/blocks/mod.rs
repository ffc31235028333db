//! Programs with data-dependent dimensions, cut into blocks that are planned separately.
//!
//! The nodes of a block have the same data-dependent dimensions: the computation of one expert on its tokens, or everything
//! between two layers of experts. So a plan depends on the sizes of its own block only, and a run with another routing reuses
//! the plans of token counts that occurred before. Blocks that differ only in their weights, as experts do, share a plan:
//! large weights are inputs of a block.
//!
//! Blocks are ordered by phase (nodes that the forward outputs need, then nodes that only the reverse needs) and by level, the
//! number of changes of data-dependent dimensions on the way to them, so that every block comes after the blocks that it reads.

mod block;
mod cut;
mod order;
mod run;
mod shared;

pub(crate) use cut::Weights;
pub(crate) use run::{Blocks, Engine, State};
