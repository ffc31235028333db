//! Reasons for refusing a tensor.

use std::fmt;

use crate::{DataType, ErrorKind, Name};

/// Field or file that holds the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Field `raw_data`.
    Raw,
    /// Field `float_data`.
    Float,
    /// Field `double_data`.
    Double,
    /// Field `int32_data`.
    Int32,
    /// Field `int64_data`.
    Int64,
    /// Field `uint64_data`.
    Uint64,
    /// Field `string_data`.
    String,
    /// File beside the model.
    External,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Raw => "raw_data",
            Encoding::Float => "float_data",
            Encoding::Double => "double_data",
            Encoding::Int32 => "int32_data",
            Encoding::Int64 => "int64_data",
            Encoding::Uint64 => "uint64_data",
            Encoding::String => "string_data",
            Encoding::External => "external_data",
        })
    }
}

/// Reason for refusing a tensor.
#[derive(Debug, thiserror::Error)]
pub enum TensorFault {
    /// The element type is not supported.
    #[error("expected elements of numbers or bool, found {actual}")]
    UnsupportedType {
        /// Name of the element type in the format.
        actual: &'static str,
    },
    /// The element type is not defined by the format.
    #[error("unknown element type {actual}: expected a code of the ONNX format")]
    UnknownType {
        /// Number of the element type in the model.
        actual: i32,
    },
    /// The tensor is a segment of a larger one.
    #[error("expected a whole tensor, found a segment")]
    Segment,
    /// A dimension is negative.
    #[error("invalid dimension {axis}: expected at least 0, found {actual}")]
    NegativeDim {
        /// Index of the dimension.
        axis: usize,
        /// Size of the dimension.
        actual: i64,
    },
    /// The rank exceeds its limit.
    #[error("expected at most {limit} dimensions, found {actual}")]
    TooManyDims {
        /// Rank of the tensor.
        actual: usize,
        /// Largest permitted rank.
        limit: usize,
    },
    /// The number of elements exceeds every limit.
    #[error("shape {} has too many elements to count", Shape(dims))]
    TooManyElements {
        /// Shape of the tensor.
        dims: Vec<i64>,
    },
    /// The size of the tensor exceeds its limit.
    #[error("the tensor takes {actual} bytes: the limit is {limit}")]
    TooLarge {
        /// Size in bytes.
        actual: u64,
        /// Largest permitted size in bytes.
        limit: u64,
    },
    /// The memory of the tensor cannot be allocated.
    #[error("no memory for {actual} bytes")]
    NoMemory {
        /// Requested size in bytes.
        actual: u64,
    },
    /// The elements occur in two places, so that two readers could see different models.
    #[error("expected elements in one place, found them in {first} and in {second}")]
    TwoEncodings {
        /// Place of the elements that is read first.
        first: Encoding,
        /// Other place of the elements.
        second: Encoding,
    },
    /// The tensor has no elements although its shape requires some.
    #[error("expected elements, found none")]
    NoElements,
    /// The elements are in a field that does not hold their type.
    #[error("expected elements of another type in {encoding}, found {dtype}")]
    WrongEncoding {
        /// Element type of the tensor.
        dtype: DataType,
        /// Place of the elements.
        encoding: Encoding,
    },
    /// The number of bytes differs from that of the shape.
    #[error("invalid {encoding} of {dtype}{}: expected {expected} bytes, found {actual}", Shape(dims))]
    ByteCount {
        /// Element type of the tensor.
        dtype: DataType,
        /// Shape of the tensor.
        dims: Vec<i64>,
        /// Place of the elements.
        encoding: Encoding,
        /// Number of bytes that the shape requires.
        expected: u64,
        /// Number of bytes that are stored.
        actual: u64,
    },
    /// The number of elements differs from that of the shape.
    #[error("invalid {encoding} of {dtype}{}: expected {expected} elements, found {actual}", Shape(dims))]
    ElementCount {
        /// Element type of the tensor.
        dtype: DataType,
        /// Shape of the tensor.
        dims: Vec<i64>,
        /// Place of the elements.
        encoding: Encoding,
        /// Number of elements that the shape requires.
        expected: u64,
        /// Number of elements that are stored.
        actual: u64,
    },
    /// The value of an element is out of range for its type.
    #[error("invalid element {index}: expected {dtype}, found {actual}")]
    OutOfRange {
        /// Element type of the tensor.
        dtype: DataType,
        /// Row-major index of the element.
        index: usize,
        /// Value of the element.
        actual: i128,
    },
    /// The description of external data is invalid.
    #[error("external_data: {0}")]
    External(ExternalFault),
    /// The file of external data is refused.
    #[error("external data {location}: {fault}")]
    Location {
        /// Location of the file, as in the model.
        location: Name,
        /// Reason of the refusal.
        fault: LocationFault,
    },
    /// A sparse tensor is invalid.
    #[error("sparse tensor: {0}")]
    Sparse(SparseFault),
}

