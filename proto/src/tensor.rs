//! Elements of tensors, from any encoding of the format.

use bytes::Bytes;

use crate::{
    DataType, Encoding, ExternalFault, TensorFault, external,
    onnx::{TensorProto, tensor_proto},
};

/// Bound of the number of elements of a tensor of any type.
const MAX_ELEMENTS: u64 = 1 << 60;

/// Tensor with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorData {
    /// Element type.
    pub dtype: DataType,
    /// Dimensions, outermost first.
    pub dims: Vec<u64>,
    /// Elements, row-major and little-endian, without alignment; empty for strings. Elements of less than a byte have a byte each,
    /// signed ones with their sign.
    pub bytes: Bytes,
    /// Elements of a tensor of strings, row-major; otherwise empty.
    pub strings: Vec<Vec<u8>>,
}

impl TensorData {
    /// Returns the number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

/// Largest rank of a tensor; NumPy has the same limit.
const MAX_RANK: usize = 64;

/// Checks a tensor as far as possible without reading its elements or opening a file.
pub(crate) fn check(tensor: &TensorProto) -> Result<(), TensorFault> {
    if tensor.segment.is_some() {
        return Err(TensorFault::Segment);
    }
    if tensor.dims.len() > MAX_RANK {
        return Err(TensorFault::TooManyDims { actual: tensor.dims.len(), limit: MAX_RANK });
    }
    count_elements(&tensor.dims)?;
    if encoding(tensor)? == Some(Encoding::External) {
        external::parse(tensor)?;
    }
    Ok(())
}

/// Resolves a tensor to at most `max_bytes` bytes; `external` returns the bytes of its external data.
pub(crate) fn resolve<E: From<TensorFault>>(
    tensor: &TensorProto,
    max_bytes: u64,
    external: impl FnOnce(&external::External<'_>) -> Result<Bytes, E>,
) -> Result<TensorData, E> {
    check(tensor)?;
    let dtype = dtype(tensor)?;
    let elements = count_elements(&tensor.dims)?;
    let dims = tensor.dims.iter().map(|&dim| dim.unsigned_abs()).collect();
    let Some(size) = dtype.size() else {
        let strings = strings(tensor, elements)?;
        return Ok(TensorData { dtype, dims, bytes: Bytes::new(), strings });
    };
    let expected = check_bytes(elements, size, max_bytes)?;
    let expected = dtype.packed().map_or(expected, |packed| elements.div_ceil(packed));
    let bytes = match encoding(tensor)? {
        None if elements == 0 => Bytes::new(),
        None => return Err(TensorFault::NoElements.into()),
        Some(encoding @ (Encoding::Raw | Encoding::External)) => {
            let bytes = match encoding {
                Encoding::External => external(&external::parse(tensor)?)?,
                _ => tensor.raw_data.clone().unwrap_or_default(),
            };
            let actual = bytes.len() as u64;
            if actual != expected {
                let dims = tensor.dims.clone();
                return Err(TensorFault::ByteCount { dtype, dims, encoding, expected, actual }.into());
            }
            check_bools(dtype, &bytes)?;
            unpacked(dtype, bytes, elements)
        }
        Some(encoding) => typed(tensor, dtype, encoding, elements)?,
    };
    Ok(TensorData { dtype, dims, bytes, strings: Vec::new() })
}

/// Returns the number of elements of a shape. Other dimensions must be within the limit even if one is 0.
pub(crate) fn count_elements(dims: &[i64]) -> Result<u64, TensorFault> {
    let mut product = 1u64;
    for (axis, &dim) in dims.iter().enumerate() {
        let Ok(size) = u64::try_from(dim) else {
            return Err(TensorFault::NegativeDim { axis, actual: dim });
        };
        product = match product.checked_mul(size.max(1)) {
            Some(product) if product < MAX_ELEMENTS => product,
            _ => return Err(TensorFault::TooManyElements { dims: dims.to_vec() }),
        };
    }
    Ok(if dims.contains(&0) { 0 } else { product })
}

/// Returns the size of `elements` elements of `size` bytes, or an error if it exceeds `limit`.
pub(crate) fn check_bytes(elements: u64, size: u64, limit: u64) -> Result<u64, TensorFault> {
    let actual = elements.saturating_mul(size);
    if actual > limit || usize::try_from(actual).is_err() {
        return Err(TensorFault::TooLarge { actual, limit });
    }
    Ok(actual)
}

pub(crate) fn dtype(tensor: &TensorProto) -> Result<DataType, TensorFault> {
    let number = tensor.data_type();
    match (DataType::from_onnx(number), tensor_proto::DataType::try_from(number)) {
        (Some(dtype), _) => Ok(dtype),
        (None, Err(_) | Ok(tensor_proto::DataType::Undefined)) => {
            Err(TensorFault::UnknownType { actual: number })
        }
        (None, Ok(known)) => Err(TensorFault::UnsupportedType { actual: known.as_str_name() }),
    }
}

/// Returns the place of the tensor's elements; `None` if it has none.
pub(crate) fn encoding(tensor: &TensorProto) -> Result<Option<Encoding>, TensorFault> {
    let is_external = tensor.data_location() == tensor_proto::DataLocation::External;
    let places = [
        (tensor.raw_data.is_some(), Encoding::Raw),
        (!tensor.float_data.is_empty(), Encoding::Float),
        (!tensor.double_data.is_empty(), Encoding::Double),
        (!tensor.int32_data.is_empty(), Encoding::Int32),
        (!tensor.int64_data.is_empty(), Encoding::Int64),
        (!tensor.uint64_data.is_empty(), Encoding::Uint64),
        (!tensor.string_data.is_empty(), Encoding::String),
        (is_external, Encoding::External),
    ];
    let mut used = places.into_iter().filter(|(is_used, _)| *is_used).map(|(_, encoding)| encoding);
    let first = used.next();
    if let (Some(first), Some(second)) = (first, used.next()) {
        return Err(TensorFault::TwoEncodings { first, second });
    }
    if !is_external && !tensor.external_data.is_empty() {
        return Err(TensorFault::External(ExternalFault::NotExternal));
    }
    Ok(first)
}

fn strings(tensor: &TensorProto, elements: u64) -> Result<Vec<Vec<u8>>, TensorFault> {
    let dtype = DataType::String;
    match encoding(tensor)? {
        None if elements == 0 => Ok(Vec::new()),
        None => Err(TensorFault::NoElements),
        Some(Encoding::String) => {
            check_count(tensor, dtype, Encoding::String, elements, tensor.string_data.len())?;
            Ok(tensor.string_data.clone())
        }
        Some(encoding) => Err(TensorFault::WrongEncoding { dtype, encoding }),
    }
}

/// Returns the elements of a typed field as bytes.
fn typed(
    tensor: &TensorProto,
    dtype: DataType,
    encoding: Encoding,
    elements: u64,
) -> Result<Bytes, TensorFault> {
    let count = |actual| check_count(tensor, dtype, encoding, elements, actual);
    let bytes: Vec<u8> = match (encoding, dtype) {
        (Encoding::Float, DataType::F32) => {
            count(tensor.float_data.len())?;
            tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        (Encoding::Double, DataType::F64) => {
            count(tensor.double_data.len())?;
            tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        (Encoding::Int64, DataType::I64) => {
            count(tensor.int64_data.len())?;
            tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        (Encoding::Uint64, DataType::U64) => {
            count(tensor.uint64_data.len())?;
            tensor.uint64_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        (Encoding::Uint64, DataType::U32) => {
            count(tensor.uint64_data.len())?;
            narrow(dtype, &tensor.uint64_data, |value| u32::try_from(value).ok().map(u32::to_le_bytes))?
        }
        (Encoding::Int32, _) => {
            let values = tensor.int32_data.as_slice();
            let bytes = match dtype {
                DataType::I32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                DataType::I16 => narrow(dtype, values, |v| i16::try_from(v).ok().map(i16::to_le_bytes))?,
                DataType::I8 => narrow(dtype, values, |v| i8::try_from(v).ok().map(i8::to_le_bytes))?,
                DataType::U8 => narrow(dtype, values, |v| u8::try_from(v).ok().map(u8::to_le_bytes))?,
                DataType::Bool => {
                    narrow(dtype, values, |v| u8::try_from(v).ok().filter(|v| *v < 2).map(|v| [v]))?
                }
                DataType::F8E4M3 | DataType::F8E4M3Fnuz | DataType::F8E5M2 | DataType::F8E5M2Fnuz => {
                    narrow(dtype, values, byte)?
                }
                DataType::F8E8M0 => narrow(dtype, values, byte)?,
                DataType::F4E2M1 | DataType::I4 | DataType::U4 | DataType::I2 | DataType::U2 => {
                    let packed = dtype.packed().unwrap_or(1);
                    check_count(tensor, dtype, encoding, elements.div_ceil(packed), values.len())?;
                    return Ok(unpacked(dtype, narrow(dtype, values, byte)?.into(), elements));
                }
                DataType::U16 | DataType::F16 | DataType::Bf16 => {
                    narrow(dtype, values, |v| u16::try_from(v).ok().map(u16::to_le_bytes))?
                }
                DataType::F32
                | DataType::F64
                | DataType::I64
                | DataType::U32
                | DataType::U64
                | DataType::String => return Err(TensorFault::WrongEncoding { dtype, encoding }),
            };
            count(values.len())?;
            bytes
        }
        _ => return Err(TensorFault::WrongEncoding { dtype, encoding }),
    };
    Ok(bytes.into())
}

/// Returns a byte of packed or of 8-bit elements, which files store as a signed or an unsigned number.
fn byte(value: i32) -> Option<[u8; 1]> {
    u8::try_from(value).or_else(|_| i8::try_from(value).map(|v| v as u8)).ok().map(|v| [v])
}

/// Returns the elements one in a byte; the first of a packed byte is in its low bits.
fn unpacked(dtype: DataType, bytes: Bytes, elements: u64) -> Bytes {
    let Some(packed) = dtype.packed() else { return bytes };
    let bits = 8 / packed as u32;
    let element = |byte: u8, i: u32| {
        let shifted = byte << (8 - bits * (i + 1));
        match dtype {
            DataType::I4 | DataType::I2 => (shifted as i8 >> (8 - bits)) as u8,
            _ => shifted >> (8 - bits),
        }
    };
    let all = bytes.iter().flat_map(|byte| (0..packed as u32).map(move |i| element(*byte, i)));
    all.take(elements as usize).collect::<Vec<u8>>().into()
}

/// Stores each value in `N` bytes; `store` returns `None` for values that are out of range.
fn narrow<T: Copy + Into<i128>, const N: usize>(
    dtype: DataType,
    values: &[T],
    store: impl Fn(T) -> Option<[u8; N]>,
) -> Result<Vec<u8>, TensorFault> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for (index, &value) in values.iter().enumerate() {
        match store(value) {
            Some(stored) => bytes.extend_from_slice(&stored),
            None => return Err(TensorFault::OutOfRange { dtype, index, actual: value.into() }),
        }
    }
    Ok(bytes)
}

fn check_count(
    tensor: &TensorProto,
    dtype: DataType,
    encoding: Encoding,
    expected: u64,
    actual: usize,
) -> Result<(), TensorFault> {
    if actual as u64 == expected {
        return Ok(());
    }
    let dims = tensor.dims.clone();
    Err(TensorFault::ElementCount { dtype, dims, encoding, expected, actual: actual as u64 })
}

/// Refuses booleans other than 0 and 1, which readers interpret differently.
fn check_bools(dtype: DataType, bytes: &[u8]) -> Result<(), TensorFault> {
    if dtype != DataType::Bool {
        return Ok(());
    }
    match bytes.iter().position(|&byte| byte > 1) {
        Some(index) => Err(TensorFault::OutOfRange { dtype, index, actual: bytes[index].into() }),
        None => Ok(()),
    }
}
