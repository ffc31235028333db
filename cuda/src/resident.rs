//! A device and the weights on it, shared by the plans that use them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlbc_ops::tensor::{Tensor, TensorView};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::storage::Storage;
use dlbc_ptx::{Device, DeviceError};

use crate::plan::{Location, Lowered};
use crate::storages::{HostKey, narrow_bytes};

/// Alignment of constants within a block: that of the widest load, and for larger ones that of a value.
const ALIGNMENTS: [u64; 2] = [16, 256];
/// Bytes from which a constant has the larger alignment.
const LARGE: u64 = 4096;

/// A constant on the device.
struct Weight {
    /// Keeps the host memory alive, so that keys stay unique.
    tensor: Arc<Tensor>,
    address: u64,
    /// Size on the device in bytes.
    bytes: u64,
    /// Type of the floats on the device.
    storage: Storage,
    /// Address of the block that holds it.
    block: u64,
}

/// A constant that the device does not have.
struct Constant<'a> {
    tensor: &'a Tensor,
    /// Type of the floats on the device.
    storage: Storage,
    bytes: u64,
    /// Offset in the block.
    offset: u64,
}

/// Constants that a program needs and the device does not have.
struct Missing<'a> {
    constants: Vec<Constant<'a>>,
    /// Size of the block.
    bytes: u64,
}

/// A device and the weights on it.
pub(crate) struct Resident {
    pub(crate) device: Box<dyn Device>,
    weights: HashMap<HostKey, Weight>,
    /// Number of weights in each block. A block goes with the last of them.
    blocks: HashMap<u64, usize>,
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
        Arc::new(Mutex::new(Resident { device, weights: HashMap::new(), blocks: HashMap::new() }))
    }

    /// Uploads those of a program's constants that are not on the device yet, in one block. They stay as long as a tensor that
    /// [`Resident::constant`] returns is held.
    pub(crate) fn upload_constants(&mut self, lowered: &Lowered) -> Result<(), DeviceError> {
        let Missing { constants, bytes } = self.missing(lowered);
        if constants.is_empty() {
            return Ok(());
        }
        let block = self.device.allocate(bytes)?;
        self.blocks.insert(block, constants.len());
        for Constant { tensor, storage, bytes, offset } in &constants {
            let (tensor, address) = (Arc::new((*tensor).clone()), block + offset);
            let key = HostKey::new(&tensor);
            self.weights.insert(key, Weight { tensor, address, bytes: *bytes, storage: *storage, block });
        }
        constants.iter().try_for_each(|Constant { tensor, storage, offset, .. }| match storage {
            Storage::F32 => self.device.upload(block + offset, &to_device(&tensor.view())),
            Storage::Bf16 | Storage::F16 => {
                self.device.upload(block + offset, &narrow_bytes(tensor, *storage))
            }
        })
    }

    /// Returns a constant that was uploaded, and its device address.
    pub(crate) fn constant(&self, tensor: &Tensor) -> Option<(Arc<Tensor>, u64)> {
        self.weights.get(&HostKey::new(tensor)).map(|weight| (weight.tensor.clone(), weight.address))
    }

    /// Returns the type of the floats of a constant that is on the device.
    pub(crate) fn storage(&self, key: &HostKey) -> Option<Storage> {
        self.weights.get(key).map(|weight| weight.storage)
    }

    /// Returns the bytes that [`Resident::upload_constants`] would allocate.
    pub(crate) fn missing_bytes(&self, lowered: &Lowered) -> u64 {
        self.missing(lowered).bytes
    }

    fn missing<'a>(&self, lowered: &'a Lowered) -> Missing<'a> {
        let mut missing = Missing { constants: vec![], bytes: 0 };
        let mut seen = HashSet::new();
        for buffer in &lowered.buffers {
            let Location::Constant(tensor, storage) = &buffer.location else { continue };
            let key = HostKey::new(tensor);
            if !self.weights.contains_key(&key) && seen.insert(key) {
                let offset = missing.bytes.next_multiple_of(ALIGNMENTS[usize::from(buffer.bytes >= LARGE)]);
                let bytes = buffer.bytes.max(4);
                missing.constants.push(Constant { tensor, storage: *storage, bytes, offset });
                missing.bytes = offset + bytes;
            }
        }
        missing
    }

    /// Releases the blocks of constants of which no plan holds any.
    pub(crate) fn sweep(&mut self) {
        let blocks = &mut self.blocks;
        self.weights.retain(|_, weight| {
            let in_use = Arc::strong_count(&weight.tensor) > 1;
            if !in_use && let Some(count) = blocks.get_mut(&weight.block) {
                *count -= 1;
            }
            in_use
        });
        let device = &mut self.device;
        self.blocks.retain(|block, count| {
            if *count == 0 {
                device.release(*block);
            }
            *count > 0
        });
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        self.weights.values().map(|weight| weight.bytes).sum()
    }
}

/// Converts a tensor's values to the device's representation.
pub(crate) fn to_device<'a>(tensor: &'a TensorView<'_>) -> Cow<'a, [u8]> {
    let bytes = match Kind::of(tensor.dtype()) {
        Kind::F if tensor.as_f32().is_some() => return Cow::Borrowed(tensor.bytes()),
        Kind::F => tensor.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Kind::I => tensor.to_i64().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Kind::B => tensor.to_i64().iter().flat_map(|v| u32::from(*v != 0).to_le_bytes()).collect(),
    };
    Cow::Owned(bytes)
}
