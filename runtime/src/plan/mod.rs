//! Planning of a run: binds a program to the shapes of its inputs, simplifies it, cuts it into steps or blocks and caches the
//! backend's plans.

mod bind;
mod blocks;
pub(crate) mod executor;
pub(crate) mod head;
mod simplify;
mod steps;
pub(crate) mod wanted;
