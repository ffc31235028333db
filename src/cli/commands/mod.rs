//! Commands of the program, one in each file.

pub mod compile;
pub mod completions;
pub mod diff;
pub mod eval;
pub mod export;
pub mod inspect;
pub mod rules;
pub mod run;
