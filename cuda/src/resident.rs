//! A device and the weights on it, shared by the plans that use them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlbc_ops::tensor::{DType, Tensor, TensorView};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Device, DeviceError};

use crate::plan::{Location, Lowered};

/// Location of a tensor's bytes on the host, and the type that they have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct HostKey {
    address: usize,
    bytes: usize,
    dtype: DType,
}

/// Alignment of constants within a block: that of the widest load, and for larger ones that of a value.
const ALIGNMENTS: [u64; 2] = [16, 256];
/// Bytes from which a constant has the larger alignment.
const LARGE: u64 = 4096;

/// A constant on the device.
struct Weight {
    /// Keeps the host memory alive, so that keys stay unique.
    tensor: Arc<Tensor>,
    address: u64,
    /// Address of the block that holds it.
    block: u64,
}

/// Constants that a program needs and the device does not have, with their offsets in a block.
struct Missing<'a> {
    tensors: Vec<(&'a Tensor, u64)>,
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
        Arc::new(Mutex::new(Resident { device, weights: HashMap::new(), blocks: HashMap::new() }))
    }

    /// Uploads those of a program's constants that are not on the device yet, in one block. They stay as long as a tensor that
    /// [`Resident::constant`] returns is held.
    pub(crate) fn upload_constants(&mut self, lowered: &Lowered) -> Result<(), DeviceError> {
        let Missing { tensors, bytes } = self.missing(lowered);
        if tensors.is_empty() {
            return Ok(());
        }
        let block = self.device.allocate(bytes)?;
        self.blocks.insert(block, tensors.len());
        for (tensor, offset) in &tensors {
            let weight = Weight { tensor: Arc::new((*tensor).clone()), address: block + offset, block };
            self.weights.insert(HostKey::new(tensor), weight);
        }
        tensors
            .iter()
            .try_for_each(|(tensor, offset)| self.device.upload(block + offset, &to_device(&tensor.view())))
    }

    /// Returns a constant that was uploaded, and its device address.
    pub(crate) fn constant(&self, tensor: &Tensor) -> Option<(Arc<Tensor>, u64)> {
        self.weights.get(&HostKey::new(tensor)).map(|weight| (weight.tensor.clone(), weight.address))
    }

    /// Returns the bytes that [`Resident::upload_constants`] would allocate.
    pub(crate) fn missing_bytes(&self, lowered: &Lowered) -> u64 {
        self.missing(lowered).bytes
    }

    fn missing<'a>(&self, lowered: &'a Lowered) -> Missing<'a> {
        let mut missing = Missing { tensors: vec![], bytes: 0 };
        let mut seen = HashSet::new();
        for buffer in &lowered.buffers {
            let Location::Constant(tensor) = &buffer.location else { continue };
            let key = HostKey::new(tensor);
            if !self.weights.contains_key(&key) && seen.insert(key) {
                let offset = missing.bytes.next_multiple_of(ALIGNMENTS[usize::from(buffer.bytes >= LARGE)]);
                missing.tensors.push((tensor, offset));
                missing.bytes = offset + buffer.bytes.max(4);
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
        let bytes = |t: &Tensor| t.elems() as u64 * u64::from(Kind::of(t.dtype()).bytes());
        self.weights.values().map(|weight| bytes(&weight.tensor)).sum()
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
