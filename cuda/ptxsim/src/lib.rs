//! Runs PTX on the CPU, to prove kernels right where there is no GPU. For tests only: slow, and strict beyond any hardware.
//!
//! It executes the very text that is shipped, warp by warp in an order drawn from a seed, and reports as a [`Fault`]:
//! - reads of registers, shared memory or global memory that nothing wrote;
//! - reads and writes outside what the launch declares, and misaligned ones;
//! - races: two threads of a block that touch a word of shared memory without a barrier between, one of them writing;
//!   two threads of a launch that touch a word of global memory, one of them writing;
//! - words of a declared result that nobody wrote;
//! - asynchronous copies whose words are touched before they were waited for, or that outlive their thread;
//! - barriers and shuffles that not all threads reach;
//! - loops that do not end.
//!
//! Approximate instructions are exact up to a unit in the last place, which is off on purpose: no test may depend on their
//! bits. Weak memory between blocks is not modelled; no kernel communicates between blocks.

mod device;
mod machine;
mod memory;
mod parse;
mod program;
mod shared;

pub use device::{Simulator, Totals};
pub use machine::{Settings, Stats, launch};
pub use memory::Memory;
pub use parse::{load, parse};
pub use program::Program;

use thiserror::Error;

/// What a kernel did wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind} at line {line}{}", if detail.is_empty() { String::new() } else { format!(": {detail}") })]
pub struct Fault {
    /// In a few words.
    pub kind: &'static str,
    /// The line of the text; 0 when the whole launch is at fault.
    pub line: u32,
    /// Which thread, which address.
    pub detail: String,
}
