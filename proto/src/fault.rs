//! What can be wrong with a tensor.

use std::fmt;

use crate::{DataType, ErrorKind, Name};

/// Where the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `raw_data`.
    Raw,
    /// `float_data`.
    Float,
    /// `double_data`.
    Double,
    /// `int32_data`.
    Int32,
    /// `int64_data`.
    Int64,
    /// `uint64_data`.
    Uint64,
    /// `string_data`.
    String,
    /// A file beside the model.
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

/// What is wrong with a tensor.
#[derive(Debug, thiserror::Error)]
pub enum TensorFault {
    /// The kind of elements cannot be read.
    #[error("elements of type {actual} are not supported")]
    UnsupportedType {
        /// Name of the kind in the format.
        actual: &'static str,
    },
    /// The kind of elements is not one of the format.
    #[error("{actual} is not an element type")]
    UnknownType {
        /// The number in the file.
        actual: i32,
    },
    /// The tensor is a part of a larger one.
    #[error("tensor segments are not supported")]
    Segment,
    /// A dimension is negative.
    #[error("dimension {axis} is {actual}, expected none below zero")]
    NegativeDim {
        /// Which dimension.
        axis: usize,
        /// Its size.
        actual: i64,
    },
    /// More dimensions than any model needs.
    #[error("{actual} dimensions, more than {limit}")]
    TooManyDims {
        /// How many there are.
        actual: usize,
        /// The most there may be.
        limit: usize,
    },
    /// More elements than any limit allows.
    #[error("{} has too many elements", Shape(dims))]
    TooManyElements {
        /// The shape.
        dims: Vec<i64>,
    },
    /// More bytes than allowed.
    #[error("{actual} bytes, the limit is {limit}")]
    TooLarge {
        /// How many.
        actual: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The memory for the tensor is not there.
    #[error("no memory for {actual} bytes")]
    NoMemory {
        /// How many were asked for.
        actual: u64,
    },
    /// The elements are given twice, so that two readers could see two models.
    #[error("elements are given in both {first} and {second}")]
    TwoEncodings {
        /// One place.
        first: Encoding,
        /// The other place.
        second: Encoding,
    },
    /// The elements are not given.
    #[error("the elements are missing")]
    NoElements,
    /// The elements are given in a field that is not for their kind.
    #[error("elements of type {dtype} cannot be in {encoding}")]
    WrongEncoding {
        /// Kind of the elements.
        dtype: DataType,
        /// Where they are.
        encoding: Encoding,
    },
    /// The shape asks for another number of bytes.
    #[error("{dtype}{} takes {expected} bytes, {encoding} has {actual}", Shape(dims))]
    ByteCount {
        /// Kind of the elements.
        dtype: DataType,
        /// The shape.
        dims: Vec<i64>,
        /// Where the elements are.
        encoding: Encoding,
        /// Bytes that the shape asks for.
        expected: u64,
        /// Bytes that there are.
        actual: u64,
    },
    /// The shape asks for another number of elements.
    #[error("{dtype}{} has {expected} elements, {encoding} has {actual}", Shape(dims))]
    ElementCount {
        /// Kind of the elements.
        dtype: DataType,
        /// The shape.
        dims: Vec<i64>,
        /// Where the elements are.
        encoding: Encoding,
        /// Elements that the shape asks for.
        expected: u64,
        /// Elements that there are.
        actual: u64,
    },
    /// An element does not fit its kind.
    #[error("element {index} is {actual}, which is not a {dtype}")]
    OutOfRange {
        /// Kind of the elements.
        dtype: DataType,
        /// Which element, row-major.
        index: usize,
        /// Its value.
        actual: i128,
    },
    /// External data is not described as the format asks.
    #[error("external_data: {0}")]
    External(ExternalFault),
    /// The file of external data is refused.
    #[error("external data {location}: {fault}")]
    Location {
        /// The location as the model gives it.
        location: Name,
        /// What is wrong.
        fault: LocationFault,
    },
    /// A sparse tensor is not well formed.
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

/// What is wrong with the description of external data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExternalFault {
    /// A key that the format does not have.
    #[error("unknown key {key}")]
    UnknownKey {
        /// The key.
        key: Name,
    },
    /// A key is given twice.
    #[error("key {key} is given twice")]
    TwiceKey {
        /// The key.
        key: Name,
    },
    /// There is no location.
    #[error("no location")]
    NoLocation,
    /// A number is not a plain decimal number.
    #[error("{key} is {actual}, expected a number of bytes")]
    NotANumber {
        /// The key.
        key: Name,
        /// Its value.
        actual: Name,
    },
    /// The checksum is not 40 hexadecimal digits.
    #[error("checksum {actual} is not a SHA-1 sum")]
    NotAChecksum {
        /// The value.
        actual: Name,
    },
    /// The tensor names a file but does not say that its elements are there.
    #[error("given, but data_location is not EXTERNAL")]
    NotExternal,
}

/// What is wrong with a file of external data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationFault {
    /// The location is not a relative path of plain components.
    #[error("expected a path beneath the model's folder, found {problem}")]
    Path {
        /// What is found.
        problem: &'static str,
    },
    /// A component is a symbolic link, or the path leads out of the model's folder.
    #[error("symbolic links and paths out of the model's folder are refused")]
    Link,
    /// The file has another name.
    #[error("the file has {links} hard links, expected 1")]
    HardLink {
        /// How many.
        links: u64,
    },
    /// A folder, device or pipe.
    #[error("not a regular file")]
    NotAFile,
    /// The model was read from memory.
    #[error("a model that is not read from a file cannot have external data")]
    NoFolder,
    /// The external data of a tensor to be written; it has to be embedded first.
    #[error("the tensor must be embedded before the model is written")]
    NotEmbedded,
    /// The range ends after the end of the file.
    #[error("{length} bytes from byte {offset} on, the file has {file_bytes}")]
    Range {
        /// Where the elements start.
        offset: u64,
        /// How many bytes they take.
        length: u64,
        /// Bytes of the file.
        file_bytes: u64,
    },
    /// The files together are larger than allowed.
    #[error("the model and its files take {actual} bytes, the limit is {limit}")]
    TooLarge {
        /// How many.
        actual: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The file is not the one that the model was written with.
    #[error("the file's SHA-1 sum is {actual}, expected {expected}")]
    Checksum {
        /// The sum of the file.
        actual: String,
        /// The sum that the model gives.
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

/// What is wrong with a sparse tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SparseFault {
    /// There are no values.
    #[error("the values are missing")]
    NoValues,
    /// There are no indices.
    #[error("the indices are missing")]
    NoIndices,
    /// The values are not numbers.
    #[error("values of type {actual} are not supported")]
    ValueType {
        /// Their kind.
        actual: DataType,
    },
    /// The values do not have one axis.
    #[error("expected values of one axis, found {actual}")]
    ValueRank {
        /// How many axes.
        actual: usize,
    },
    /// The indices are not 64-bit integers.
    #[error("expected indices of type i64, found {actual}")]
    IndexType {
        /// Their kind.
        actual: DataType,
    },
    /// The indices are neither positions nor coordinates.
    #[error("expected indices of shape [{count}] or [{count},{rank}], found {}", Shape(actual))]
    IndexShape {
        /// How many values there are.
        count: u64,
        /// Rank of the whole tensor.
        rank: usize,
        /// Shape of the indices.
        actual: Vec<u64>,
    },
    /// An index is outside of the shape.
    #[error("index {actual} of value {value} is outside of {limit}")]
    OutOfBounds {
        /// Which value.
        value: usize,
        /// Its index.
        actual: i64,
        /// The first index that is too large.
        limit: u64,
    },
    /// The indices are not in ascending order, or one is given twice.
    #[error("index of value {value} is not greater than the one before")]
    NotAscending {
        /// Which value.
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

/// Prints a shape as `[2,3]`; the middle of a long one is left out.
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
