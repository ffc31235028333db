//! A device and the weights on it, shared by the plans that use them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlbc_ops::tensor::{DType, Tensor, TensorView};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Device, DeviceError};

use crate::plan::{Buffer, Location, Lowered};

/// Location of a tensor's bytes on the host, and the type that they have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct HostKey {
    address: usize,
    bytes: usize,
    dtype: DType,
}

/// A device and the weights on it.
pub(crate) struct Resident {
    pub(crate) device: Box<dyn Device>,
    /// Tensor and device address of each uploaded constant. The tensor keeps the host memory alive, so that keys stay unique.
    weights: HashMap<HostKey, (Arc<Tensor>, u64)>,
}

impl HostKey {
    fn new(tensor: &Tensor) -> HostKey {
        let (address, bytes) = (tensor.bytes().as_ptr() as usize, tensor.bytes().len());
        HostKey { address, bytes, dtype: tensor.dtype() }
    }
}

/// A device that several plans share.
pub(crate) type Shared = Arc<Mutex<Resident>>;

/// Locks the device for exclusive use.
pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Resident> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resident {
    /// Wraps a device that has no weights yet.
    pub(crate) fn shared(device: Box<dyn Device>) -> Shared {
        Arc::new(Mutex::new(Resident { device, weights: HashMap::new() }))
    }

    /// Returns the device address of a constant, which is uploaded at its first use and stays as long as the returned tensor is held.
    pub(crate) fn constant(&mut self, tensor: &Tensor) -> Result<(Arc<Tensor>, u64), DeviceError> {
        let key = HostKey::new(tensor);
        if let Some(constant) = self.weights.get(&key) {
            return Ok(constant.clone());
        }
        let view = tensor.view();
        let bytes = to_device(&view);
        let address = self.device.allocate(bytes.len().max(4) as u64)?;
        let constant = (Arc::new(tensor.clone()), address);
        self.weights.insert(key, constant.clone());
        self.device.upload(address, &bytes)?;
        Ok(constant)
    }

    /// Returns the bytes of a program's constants that are not on the device yet.
    pub(crate) fn missing(&self, lowered: &Lowered) -> u64 {
        let mut seen = HashSet::new();
        let mut absent = |b: &&Buffer| match &b.location {
            Location::Constant(t) => {
                !self.weights.contains_key(&HostKey::new(t)) && seen.insert(HostKey::new(t))
            }
            Location::Arena | Location::Table(_) => false,
        };
        lowered.buffers.iter().filter(|b| absent(b)).map(|b| b.bytes.max(4)).sum()
    }

    /// Releases the constants that no plan holds any more.
    pub(crate) fn sweep(&mut self) {
        let device = &mut self.device;
        self.weights.retain(|_, (tensor, address)| {
            let in_use = Arc::strong_count(tensor) > 1;
            if !in_use {
                device.release(*address);
            }
            in_use
        });
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        let bytes = |t: &Tensor| t.elems() as u64 * u64::from(Kind::of(t.dtype()).bytes());
        self.weights.values().map(|(t, _)| bytes(t)).sum()
    }
}

/// Converts a tensor's values to the device's representation.
pub(crate) fn to_device<'a>(tensor: &'a TensorView<'_>) -> Cow<'a, [u8]> {
    let bytes = match Kind::of(tensor.dtype()) {
        Kind::F if tensor.dtype() == DType::F32 => return Cow::Borrowed(tensor.bytes()),
        Kind::F => tensor.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Kind::I => tensor.to_i64().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Kind::B => tensor.to_i64().iter().flat_map(|v| u32::from(*v != 0).to_le_bytes()).collect(),
    };
    Cow::Owned(bytes)
}
