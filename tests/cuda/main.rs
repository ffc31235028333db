//! The CUDA backend without a GPU: kernels on the interpreter, a driver that fails on purpose.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod fake_driver;
mod interpreted;
