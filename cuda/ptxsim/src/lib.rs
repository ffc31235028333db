//! An interpreter of PTX, which checks kernels on the CPU. It is for tests only: slow, and stricter than any hardware.
//!
//! The interpreter executes the text that is shipped, warp by warp in an order drawn from a seed. It reports as a [`Fault`]:
//! - reads of uninitialised registers, shared memory or global memory;
//! - accesses outside the regions that the launch declares, and misaligned ones;
//! - races: two threads of a block that touch a word of shared memory without a barrier between, one of them writing;
//!   two threads of a launch that touch a word of global memory, one of them writing;
//! - words of a declared result that no thread wrote;
//! - asynchronous copies whose words are touched before the wait, or that outlive their thread;
//! - barriers and shuffles that some threads do not reach;
//! - endless loops.
//!
//! Results of approximate instructions are off by up to one unit in the last place on purpose, so that no test depends on their
//! bits. The weak memory model between blocks is not simulated, since no kernel communicates between blocks.

mod device;
mod machine;
mod memory;
mod parse;
mod program;
mod shared;

pub use device::{Simulator, Totals};
pub use machine::{Settings, Stats, TensorSums, launch};
pub use memory::Memory;
pub use parse::{load, parse};
pub use program::Program;

use thiserror::Error;

/// An error of a kernel.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind} at line {line}{}", if detail.is_empty() { String::new() } else { format!(": {detail}") })]
pub struct Fault {
    /// Kind of the fault, in a few words.
    pub kind: &'static str,
    /// Line of the text, from 1; 0 for a fault of the whole launch.
    pub line: u32,
    /// Thread or address of the fault; may be empty.
    pub detail: String,
}
