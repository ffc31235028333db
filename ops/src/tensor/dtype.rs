//! Element types of tensors and their conversion to and from bytes.

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Shared read-only bytes: an owned buffer or a slice of a memory map.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit float, IEEE 754.
    F32,
    /// 64-bit float, IEEE 754.
    F64,
    /// 16-bit float, IEEE 754.
    F16,
    /// 16-bit brain float: the upper half of a 32-bit float.
    Bf16,
    /// 8-bit signed integer.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// Boolean, stored as one byte.
    Bool,
}

macro_rules! decode {
    ($bytes:expr, $t:ty, $n:literal, $f:expr) => {
        $bytes.chunks_exact($n).map(|b| $f(<$t>::from_le_bytes(b.try_into().unwrap_or([0; $n])))).collect()
    };
}

impl DType {
    /// Returns the size of one element in bytes.
    pub fn size_bytes(self) -> usize {
        match self {
            DType::Bool | DType::I8 | DType::U8 => 1,
            DType::F16 | DType::Bf16 | DType::I16 | DType::U16 => 2,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F64 | DType::I64 | DType::U64 => 8,
        }
    }

    /// Returns whether the type is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::Bf16)
    }

    /// Returns whether the type is an integer type; `Bool` does not count.
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != DType::Bool
    }

    pub(super) fn decode_f64(self, bytes: &[u8]) -> Vec<f64> {
        match self {
            DType::F32 => decode!(bytes, f32, 4, f64::from),
            DType::F64 => decode!(bytes, f64, 8, |v| v),
            DType::F16 => decode!(bytes, f16, 2, f64::from),
            DType::Bf16 => decode!(bytes, bf16, 2, f64::from),
            _ => self.decode_i64(bytes).into_iter().map(|v| v as f64).collect(),
        }
    }

    pub(super) fn decode_f32(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            DType::F32 => decode!(bytes, f32, 4, |v| v),
            DType::F16 => decode!(bytes, f16, 2, f16::to_f32),
            DType::Bf16 => decode!(bytes, bf16, 2, bf16::to_f32),
            _ => self.decode_f64(bytes).into_iter().map(|v| v as f32).collect(),
        }
    }

    pub(super) fn decode_i64(self, bytes: &[u8]) -> Vec<i64> {
        match self {
            DType::I8 => decode!(bytes, i8, 1, i64::from),
            DType::I16 => decode!(bytes, i16, 2, i64::from),
            DType::I32 => decode!(bytes, i32, 4, i64::from),
            DType::I64 => decode!(bytes, i64, 8, |v| v),
            DType::U8 => decode!(bytes, u8, 1, i64::from),
            DType::U16 => decode!(bytes, u16, 2, i64::from),
            DType::U32 => decode!(bytes, u32, 4, i64::from),
            DType::U64 => decode!(bytes, u64, 8, |v| v as i64),
            DType::Bool => bytes.iter().map(|b| i64::from(*b != 0)).collect(),
            _ => self.decode_f64(bytes).into_iter().map(|v| v as i64).collect(),
        }
    }

    pub(super) fn encode_f64(self, values: &mut dyn Iterator<Item = f64>) -> Vec<u8> {
        match self {
            DType::F32 => values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
            DType::F64 => values.flat_map(|v| v.to_le_bytes()).collect(),
            DType::F16 => values.flat_map(|v| f16::from_f64(v).to_le_bytes()).collect(),
            DType::Bf16 => values.flat_map(|v| bf16::from_f64(v).to_le_bytes()).collect(),
            _ => self.encode_i64(&mut values.map(|v| v as i64)),
        }
    }

    pub(super) fn encode_i64(self, values: &mut dyn Iterator<Item = i64>) -> Vec<u8> {
        match self.size_bytes() {
            1 if self == DType::Bool => values.map(|v| u8::from(v != 0)).collect(),
            _ if self.is_float() => self.encode_f64(&mut values.map(|v| v as f64)),
            n => values.flat_map(|v| v.to_le_bytes().into_iter().take(n)).collect(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::Bool => "bool",
        })
    }
}
