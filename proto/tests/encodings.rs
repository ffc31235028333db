//! Every element type in every encoding that may hold it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_refused, bare, read, resolve};
use dlbc_proto::{
    Bytes, DataType, ErrorKind, Limits, decode, encode,
    onnx::{SparseTensorProto, TensorProto},
    write,
};

#[test]
fn raw_data_of_every_type() {
    for dtype in DataType::ALL {
        let Some(size) = dtype.size().filter(|_| dtype.packed().is_none()) else { continue };
        let bytes: Vec<u8> = (0..6 * size).map(|byte| (byte % 2) as u8).collect();
        let data = resolve(write::tensor("w", dtype, &[2, 3], bytes.clone())).unwrap();
        assert_eq!((data.dtype, data.dims.as_slice(), data.elements()), (dtype, &[2, 3][..], 6));
        assert_eq!(data.bytes, bytes);
        assert_eq!(DataType::from_onnx(dtype.to_onnx()), Some(dtype));
    }
}

#[test]
fn packed_elements_get_a_byte_each() {
    /// Type, dimensions, packed bytes, bytes of the elements.
    type Case = (DataType, &'static [u64], &'static [u8], &'static [u8]);
    let cases: [Case; 5] = [
        (DataType::U4, &[3], &[0xf1, 0x0a], &[1, 15, 10]),
        (DataType::I4, &[2, 2], &[0x8f, 0x71], &[0xff, 0xf8, 1, 7]),
        (DataType::F4E2M1, &[1], &[0x0f], &[15]),
        (DataType::U2, &[5], &[0b11_10_01_00, 0b10], &[0, 1, 2, 3, 2]),
        (DataType::I2, &[4], &[0b11_10_01_00], &[0, 1, 0xfe, 0xff]),
    ];
    for (dtype, dims, packed, elements) in cases {
        let data = resolve(write::tensor("w", dtype, dims, packed.to_vec())).unwrap();
        assert_eq!((data.dtype, &data.bytes[..]), (dtype, elements), "{dtype}");
        let numbers = packed.iter().map(|b| i32::from(*b)).collect();
        let dims: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
        let typed = TensorProto { int32_data: numbers, ..bare(dtype, &dims) };
        assert_eq!(&resolve(typed).unwrap().bytes[..], elements, "{dtype}");
        let short = write::tensor("w", dtype, &[9], packed.to_vec());
        assert_refused(resolve(short), ErrorKind::Invalid, "bytes");
    }
}

#[test]
fn float_and_double_data() {
    let values = [1.5f32, -0.0, f32::MAX, f32::MIN_POSITIVE / 2.0];
    let tensor = TensorProto { float_data: values.to_vec(), ..bare(DataType::F32, &[4]) };
    assert_eq!(resolve(tensor).unwrap().bytes, values.map(f32::to_le_bytes).concat());
    let values = [1.5f64, -0.0, f64::MAX];
    let tensor = TensorProto { double_data: values.to_vec(), ..bare(DataType::F64, &[3]) };
    assert_eq!(resolve(tensor).unwrap().bytes, values.map(f64::to_le_bytes).concat());
}

#[test]
fn int32_data_of_every_type() {
    let cases: [(DataType, &[i32], &[u8]); 8] = [
        (DataType::I32, &[i32::MIN, -1], &[0, 0, 0, 128, 255, 255, 255, 255]),
        (DataType::I16, &[-32768, 32767], &[0, 128, 255, 127]),
        (DataType::I8, &[-128, 127], &[128, 127]),
        (DataType::U16, &[0, 65535], &[0, 0, 255, 255]),
        (DataType::U8, &[0, 255], &[0, 255]),
        (DataType::Bool, &[0, 1], &[0, 1]),
        (DataType::F16, &[0x3c00, 0xfc00], &[0, 0x3c, 0, 0xfc]),
        (DataType::Bf16, &[0x3f80, 0xff80], &[0x80, 0x3f, 0x80, 0xff]),
    ];
    for (dtype, values, bytes) in cases {
        let tensor = TensorProto { int32_data: values.to_vec(), ..bare(dtype, &[2]) };
        assert_eq!(resolve(tensor).unwrap().bytes, bytes, "{dtype}");
    }
}

#[test]
fn int64_and_uint64_data() {
    let tensor = TensorProto { int64_data: vec![i64::MIN, -1], ..bare(DataType::I64, &[2]) };
    assert_eq!(resolve(tensor).unwrap().bytes, [i64::MIN.to_le_bytes(), [255; 8]].concat());
    let tensor = TensorProto { uint64_data: vec![u64::MAX], ..bare(DataType::U64, &[1]) };
    assert_eq!(resolve(tensor).unwrap().bytes, [255u8; 8].as_slice());
    let tensor = TensorProto { uint64_data: vec![u64::from(u32::MAX)], ..bare(DataType::U32, &[1]) };
    assert_eq!(resolve(tensor).unwrap().bytes, [255u8; 4].as_slice());
}

#[test]
fn strings() {
    let strings = vec![b"a".to_vec(), vec![], vec![0xff]];
    let data = resolve(write::string_tensor("w", &[3], strings.clone())).unwrap();
    assert_eq!((data.dtype, data.strings, data.bytes.len()), (DataType::String, strings, 0));
}

#[test]
fn scalars_and_empty_tensors() {
    let data = resolve(write::tensor("w", DataType::F32, &[], vec![0; 4])).unwrap();
    assert_eq!((data.dims.len(), data.elements()), (0, 1));
    for tensor in [bare(DataType::F32, &[3, 0]), write::tensor("w", DataType::F32, &[3, 0], vec![])] {
        let data = resolve(tensor).unwrap();
        assert_eq!((data.dims.as_slice(), data.bytes.len()), (&[3, 0][..], 0));
    }
    assert_eq!(resolve(bare(DataType::String, &[0])).unwrap().strings.len(), 0);
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (dtype, value) in [
        (DataType::I8, 128),
        (DataType::I8, -129),
        (DataType::U8, -1),
        (DataType::U8, 256),
        (DataType::I16, 32768),
        (DataType::U16, 65536),
        (DataType::F16, -1),
        (DataType::Bf16, 65536),
        (DataType::Bool, 2),
    ] {
        let tensor = TensorProto { int32_data: vec![0, value], ..bare(dtype, &[2]) };
        let message = format!("model: tensor `w`: invalid element 1: expected {dtype}, found {value}");
        assert_refused(resolve(tensor), ErrorKind::Invalid, &message);
    }
    let tensor = TensorProto { uint64_data: vec![1 << 32], ..bare(DataType::U32, &[1]) };
    assert_refused(resolve(tensor), ErrorKind::Invalid, "invalid element 0: expected u32, found 4294967296");
    let tensor = write::tensor("w", DataType::Bool, &[2], vec![1, 2]);
    assert_refused(resolve(tensor), ErrorKind::Invalid, "invalid element 1: expected bool, found 2");
}

#[test]
fn encodings_of_the_wrong_type_are_refused() {
    let tensor = TensorProto { float_data: vec![1.0], ..bare(DataType::I64, &[1]) };
    let message = "expected elements of another type in float_data, found i64";
    assert_refused(resolve(tensor), ErrorKind::Invalid, message);
    let tensor = TensorProto { int32_data: vec![1], ..bare(DataType::I64, &[1]) };
    assert_refused(
        resolve(tensor),
        ErrorKind::Invalid,
        "expected elements of another type in int32_data, found i64",
    );
    let tensor = write::tensor("w", DataType::String, &[1], vec![0]);
    assert_refused(
        resolve(tensor),
        ErrorKind::Invalid,
        "expected elements of another type in raw_data, found string",
    );
}

#[test]
fn unsupported_types_are_named() {
    for (number, name) in [(14, "COMPLEX64"), (15, "COMPLEX128"), (27, "FLOAT6E2M3")] {
        let tensor = TensorProto { data_type: Some(number), ..bare(DataType::F32, &[1]) };
        let message = format!("tensor `w`: expected elements of numbers or bool, found {name}");
        assert_refused(resolve(tensor), ErrorKind::Unsupported, &message);
    }
    let tensor = TensorProto { data_type: Some(99), ..bare(DataType::F32, &[1]) };
    assert_refused(resolve(tensor), ErrorKind::Invalid, "unknown element type 99");
    let tensor = TensorProto { data_type: None, ..bare(DataType::F32, &[1]) };
    assert_refused(resolve(tensor), ErrorKind::Invalid, "unknown element type 0");
}

#[test]
fn raw_data_is_not_copied() {
    let tensor = |fill| write::tensor("w", DataType::U8, &[64], vec![fill; 64]);
    let bytes = encode(&common::model_of(vec![tensor(7), tensor(8)]));
    let model = decode(&bytes, &Limits::default()).unwrap();
    let tensor = &model.graph().initializer[0];
    let data = model.tensor(tensor).unwrap();
    assert_eq!(data.bytes.as_ptr(), tensor.raw_data.as_ref().unwrap().as_ptr());
    // Both tensors are parts of one buffer: the source.
    let other = model.graph().initializer[1].raw_data.as_ref().unwrap();
    let distance = other.as_ptr() as usize - data.bytes.as_ptr() as usize;
    let in_source = bytes.windows(64).position(|part| part == [8; 64]).unwrap()
        - bytes.windows(64).position(|part| part == [7; 64]).unwrap();
    assert_eq!(distance, in_source);
}

fn sparse(values: &[f32], indices: &[i64], index_dims: &[u64], dims: &[i64]) -> SparseTensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let index_bytes: Vec<u8> = indices.iter().flat_map(|index| index.to_le_bytes()).collect();
    SparseTensorProto {
        values: Some(write::tensor("s", DataType::F32, &[values.len() as u64], bytes)),
        indices: Some(write::tensor("", DataType::I64, index_dims, index_bytes)),
        dims: dims.to_vec(),
    }
}

