//! Plans: a program bound to the shapes of its inputs, cut into steps or blocks, simplified, and kept.

pub(crate) mod bind;
pub(crate) mod blocks;
pub(crate) mod simplify;
pub(crate) mod steps;
