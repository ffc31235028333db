//! The program as its users run it: commands, files, messages, exit codes, and the pages that show them.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod baselines;
mod docs;
mod eval;
mod faults;
mod folders;
mod forward;
mod hostile;
mod messages;
mod newcomers;
mod on_demand;
mod pictures;
mod program;
mod quantus;
mod scene_flags;
mod tables;
mod text;
