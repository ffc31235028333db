//! Types in which the constants of a program are stored on the device. Weights of a file in float16 or bfloat16 are float32 in the
//! program; their values still fit the narrow type, so the device gets half the bytes and computes the same.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::tensor::{Compact, DType, Numbers, Tensor};
use dlbc_ptx::kernel::storage::Storage;

/// Minimum number of elements of a constant that is stored in a narrow type.
const MIN_ELEMS: usize = 1 << 12;

/// Location of a tensor's bytes on the host, and the type that they have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HostKey {
    address: usize,
    bytes: usize,
    dtype: DType,
}

impl HostKey {
    pub(crate) fn new(tensor: &Tensor) -> HostKey {
        let (address, bytes) = tensor.identity();
        HostKey { address, bytes, dtype: tensor.dtype() }
    }
}

/// Types of a program's constants on the device. It is valid as long as the program holds the constants.
#[derive(Clone, Default)]
pub(crate) struct Storages(Arc<HashMap<HostKey, Storage>>);

impl Storages {
    /// Chooses the types of the constants of a graph. `resident` returns the type of a constant that is on the device already.
    pub(crate) fn new(graph: &Graph<Prim>, resident: impl Fn(&HostKey) -> Option<Storage>) -> Storages {
        let mut storages = HashMap::new();
        for id in graph.nodes() {
            if let Prim::Const(t) = graph.op(id) {
                let key = HostKey::new(t);
                storages.entry(key).or_insert_with(|| resident(&key).unwrap_or_else(|| narrowest(t)));
            }
        }
        Storages(Arc::new(storages))
    }

    /// Returns the type of a constant; float32 for one that is not among the graph's.
    pub(crate) fn of(&self, tensor: &Tensor) -> Storage {
        self.0.get(&HostKey::new(tensor)).copied().unwrap_or_default()
    }
}

/// Returns a narrow type that holds all values of a matrix or of a larger tensor exactly, else float32.
fn narrowest(tensor: &Tensor) -> Storage {
    if tensor.dims().len() < 2 || tensor.elems() < MIN_ELEMS {
        return Storage::F32;
    }
    if let Some(values) = tensor.as_compact() {
        return stored_type(values).unwrap_or_default();
    }
    let words = || tensor.bytes().chunks_exact(4);
    match tensor.dtype() {
        DType::Bf16 => Storage::Bf16,
        DType::F16 => Storage::F16,
        DType::F32 if words().all(|b| b[0] == 0 && b[1] == 0) => Storage::Bf16,
        DType::F32 if words().all(|b| exact_half([b[0], b[1], b[2], b[3]]).is_some()) => Storage::F16,
        _ => Storage::F32,
    }
}

/// Returns the type in which values of fewer bits are stored, if the device has it.
fn stored_type(values: &Compact) -> Option<Storage> {
    match values.numbers() {
        _ if values.steps().is_some() => None,
        Numbers::Bf16 => Some(Storage::Bf16),
        Numbers::F16 => Some(Storage::F16),
        Numbers::Whole { .. } => None,
    }
}

/// Converts a float32 to float16, if that is exact. NaN is not, since its bits would change.
fn exact_half(bytes: [u8; 4]) -> Option<u16> {
    let bits = u32::from_le_bytes(bytes);
    let (sign, exponent, mantissa) = ((bits >> 16) as u16 & 0x8000, bits >> 23 & 0xff, bits & 0x007f_ffff);
    // Distance of the exponents is 112; float16 has 10 bits of mantissa, fewer below 2⁻¹⁴.
    let magnitude = match exponent {
        0 if mantissa == 0 => 0,
        255 if mantissa == 0 => 0x7c00,
        113..=142 if mantissa.trailing_zeros() >= 13 => (exponent - 112) << 10 | mantissa >> 13,
        103..=112 => {
            let whole = mantissa | 0x0080_0000;
            let shift = 126 - exponent;
            (whole.trailing_zeros() >= shift).then_some(whole >> shift)?
        }
        _ => return None,
    };
    Some(sign | magnitude as u16)
}

