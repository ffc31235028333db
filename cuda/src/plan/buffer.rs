//! Buffers of a plan: where each lies, how long it lives, and its address once memory is allocated.

use dlbc_ops::tensor::Tensor;
use dlbc_ptx::Region;
use dlbc_ptx::kernel::storage::Storage;

use super::View;
use crate::memory::Interval;

/// Location of a buffer.
pub(crate) enum Location {
    /// The plan's block of memory.
    Arena,
    /// A constant of the program, which all plans of the device share, and the type of its floats on the device.
    Constant(Tensor, Storage),
    /// Words that the plan's kernels read, stored in its block.
    Table(Vec<u32>),
}

/// A buffer on the device and its lifetime.
pub(crate) struct Buffer {
    pub(crate) location: Location,
    pub(crate) bytes: u64,
    /// The step that computes it.
    pub(crate) first: usize,
    /// The last step that reads it.
    pub(crate) last: usize,
}

impl Buffer {
    /// Returns the size and lifetime in the plan's block, where constants take no memory.
    pub(crate) fn interval(&self) -> Interval {
        let bytes = match self.location {
            Location::Constant(..) => 0,
            Location::Arena | Location::Table(_) => self.bytes.max(4),
        };
        Interval { bytes, first: self.first, last: self.last.max(self.first) }
    }
}

/// Address and size of each buffer.
#[derive(Default)]
pub(crate) struct Addresses(Vec<(u64, u64)>);

impl Addresses {
    pub(crate) fn push(&mut self, address: u64, bytes: u64) {
        self.0.push((address, bytes));
    }

    /// Returns the device address of the view's first element.
    pub(crate) fn address_of(&self, view: &View) -> u64 {
        self.0[view.buffer].0.wrapping_add_signed(view.offset * i64::from(view.element_bytes()))
    }

    /// Returns the memory of the view's buffer.
    pub(crate) fn region(&self, view: &View) -> Region {
        let (address, bytes) = self.0[view.buffer];
        Region { address, bytes }
    }
}
