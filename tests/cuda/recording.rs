//! A device that computes nothing and keeps what it is asked to do.

use std::sync::{Arc, Mutex};

use dlbc_cuda::{Device, DeviceError};
use dlbc_ptx::{Kernel, KernelId, Launch, SequenceId};

/// Bits of an address below the number of its allocation.
pub const ADDRESS_BITS: u32 = 40;

/// Requests to a [`Recorder`].
#[derive(Default)]
pub struct Recorded {
    /// Bytes of each allocation.
    pub allocations: Vec<u64>,
    pub kernels: Vec<Kernel>,
    pub sequences: Vec<Vec<Launch>>,
    /// Addresses and contents of the copies to the device, if they are kept.
    pub uploads: Vec<(u64, Vec<u8>)>,
}

/// A device whose memory is all zeros. Clones share what they record.
#[derive(Clone)]
pub struct Recorder {
    pub recorded: Arc<Mutex<Recorded>>,
    /// Distance by which the address of each allocation differs from that of the one before, beyond a multiple of 2⁴⁰.
    shift: u64,
    keeps_uploads: bool,
}

impl Recorder {
    pub fn new(shift: u64, keeps_uploads: bool) -> Recorder {
        Recorder { recorded: Arc::default(), shift, keeps_uploads }
    }
}

impl Device for Recorder {
    fn describe(&self) -> String {
        "recorder".into()
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let mut recorded = self.recorded.lock().unwrap();
        recorded.allocations.push(bytes);
        Ok(recorded.allocations.len() as u64 * ((1 << ADDRESS_BITS) + self.shift))
    }

    fn release(&mut self, _: u64) {}

    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        if self.keeps_uploads {
            self.recorded.lock().unwrap().uploads.push((address, bytes.to_vec()));
        }
        Ok(())
    }

    fn download(&mut self, _: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        bytes.fill(0);
        Ok(())
    }

    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError> {
        let mut recorded = self.recorded.lock().unwrap();
        recorded.kernels.push(kernel.clone());
        Ok(KernelId(recorded.kernels.len() - 1))
    }

    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError> {
        let mut recorded = self.recorded.lock().unwrap();
        recorded.sequences.push(launches);
        Ok(SequenceId(recorded.sequences.len() - 1))
    }

    fn run(&mut self, _: SequenceId) -> Result<(), DeviceError> {
        Ok(())
    }

    fn discard(&mut self, _: SequenceId) {}
}