impl TensorFault {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            TensorFault::UnsupportedType { .. } | TensorFault::Segment => ErrorKind::Unsupported,
            TensorFault::TooManyDims { .. }
            | TensorFault::TooManyElements { .. }
            | TensorFault::TooLarge { .. }
            | TensorFault::NoMemory { .. } => ErrorKind::Limit,
            TensorFault::UnknownType { .. }
            | TensorFault::NegativeDim { .. }
            | TensorFault::TwoEncodings { .. }
            | TensorFault::NoElements
            | TensorFault::WrongEncoding { .. }
            | TensorFault::ByteCount { .. }
            | TensorFault::ElementCount { .. }
            | TensorFault::OutOfRange { .. }
            | TensorFault::External(_) => ErrorKind::Invalid,
            TensorFault::Location { fault, .. } => fault.kind(),
            TensorFault::Sparse(fault) => fault.kind(),
        }
    }
}

/// Reason for refusing the description of external data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExternalFault {
    /// A key is not defined by the format.
    #[error("unknown key {key}: expected location, offset, length or checksum")]
    UnknownKey {
        /// Unknown key.
        key: Name,
    },
    /// A key occurs twice.
    #[error("expected each key once, found {key} twice")]
    TwiceKey {
        /// Repeated key.
        key: Name,
    },
    /// The key `location` is missing.
    #[error("expected a location, found none")]
    NoLocation,
    /// A value is not a plain decimal number.
    #[error("invalid {key}: expected a number of bytes, found {actual}")]
    NotANumber {
        /// Key of the value.
        key: Name,
        /// Text of the value.
        actual: Name,
    },
    /// The checksum is not 40 hexadecimal digits.
    #[error("invalid checksum: expected a SHA-1 sum, found {actual}")]
    NotAChecksum {
        /// Text of the checksum.
        actual: Name,
    },
    /// The tensor describes external data, but `data_location` does not refer to it.
    #[error("expected data_location EXTERNAL")]
    NotExternal,
}

