//! Plans: a program bound to the shapes of its inputs, cut into steps or blocks, simplified, and kept.

mod bind;
mod blocks;
pub(crate) mod executor;
mod simplify;
mod steps;