/// Returns the bytes of a float tensor in a narrow type that holds its values, padded to a multiple of 4.
pub(crate) fn narrow_bytes(tensor: &Tensor, storage: Storage) -> Cow<'_, [u8]> {
    let compact = tensor.as_compact();
    if storage == Storage::F32
        && let Some(values) = compact
    {
        return Cow::Owned(values.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect());
    }
    let is_stored = compact.is_some_and(|values| stored_type(values) == Some(storage));
    let bytes = compact.filter(|_| is_stored).map_or_else(|| tensor.bytes(), |values| values.stored());
    let stored = is_stored
        || matches!(
            (tensor.dtype(), storage),
            (DType::Bf16, Storage::Bf16) | (DType::F16, Storage::F16) | (DType::F32, Storage::F32)
        );
    if stored && bytes.len().is_multiple_of(4) {
        return Cow::Borrowed(bytes);
    }
    let mut narrow = if stored { bytes.to_vec() } else { Vec::with_capacity(bytes.len() / 2 + 2) };
    if !stored {
        for word in bytes.chunks_exact(4) {
            match storage {
                Storage::Bf16 => narrow.extend_from_slice(&word[2..]),
                _ => {
                    let half = exact_half([word[0], word[1], word[2], word[3]]).unwrap_or_default();
                    narrow.extend_from_slice(&half.to_le_bytes());
                }
            }
        }
    }
    narrow.resize(narrow.len().next_multiple_of(4), 0);
    Cow::Owned(narrow)
}

#[cfg(test)]
mod tests {
    use dlbc_ops::tensor::Array;

    use super::*;

    #[test]
    fn exact_halves_are_those_that_conversion_keeps() {
        let exponents = (0..=255u32)
            .flat_map(|e| [0, 1 << 13, 1 << 12, 0x007f_e000, 0x007f_ffff, 1 << 22].map(|m| e << 23 | m));
        for bits in exponents.flat_map(|b| [b, b | 1 << 31]) {
            let value = f32::from_bits(bits);
            let wide = Tensor::from_f32(&[1], &[value]);
            let narrow = Array::from_tensor(&wide).to_tensor(DType::F16);
            let expected = (narrow.to_f32()[0] == value)
                .then(|| u16::from_le_bytes([narrow.bytes()[0], narrow.bytes()[1]]));
            assert_eq!(exact_half(bits.to_le_bytes()), expected, "{value:e}");
        }
    }

    #[test]
    fn the_narrowest_type_holds_every_value() {
        let tensor = |f: &dyn Fn(usize) -> f32| {
            Tensor::from_f32(&[64, 65], &(0..64 * 65).map(f).collect::<Vec<f32>>())
        };
        let bf16 = tensor(&|i| f32::from_bits((0x3f00_0000 + i as u32 * 0x0001_0000) & 0x7f7f_ffff));
        let f16 = tensor(&|i| (i % 4096) as f32 / 1024.0 - 2.0);
        for (wide, storage, dtype) in [(bf16, Storage::Bf16, DType::Bf16), (f16, Storage::F16, DType::F16)] {
            assert_eq!(narrowest(&wide), storage);
            let narrow = Array::from_tensor(&wide).to_tensor(dtype);
            assert_eq!(narrow_bytes(&wide, storage), narrow.bytes());
            assert_eq!(narrowest(&narrow), storage);
            assert!(
                matches!(narrow_bytes(&narrow, storage), Cow::Borrowed(_)),
                "bytes of the file are not copied"
            );
        }
        let f32 = tensor(&|i| if i == 4000 { 0.1 } else { 1.0 });
        assert_eq!(narrowest(&f32), Storage::F32);
        assert_eq!(narrowest(&Tensor::from_f32(&[5000], &[1.0; 5000])), Storage::F32, "vectors are small");
        assert_eq!(narrowest(&tensor(&|_| f32::from_bits(0x7fc0_0001))), Storage::F32, "bits of a NaN");
    }
}
