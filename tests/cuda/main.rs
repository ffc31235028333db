//! The CUDA backend without a GPU: kernels on the interpreter, and behind a driver that runs them there, late, and fails on
//! purpose.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod deep;
mod driver;
mod faults;
mod interpreted;
mod machine;
mod operations;
mod plan_kernels;
mod queue;
mod recording;
mod transfers;
