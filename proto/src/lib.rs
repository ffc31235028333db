//! Reading, checking and writing of ONNX files, including external data.
//!
//! Model files are untrusted. [`read_model`] and [`decode`] check sizes, nesting and the number of nodes before they
//! allocate memory for them. [`Model::tensor`] opens external data only in the model's folder and checks every number
//! of elements. Bytes of weights are not copied: they are slices of the mapped file.
//!
//! ```
//! use dlbc_proto::{DataType, Limits, decode, encode, write};
//!
//! let weight = write::tensor("w", DataType::F32, &[2], 1.0f32.to_le_bytes().repeat(2));
//! let graph = write::graph("g", vec![], vec![weight], vec![], vec![]);
//! let bytes = encode(&write::model(graph, vec![write::opset("", 17)]));
//!
//! let model = decode(&bytes, &Limits::default())?;
//! let weight = model.tensor(&model.graph().initializer[0])?;
//! assert_eq!((weight.dtype, weight.dims.as_slice(), weight.bytes.len()), (DataType::F32, &[2][..], 8));
//! # Ok::<(), dlbc_proto::ProtoError>(())
//! ```

mod dtype;
mod error;
mod external;
mod fault;
mod folder;
mod kind;
mod limits;
mod model;
mod name;
mod save;
mod scan;
mod sparse;
mod tensor;
mod validate;
mod version;
mod walk;
pub mod write;

pub use bytes::Bytes;
pub use dtype::DataType;
pub use error::{ModelFault, ProtoError};
pub use fault::{Encoding, ExternalFault, LocationFault, SparseFault, TensorFault};
pub use kind::ErrorKind;
pub use limits::Limits;
pub use model::{FileDigest, Model, decode, read_model};
pub use name::Name;
pub use save::{MAX_MESSAGE_BYTES, WriteOptions, encode, write_model, write_model_with};
pub use tensor::TensorData;
pub use version::{MAX_IR_VERSION, MIN_IR_VERSION};

/// Message types of the format, generated from `onnx.proto`. A test keeps them up to date.
pub mod onnx {
    #![allow(clippy::all, clippy::unwrap_used)]
    include!("../generated/onnx.rs");
}
