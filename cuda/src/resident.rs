//! A device with the weights that are on it, shared by the plans that use them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlbc_ops::tensor::{DType, Tensor, TensorView};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Device, DeviceError};

use crate::plan::{Buffer, Home, Lowered};

/// A device with the weights that are on it.
pub(crate) struct Resident {
    pub(crate) device: Box<dyn Device>,
    /// By where the bytes lie on the host, which the tensor beside the address keeps there.
    weights: HashMap<(usize, usize, DType), (Arc<Tensor>, u64)>,
}

/// Where a tensor's bytes lie on the host.
fn place_of(tensor: &Tensor) -> (usize, usize, DType) {
    (tensor.bytes().as_ptr() as usize, tensor.bytes().len(), tensor.dtype())
}

/// A shared device.
pub(crate) type Shared = Arc<Mutex<Resident>>;

/// Exclusive use of a device.
pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Resident> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resident {
    /// A device without weights.
    pub(crate) fn shared(device: Box<dyn Device>) -> Shared {
        Arc::new(Mutex::new(Resident { device, weights: HashMap::new() }))
    }

    /// The address of a constant's values, uploaded at its first use; they stay while somebody holds the tensor.
    pub(crate) fn constant(&mut self, tensor: &Tensor) -> Result<(Arc<Tensor>, u64), DeviceError> {
        let key = place_of(tensor);
        if let Some(known) = self.weights.get(&key) {
            return Ok(known.clone());
        }
        let view = tensor.view();
        let bytes = to_device(&view);
        let address = self.device.allocate(bytes.len().max(4) as u64)?;
        let made = (Arc::new(tensor.clone()), address);
        self.weights.insert(key, made.clone());
        self.device.upload(address, &bytes)?;
        Ok(made)
    }

    /// Bytes of a program's constants that are not here yet.
    pub(crate) fn missing(&self, lowered: &Lowered) -> u64 {
        let mut seen = HashSet::new();
        let mut absent = |b: &&Buffer| match &b.home {
            Home::Constant(t) => !self.weights.contains_key(&place_of(t)) && seen.insert(place_of(t)),
            Home::Arena | Home::Table(_) => false,
        };
        lowered.buffers.iter().filter(|b| absent(b)).map(|b| b.bytes.max(4)).sum()
    }

    /// Gives back the constants that nobody holds any more.
    pub(crate) fn sweep(&mut self) {
        let device = &mut self.device;
        self.weights.retain(|_, (tensor, address)| {
            let held = Arc::strong_count(tensor) > 1;
            if !held {
                device.release(*address);
            }
            held
        });
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        let bytes = |t: &Tensor| t.elems() as u64 * u64::from(Kind::of(t.dtype()).bytes());
        self.weights.values().map(|(t, _)| bytes(t)).sum()
    }
}

/// A tensor's values as the device keeps them.
pub(crate) fn to_device<'a>(tensor: &'a TensorView<'_>) -> Cow<'a, [u8]> {
    let bytes = match Kind::of(tensor.dtype()) {
        Kind::F if tensor.dtype() == DType::F32 => return Cow::Borrowed(tensor.bytes()),
        Kind::F => tensor.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Kind::I => tensor.to_i64().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Kind::B => tensor.to_i64().iter().flat_map(|v| u32::from(*v != 0).to_le_bytes()).collect(),
    };
    Cow::Owned(bytes)
}
