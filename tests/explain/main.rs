//! Explanations through the library: composites, targets, contrastive mode, repeats, plans, stages.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod artifacts;
mod compact;
mod composite_files;
mod composites;
mod contrast;
mod layers;
mod library;
mod plans;
mod positions;
mod repeat;
mod seeds;
mod stages;
mod targets;
mod trees;
