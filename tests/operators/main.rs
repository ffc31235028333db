//! Models of one to three operators: the forward against ONNX Runtime and the standard's recorded outputs, relevance of the
//! backends against each other.

#![allow(clippy::unwrap_used, missing_docs)]

mod backend_page;
mod backend_suite;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod ml_cases;
mod quantised_faults;
