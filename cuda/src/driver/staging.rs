//! The staging buffer: pinned memory of the host, through which all copies pass on the device's stream.
//!
//! A copy from memory that is not pinned would pass through a buffer of the driver's, and the driver may return before it has
//! arrived; kernels on a stream of their own would not wait for it.

use std::sync::Arc;

use cudarc::driver::{CudaStream, DriverError, result};

/// Size of the buffer in bytes.
pub(super) const BYTES: usize = 16 << 20;
/// Largest copy to the device, in bytes. Several copies may be under way at once.
pub(super) const CHUNK: usize = BYTES / 4;
/// Alignment of copies within the buffer.
const ALIGNMENT: usize = 256;

/// Pinned memory, with the copies from it that may be under way.
pub(super) struct Staging {
    address: *mut u8,
    /// Bytes at the beginning that the device may still read.
    used: usize,
}

// SAFETY: the memory belongs to this value alone, and the driver lets any thread use it.
#[allow(unsafe_code)]
unsafe impl Send for Staging {}

impl Staging {
    /// Pins memory in the context of this thread.
    #[allow(unsafe_code)]
    pub(super) fn new() -> Result<Staging, DriverError> {
        // SAFETY: a context is bound; the memory is freed by `free` alone.
        let address = unsafe { result::malloc_host(BYTES, 0) }?;
        Ok(Staging { address: address.cast(), used: 0 })
    }

    /// Returns whether another copy fits before the stream must be waited for.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.used + bytes <= BYTES
    }

    /// Counts all copies as done. The stream has been waited for.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Queues a copy to the device; `bytes` may change as soon as this returns.
    ///
    /// # Safety
    /// The bytes fit, and as many belong to the caller at `target`.
    #[allow(unsafe_code)]
    pub(super) unsafe fn upload(
        &mut self,
        stream: &Arc<CudaStream>,
        target: u64,
        bytes: &[u8],
    ) -> Result<(), DriverError> {
        // SAFETY: the bytes fit, by the caller, and the device reads only what lies before `used`.
        let slot = unsafe { std::slice::from_raw_parts_mut(self.address.add(self.used), bytes.len()) };
        slot.copy_from_slice(bytes);
        self.used += bytes.len().next_multiple_of(ALIGNMENT);
        // SAFETY: the slot stays as it is until `clear`, and the caller has the target.
        unsafe { result::memcpy_htod_async(target, slot, stream.cu_stream()) }
    }

    /// Queues a copy from the device to the beginning of the buffer, behind the copies that read it.
    ///
    /// # Safety
    /// The bytes fit into the buffer, and as many belong to the caller at `source`.
    #[allow(unsafe_code)]
    pub(super) unsafe fn download(
        &mut self,
        stream: &Arc<CudaStream>,
        source: u64,
        bytes: usize,
    ) -> Result<(), DriverError> {
        // SAFETY: the bytes fit, by the caller; copies of one stream follow each other.
        unsafe {
            let slot = std::slice::from_raw_parts_mut(self.address, bytes);
            result::memcpy_dtoh_async(slot, source, stream.cu_stream())
        }
    }

    /// Copies the last download. The stream has been waited for.
    #[allow(unsafe_code)]
    pub(super) fn read(&self, target: &mut [u8]) {
        let bytes = target.len().min(BYTES);
        // SAFETY: the buffer is that long, and nothing writes it after the wait.
        target[..bytes].copy_from_slice(unsafe { std::slice::from_raw_parts(self.address, bytes) });
    }

    /// Frees the memory. The stream has been waited for.
    #[allow(unsafe_code)]
    pub(super) fn free(&mut self) -> Result<(), DriverError> {
        let address = std::mem::replace(&mut self.address, std::ptr::null_mut());
        if address.is_null() {
            return Ok(());
        }
        // SAFETY: the memory came from `malloc_host`, and the buffer is not used any more.
        unsafe { result::free_host(address.cast()) }
    }
}
