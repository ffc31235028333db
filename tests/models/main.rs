//! Whole models: the zoo, third-party models, recorded relevance.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod experts;
mod fused;
mod golden;
mod language;
mod quantised;
mod quantised_exports;
mod real_models;
mod recurrent;
mod scenes;
mod sequence;
mod zoo;