/// Reason for refusing a file of external data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationFault {
    /// The location is not a relative path of plain components.
    #[error("expected a path beneath the model's folder, found {problem}")]
    Path {
        /// Part of the location that is not permitted.
        problem: &'static str,
    },
    /// A component is a symbolic link, or the path leads out of the model's folder.
    #[error("expected a path beneath the model's folder without symbolic links")]
    Link,
    /// The file has further hard links.
    #[error("expected 1 hard link, found {links}")]
    HardLink {
        /// Number of hard links.
        links: u64,
    },
    /// The path leads to a folder, device or pipe.
    #[error("expected a regular file")]
    NotAFile,
    /// The model was read from memory and has no folder.
    #[error("expected a model that is read from a file")]
    NoFolder,
    /// The tensor of a model that is written refers to external data, which must be embedded first.
    #[error("expected an embedded tensor in a model that is written")]
    NotEmbedded,
    /// The range of the elements exceeds the file.
    #[error("expected {length} bytes from byte {offset} on, found a file of {file_bytes} bytes")]
    Range {
        /// Position of the first element in the file, in bytes.
        offset: u64,
        /// Size of the elements in bytes.
        length: u64,
        /// Size of the file in bytes.
        file_bytes: u64,
    },
    /// The total size of the model's files exceeds its limit.
    #[error("the model and its files take {actual} bytes: the limit is {limit}")]
    TooLarge {
        /// Total size in bytes.
        actual: u64,
        /// Largest permitted size in bytes.
        limit: u64,
    },
    /// The checksum of the file differs from that in the model.
    #[error("invalid SHA-1 sum: expected {expected}, found {actual}")]
    Checksum {
        /// SHA-1 sum of the file.
        actual: String,
        /// SHA-1 sum in the model.
        expected: String,
    },
}

impl LocationFault {
    fn kind(&self) -> ErrorKind {
        match self {
            LocationFault::TooLarge { .. } => ErrorKind::Limit,
            LocationFault::Path { .. }
            | LocationFault::Link
            | LocationFault::HardLink { .. }
            | LocationFault::NotAFile
            | LocationFault::NoFolder
            | LocationFault::NotEmbedded
            | LocationFault::Range { .. }
            | LocationFault::Checksum { .. } => ErrorKind::Invalid,
        }
    }
}

/// Reason for refusing a sparse tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SparseFault {
    /// The tensor of values is missing.
    #[error("expected values, found none")]
    NoValues,
    /// The tensor of indices is missing.
    #[error("expected indices, found none")]
    NoIndices,
    /// The values are not numbers.
    #[error("expected values of numbers or bool, found {actual}")]
    ValueType {
        /// Element type of the values.
        actual: DataType,
    },
    /// The values do not have rank 1.
    #[error("expected values of one axis, found {actual}")]
    ValueRank {
        /// Rank of the values.
        actual: usize,
    },
    /// The indices are not 64-bit integers.
    #[error("expected indices of type i64, found {actual}")]
    IndexType {
        /// Element type of the indices.
        actual: DataType,
    },
    /// The indices are neither positions `[count]` nor coordinates `[count, rank]`.
    #[error("expected indices of shape [{count}] or [{count},{rank}], found {}", Shape(actual))]
    IndexShape {
        /// Number of values.
        count: u64,
        /// Rank of the dense tensor.
        rank: usize,
        /// Shape of the indices.
        actual: Vec<u64>,
    },
    /// An index is out of range.
    #[error("index of value {value} is out of range: expected below {limit}, found {actual}")]
    OutOfBounds {
        /// Position of the value to which the index belongs.
        value: usize,
        /// The index.
        actual: i64,
        /// Exclusive upper bound of the index.
        limit: u64,
    },
    /// The indices are not in ascending order, or one occurs twice.
    #[error("index of value {value}: expected ascending indices without repetition")]
    NotAscending {
        /// Position of the value to which the index belongs.
        value: usize,
    },
}

impl SparseFault {
    fn kind(&self) -> ErrorKind {
        match self {
            SparseFault::ValueType { .. } => ErrorKind::Unsupported,
            SparseFault::NoValues
            | SparseFault::NoIndices
            | SparseFault::ValueRank { .. }
            | SparseFault::IndexType { .. }
            | SparseFault::IndexShape { .. }
            | SparseFault::OutOfBounds { .. }
            | SparseFault::NotAscending { .. } => ErrorKind::Invalid,
        }
    }
}

/// Displays a shape as `[2,3]`, with dimensions after the eighth abbreviated.
struct Shape<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Shape<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.0.iter().take(8).enumerate() {
            let comma = if axis == 0 { "" } else { "," };
            write!(f, "{comma}{dim}")?;
        }
        f.write_str(if self.0.len() > 8 { ",…]" } else { "]" })
    }
}
