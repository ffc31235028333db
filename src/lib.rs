//! A compiler that explains neural networks.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answer;
pub mod classes;
pub mod content;
pub mod detector;
pub mod error;
pub mod experts;
pub mod explained;
pub mod explainer;
pub mod features;
pub mod heatmap;
pub mod input;
pub mod nearest;
pub mod notes;
pub mod results;
pub mod scene;
pub mod statistics;
pub mod target;
pub mod tokens;
pub mod wording;
