//! One example of each error and fault, so that its message can be read as a user reads it.

use std::io::{Error, ErrorKind};

use super::{ModelFault, ProtoError};
use crate::fault::{Encoding, ExternalFault, LocationFault, SparseFault, TensorFault};
use crate::{DataType, Name};

/// Lists the variants of an enum, in the order of their definition. A variant that is missing here does not compile.
macro_rules! variants {
    ($list:ident, $function:ident, $name:ident: $($variant:ident),+ $(,)?) => {
        const $list: &[&str] = &[$(stringify!($variant)),+];

        fn $function(error: &$name) -> &'static str {
            match error {
                $($name::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants!(ERRORS, error_variant, ProtoError: Read, Write, Message, Model, External, Tensor);
variants!(
    MODEL_FAULTS, model_variant, ModelFault:
    NotAFile, Malformed, NoGraph, TwoGraphs, NoIrVersion, IrVersion, NoOpset, OpsetVersion, TwoOpsets, TwoFunctions,
    TooLarge, TooManyNodes, TooDeep, MessagesTooDeep,
);
variants!(
    TENSOR_FAULTS, tensor_variant, TensorFault:
    UnsupportedType, UnknownType, Segment, NegativeDim, TooManyDims, TooManyElements, TooLarge, NoMemory,
    TwoEncodings, NoElements, WrongEncoding, ByteCount, ElementCount, OutOfRange, External, Location, Sparse,
);
variants!(
    EXTERNAL_FAULTS, external_variant, ExternalFault:
    UnknownKey, TwiceKey, NoLocation, NotANumber, NotAChecksum, NotExternal,
);
variants!(
    LOCATION_FAULTS, location_variant, LocationFault:
    Path, Link, HardLink, NotAFile, NoFolder, NotEmbedded, Range, TooLarge, Checksum,
);
variants!(
    SPARSE_FAULTS, sparse_variant, SparseFault:
    NoValues, NoIndices, ValueType, ValueRank, IndexType, IndexShape, OutOfBounds, NotAscending,
);

fn tensor_error(fault: TensorFault) -> ProtoError {
    ProtoError::Tensor {
        file: Name::new("model.onnx"),
        tensor: Name::new("conv1.weight"),
        fault: Box::new(fault),
    }
}

fn model_error(fault: ModelFault) -> ProtoError {
    ProtoError::Model { file: Name::new("model.onnx"), fault }
}

fn errors() -> Vec<ProtoError> {
    let not_found = || Error::from(ErrorKind::NotFound);
    let source = <() as prost::Message>::decode(&[0x0f][..]).expect_err("wire type 7 does not exist");
    vec![
        ProtoError::Read { path: "model.onnx".into(), source: not_found() },
        ProtoError::Write { path: "out/model.dlbc.onnx".into(), source: not_found() },
        ProtoError::Message { file: Name::new("model.onnx"), source },
        model_error(ModelFault::NoGraph),
        ProtoError::External {
            file: Name::new("model.onnx"),
            tensor: Name::new("conv1.weight"),
            location: Name::new("weights.bin"),
            source: not_found(),
        },
        tensor_error(TensorFault::NoElements),
    ]
}

fn model_faults() -> Vec<ModelFault> {
    let domain = || Name::new("com.microsoft");
    vec![
        ModelFault::NotAFile,
        ModelFault::Malformed { offset: 12, problem: "a field reaches past its end" },
        ModelFault::NoGraph,
        ModelFault::TwoGraphs,
        ModelFault::NoIrVersion,
        ModelFault::IrVersion { actual: 2 },
        ModelFault::NoOpset,
        ModelFault::OpsetVersion { domain: domain(), actual: 0 },
        ModelFault::TwoOpsets { domain: domain(), first: 1, second: 2 },
        ModelFault::TwoFunctions { function: Name::new("local::Block") },
        ModelFault::TooLarge { what: "the model file", actual: 25167, limit: 1024 },
        ModelFault::TooManyNodes { limit: 1000 },
        ModelFault::TooDeep { limit: 64 },
        ModelFault::MessagesTooDeep { limit: 100 },
    ]
}

fn tensor_faults() -> Vec<TensorFault> {
    let (dtype, encoding) = (DataType::F32, Encoding::Raw);
    vec![
        TensorFault::UnsupportedType { actual: "complex64" },
        TensorFault::UnknownType { actual: 77 },
        TensorFault::Segment,
        TensorFault::NegativeDim { axis: 1, actual: -3 },
        TensorFault::TooManyDims { actual: 65, limit: 64 },
        TensorFault::TooManyElements { dims: vec![1 << 40, 1 << 40] },
        TensorFault::TooLarge { actual: 18432, limit: 1024 },
        TensorFault::NoMemory { actual: 1 << 50 },
        TensorFault::TwoEncodings { first: Encoding::Raw, second: Encoding::Float },
        TensorFault::NoElements,
        TensorFault::WrongEncoding { dtype, encoding: Encoding::Int64 },
        TensorFault::ByteCount { dtype, dims: vec![8, 1, 3, 3], encoding, expected: 288, actual: 284 },
        TensorFault::ElementCount {
            dtype,
            dims: vec![8, 1, 3, 3],
            encoding: Encoding::Float,
            expected: 72,
            actual: 71,
        },
        TensorFault::OutOfRange { dtype: DataType::I8, index: 5, actual: 300 },
        TensorFault::External(ExternalFault::NoLocation),
        TensorFault::Location { location: Name::new("weights.bin"), fault: LocationFault::Link },
        TensorFault::Sparse(SparseFault::NoValues),
    ]
}

fn external_faults() -> Vec<ExternalFault> {
    let name = Name::new;
    vec![
        ExternalFault::UnknownKey { key: name("colour") },
        ExternalFault::TwiceKey { key: name("offset") },
        ExternalFault::NoLocation,
        ExternalFault::NotANumber { key: name("length"), actual: name("4k") },
        ExternalFault::NotAChecksum { actual: name("abc") },
        ExternalFault::NotExternal,
    ]
}

fn location_faults() -> Vec<LocationFault> {
    vec![
        LocationFault::Path { problem: "`..`" },
        LocationFault::Link,
        LocationFault::HardLink { links: 2 },
        LocationFault::NotAFile,
        LocationFault::NoFolder,
        LocationFault::NotEmbedded,
        LocationFault::Range { offset: 4096, length: 288, file_bytes: 4224 },
        LocationFault::TooLarge { actual: 25167, limit: 1024 },
        LocationFault::Checksum {
            actual: "da39a3ee5e6b4b0d3255bfef95601890afd80709".into(),
            expected: "a9993e364706816aba3e25717850c26c9cd0d89d".into(),
        },
    ]
}

fn sparse_faults() -> Vec<SparseFault> {
    vec![
        SparseFault::NoValues,
        SparseFault::NoIndices,
        SparseFault::ValueType { actual: DataType::String },
        SparseFault::ValueRank { actual: 2 },
        SparseFault::IndexType { actual: DataType::I32 },
        SparseFault::IndexShape { count: 3, rank: 2, actual: vec![3, 4] },
        SparseFault::OutOfBounds { value: 2, actual: 9, limit: 9 },
        SparseFault::NotAscending { value: 2 },
    ]
}

/// Pairs each example with its variant. Panics unless there is one example of each variant, in order.
fn named<T>(examples: Vec<T>, variant: fn(&T) -> &'static str, variants: &[&str]) -> Vec<(&'static str, T)> {
    let named: Vec<(&str, T)> = examples.into_iter().map(|example| (variant(&example), example)).collect();
    assert_eq!(named.iter().map(|(name, _)| *name).collect::<Vec<_>>(), variants);
    named
}

/// Formats examples as lines `Variant: message`.
fn lines(examples: Vec<(&str, ProtoError)>) -> String {
    let lines: Vec<String> = examples.iter().map(|(name, error)| format!("{name}: {error}")).collect();
    lines.join("\n")
}

/// Wraps faults as the errors that users see.
fn wrap<T>(
    faults: Vec<(&'static str, T)>,
    error: impl Fn(T) -> ProtoError,
) -> Vec<(&'static str, ProtoError)> {
    faults.into_iter().map(|(name, fault)| (name, error(fault))).collect()
}

#[test]
fn errors_read_well() {
    insta::assert_snapshot!("errors", lines(named(errors(), error_variant, ERRORS)));
}

#[test]
fn model_faults_read_well() {
    let faults = named(model_faults(), model_variant, MODEL_FAULTS);
    insta::assert_snapshot!("model_faults", lines(wrap(faults, model_error)));
}

#[test]
fn tensor_faults_read_well() {
    let faults = named(tensor_faults(), tensor_variant, TENSOR_FAULTS);
    insta::assert_snapshot!("tensor_faults", lines(wrap(faults, tensor_error)));
}

#[test]
fn external_faults_read_well() {
    let faults = named(external_faults(), external_variant, EXTERNAL_FAULTS);
    let error = |fault| tensor_error(TensorFault::External(fault));
    insta::assert_snapshot!("external_faults", lines(wrap(faults, error)));
}

#[test]
fn location_faults_read_well() {
    let faults = named(location_faults(), location_variant, LOCATION_FAULTS);
    let error = |fault| tensor_error(TensorFault::Location { location: Name::new("weights.bin"), fault });
    insta::assert_snapshot!("location_faults", lines(wrap(faults, error)));
}

#[test]
fn sparse_faults_read_well() {
    let faults = named(sparse_faults(), sparse_variant, SPARSE_FAULTS);
    insta::assert_snapshot!("sparse_faults", lines(wrap(faults, |f| tensor_error(TensorFault::Sparse(f)))));
}
