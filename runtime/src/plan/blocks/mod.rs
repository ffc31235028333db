//! Programs whose dimensions depend on values, as blocks that are planned each by itself.
//!
//! A block is the part of a program between two measurements that names the same measured dimensions: what one expert does
//! with its tokens, or all that stands between two layers of experts. So a plan depends on the sizes of its own block and on
//! no other's: another routing finds the plans of the counts that were seen before. Blocks that differ in their weights
//! alone, as experts do, share a plan: large weights are inputs of a block.
//!
//! Blocks are ordered by lateness (what the outputs need, then what the reverse alone needs) and by level, the number of
//! changes of measured dimensions before them, so that every block stands after those it reads.

mod block;
mod cut;
mod order;
mod run;
mod shared;

pub(crate) use run::{Blocks, Engine, State};