fn densify(sparse: SparseTensorProto) -> Result<Vec<f32>, dlbc_proto::ProtoError> {
    let mut proto = common::model_of(vec![]);
    proto.graph.as_mut().unwrap().sparse_initializer.push(sparse);
    let model = read(&proto)?;
    let data = model.sparse(&model.graph().sparse_initializer[0])?;
    Ok(floats(&data.bytes))
}

fn floats(bytes: &Bytes) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn sparse_tensors_become_dense() {
    let dense = vec![0.0, 5.0, 0.0, 0.0, 0.0, 7.0];
    assert_eq!(densify(sparse(&[5.0, 7.0], &[1, 5], &[2], &[2, 3])).unwrap(), dense);
    assert_eq!(densify(sparse(&[5.0, 7.0], &[0, 1, 1, 2], &[2, 2], &[2, 3])).unwrap(), dense);
    assert_eq!(densify(sparse(&[], &[], &[0], &[2])).unwrap(), vec![0.0; 2]);
}

#[test]
fn sparse_tensors_are_checked() {
    let invalid = |sparse, message| assert_refused(densify(sparse), ErrorKind::Invalid, message);
    invalid(
        sparse(&[1.0], &[6], &[1], &[2, 3]),
        "index of value 0 is out of range: expected below 6, found 6",
    );
    invalid(
        sparse(&[1.0], &[-1], &[1], &[2, 3]),
        "index of value 0 is out of range: expected below 6, found -1",
    );
    invalid(
        sparse(&[1.0], &[0, 3], &[1, 2], &[2, 3]),
        "index of value 0 is out of range: expected below 3, found 3",
    );
    invalid(sparse(&[1.0, 2.0], &[1, 1], &[2], &[2, 3]), "index of value 1: expected ascending indices");
    invalid(sparse(&[1.0, 2.0], &[3, 1], &[2], &[2, 3]), "index of value 1: expected ascending indices");
    invalid(
        sparse(&[1.0], &[0, 0, 0], &[1, 3], &[2, 3]),
        "expected indices of shape [1] or [1,2], found [1,3]",
    );
    invalid(sparse(&[1.0, 2.0], &[1], &[1], &[2, 3]), "expected indices of shape [2] or [2,2], found [1]");
    invalid(
        SparseTensorProto { values: None, ..sparse(&[], &[], &[0], &[2]) },
        "expected values, found none",
    );
    invalid(
        SparseTensorProto { indices: None, ..sparse(&[], &[], &[0], &[2]) },
        "expected indices, found none",
    );
    invalid(
        sparse(&[1.0], &[0], &[1], &[-2]),
        "tensor `s`: invalid dimension 0: expected at least 0, found -2",
    );
    let huge = sparse(&[1.0], &[0], &[1], &[1 << 40]);
    assert_refused(densify(huge), ErrorKind::Limit, "tensor `s` takes 4398046511104 bytes: the limit is");
    let rank_0_rows = sparse(&[1.0], &[], &[1, 0], &[]);
    assert_eq!(densify(rank_0_rows).unwrap(), [1.0]);
}
