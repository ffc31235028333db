//! Element types of tensors.

use std::fmt;

use crate::onnx::tensor_proto;

/// Element type of a [`TensorData`](crate::TensorData).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// 32-bit float, IEEE 754.
    F32,
    /// 64-bit float, IEEE 754.
    F64,
    /// 16-bit float, IEEE 754.
    F16,
    /// 16-bit brain float: the upper half of an [`F32`](Self::F32).
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
    /// Boolean, stored as one byte that is 0 or 1.
    Bool,
    /// Byte string of any length.
    String,
    /// 8-bit float: 4 bits exponent, 3 bits fraction, no infinities.
    F8E4M3,
    /// 8-bit float: 4 bits exponent, 3 bits fraction, no infinities, one zero.
    F8E4M3Fnuz,
    /// 8-bit float: 5 bits exponent, 2 bits fraction.
    F8E5M2,
    /// 8-bit float: 5 bits exponent, 2 bits fraction, no infinities, one zero.
    F8E5M2Fnuz,
    /// 8-bit power of 2.
    F8E8M0,
    /// 4-bit float: 2 bits exponent, 1 bit fraction; two in a byte.
    F4E2M1,
    /// 4-bit signed integer, two in a byte.
    I4,
    /// 4-bit unsigned integer, two in a byte.
    U4,
    /// 2-bit signed integer, four in a byte.
    I2,
    /// 2-bit unsigned integer, four in a byte.
    U2,
}

impl DataType {
    /// All element types, in the order of declaration.
    pub const ALL: [DataType; 24] = [
        DataType::F32,
        DataType::F64,
        DataType::F16,
        DataType::Bf16,
        DataType::I8,
        DataType::I16,
        DataType::I32,
        DataType::I64,
        DataType::U8,
        DataType::U16,
        DataType::U32,
        DataType::U64,
        DataType::Bool,
        DataType::String,
        DataType::F8E4M3,
        DataType::F8E4M3Fnuz,
        DataType::F8E5M2,
        DataType::F8E5M2Fnuz,
        DataType::F8E8M0,
        DataType::F4E2M1,
        DataType::I4,
        DataType::U4,
        DataType::I2,
        DataType::U2,
    ];

    /// Returns the type of a `TensorProto.DataType` number; `None` if the number is undefined or the type is not
    /// supported.
    pub fn from_onnx(number: i32) -> Option<DataType> {
        DataType::ALL.into_iter().find(|dtype| dtype.to_onnx() == number)
    }

    /// Returns the `TensorProto.DataType` number of the type.
    pub fn to_onnx(self) -> i32 {
        use tensor_proto::DataType as Onnx;
        let onnx = match self {
            DataType::F32 => Onnx::Float,
            DataType::F64 => Onnx::Double,
            DataType::F16 => Onnx::Float16,
            DataType::Bf16 => Onnx::Bfloat16,
            DataType::I8 => Onnx::Int8,
            DataType::I16 => Onnx::Int16,
            DataType::I32 => Onnx::Int32,
            DataType::I64 => Onnx::Int64,
            DataType::U8 => Onnx::Uint8,
            DataType::U16 => Onnx::Uint16,
            DataType::U32 => Onnx::Uint32,
            DataType::U64 => Onnx::Uint64,
            DataType::Bool => Onnx::Bool,
            DataType::String => Onnx::String,
            DataType::F8E4M3 => Onnx::Float8e4m3fn,
            DataType::F8E4M3Fnuz => Onnx::Float8e4m3fnuz,
            DataType::F8E5M2 => Onnx::Float8e5m2,
            DataType::F8E5M2Fnuz => Onnx::Float8e5m2fnuz,
            DataType::F8E8M0 => Onnx::Float8e8m0,
            DataType::F4E2M1 => Onnx::Float4e2m1,
            DataType::I4 => Onnx::Int4,
            DataType::U4 => Onnx::Uint4,
            DataType::I2 => Onnx::Int2,
            DataType::U2 => Onnx::Uint2,
        };
        onnx as i32
    }

    /// Returns the number of elements that files hold in one byte; `None` for types whose elements take a byte or more.
    pub fn packed(self) -> Option<u64> {
        match self {
            DataType::F4E2M1 | DataType::I4 | DataType::U4 => Some(2),
            DataType::I2 | DataType::U2 => Some(4),
            _ => None,
        }
    }

    /// Returns the size in bytes of one element in a [`TensorData`](crate::TensorData), where no element shares its byte; `None` for
    /// strings, which have no fixed size.
    pub fn size(self) -> Option<u64> {
        match self {
            DataType::I8 | DataType::U8 | DataType::Bool => Some(1),
            DataType::F8E4M3 | DataType::F8E4M3Fnuz | DataType::F8E5M2 | DataType::F8E5M2Fnuz => Some(1),
            DataType::F8E8M0 | DataType::F4E2M1 => Some(1),
            DataType::I4 | DataType::U4 | DataType::I2 | DataType::U2 => Some(1),
            DataType::F16 | DataType::Bf16 | DataType::I16 | DataType::U16 => Some(2),
            DataType::F32 | DataType::I32 | DataType::U32 => Some(4),
            DataType::F64 | DataType::I64 | DataType::U64 => Some(8),
            DataType::String => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::F32 => "f32",
            DataType::F64 => "f64",
            DataType::F16 => "f16",
            DataType::Bf16 => "bf16",
            DataType::I8 => "i8",
            DataType::I16 => "i16",
            DataType::I32 => "i32",
            DataType::I64 => "i64",
            DataType::U8 => "u8",
            DataType::U16 => "u16",
            DataType::U32 => "u32",
            DataType::U64 => "u64",
            DataType::Bool => "bool",
            DataType::String => "string",
            DataType::F8E4M3 => "f8e4m3",
            DataType::F8E4M3Fnuz => "f8e4m3fnuz",
            DataType::F8E5M2 => "f8e5m2",
            DataType::F8E5M2Fnuz => "f8e5m2fnuz",
            DataType::F8E8M0 => "f8e8m0",
            DataType::F4E2M1 => "f4e2m1",
            DataType::I4 => "i4",
            DataType::U4 => "u4",
            DataType::I2 => "i2",
            DataType::U2 => "u2",
        })
    }
}
