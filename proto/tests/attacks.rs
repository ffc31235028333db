//! Models that try to make their reader do something else than read them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_refused, bare, model_of, model_with, nested, read, resolve};
use dlbc_proto::{
    DataType, ErrorKind, Limits, MAX_MESSAGE_BYTES, Model, decode, encode,
    onnx::{
        AttributeProto, FunctionProto, ModelProto, SparseTensorProto, StringStringEntryProto, TensorProto,
        tensor_proto::{DataLocation, Segment},
    },
    read_model, write,
};

fn decode_bytes(bytes: &[u8]) -> Result<Model, dlbc_proto::ProtoError> {
    decode(bytes, &Limits::default())
}

/// A tensor that gives its elements twice.
fn dual() -> TensorProto {
    TensorProto { float_data: vec![1.0], ..write::tensor("w", DataType::F32, &[1], vec![0; 4]) }
}

#[test]
fn every_prefix_is_refused() {
    let mut model = model_of(vec![write::tensor("w", DataType::F32, &[2], vec![0; 8])]);
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(write::node(
        "Constant",
        "/c",
        &[],
        &["c"],
        vec![write::attr_ints("value_ints", [1, -2]), write::attr_floats("f", [1.0])],
    ));
    let bytes = encode(&model);
    assert!(decode_bytes(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert_refused(decode_bytes(&bytes[..length]), ErrorKind::Invalid, "model: ");
    }
}

#[test]
fn changed_bytes_never_panic() {
    let bytes = encode(&model_of(vec![write::tensor("w", DataType::F32, &[2], vec![0; 8])]));
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 7, bytes[at].wrapping_add(1)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Ok(model) = decode_bytes(&changed) {
                for tensor in &model.graph().initializer {
                    let _ = model.tensor(tensor);
                }
            }
        }
    }
}

#[test]
fn garbage_is_refused() {
    for bytes in [
        &b""[..],
        b"PK\x03\x04",
        b"\x00",
        b"<html>",
        &[0xff; 100],
        b"\x0b\x0c",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ] {
        let error = decode_bytes(bytes).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn headers_are_checked() {
    let invalid = |change: &dyn Fn(&mut ModelProto), message| {
        let mut model = model_of(vec![]);
        change(&mut model);
        assert_refused(read(&model), ErrorKind::Invalid, message);
        assert_refused(Model::from_proto(model, &Limits::default()), ErrorKind::Invalid, message);
    };
    invalid(&|model| model.graph = None, "model: expected a model with a graph, found none");
    invalid(&|model| model.ir_version = None, "with an ir_version, found none");
    invalid(&|model| model.opset_import.clear(), "imports an operator set, found none");
    invalid(
        &|model| model.opset_import.push(write::opset("ai.onnx", 18)),
        "expected one version, found 17 and 18",
    );
    invalid(&|model| model.opset_import[0].version = None, "expected a version of at least 1, found 0");
    let function = write::function("d", "f", &[], &[], vec![], vec![]);
    invalid(
        &|model| model.functions = vec![function.clone(), function.clone()],
        "function `d.f`: expected one definition, found two",
    );
    for version in [1, 2, 15, i64::MAX] {
        let model = ModelProto { ir_version: Some(version), ..model_of(vec![]) };
        assert_refused(read(&model), ErrorKind::Unsupported, "expected ir_version 3 to 14");
    }
    let mut twice = model_of(vec![]);
    twice.opset_import.push(write::opset("", 17));
    assert!(read(&twice).is_ok());
    let mut bytes = encode(&model_of(vec![]));
    bytes.extend_from_slice(b"\x3a\x00");
    assert_refused(
        decode_bytes(&bytes),
        ErrorKind::Invalid,
        "expected a model with one graph, found several",
    );
}

#[test]
fn elements_given_twice_are_refused_wherever_they_are() {
    let message = "expected elements in one place, found them in raw_data and in float_data";
    let mut models = vec![model_of(vec![dual()])];
    let constant = |attribute: AttributeProto| write::node("Constant", "/c", &[], &["c"], vec![attribute]);
    let in_attribute = constant(write::attr_tensor("value", dual()));
    models.push(model_with(vec![in_attribute.clone()]));
    models.push(model_with(vec![constant(AttributeProto { tensors: vec![dual()], ..Default::default() })]));
    let branch = write::graph("b", vec![in_attribute.clone()], vec![], vec![], vec![]);
    models.push(model_with(vec![write::node("If", "", &[], &[], vec![write::attr_graph("g", branch)])]));
    let sparse = SparseTensorProto { indices: Some(dual()), ..Default::default() };
    let mut model = model_of(vec![]);
    model.graph.as_mut().unwrap().sparse_initializer.push(sparse.clone());
    models.push(model);
    let attribute = AttributeProto { sparse_tensor: Some(Box::new(sparse)), ..Default::default() };
    models.push(model_with(vec![constant(attribute)]));
    let body = write::function("d", "f", &[], &[], vec![in_attribute], vec![]);
    models.push(ModelProto { functions: vec![body], ..model_of(vec![]) });
    let default = vec![write::attr_tensor("value", dual())];
    let function = FunctionProto { attribute_proto: default, ..Default::default() };
    models.push(ModelProto { functions: vec![function], ..model_of(vec![]) });
    for model in models {
        assert_refused(read(&model), ErrorKind::Invalid, message);
    }
}

#[test]
fn external_and_inner_elements_together_are_refused() {
    let mut tensor = common::external(&[4], &[("location", "w.bin")]);
    tensor.raw_data = Some(vec![0; 4].into());
    assert_refused(
        resolve(tensor),
        ErrorKind::Invalid,
        "in one place, found them in raw_data and in external_data",
    );
    let mut tensor = write::tensor("w", DataType::U8, &[4], vec![0; 4]);
    tensor.external_data.push(StringStringEntryProto::default());
    assert_refused(resolve(tensor), ErrorKind::Invalid, "expected data_location EXTERNAL");
}

#[test]
fn an_unnamed_tensor_is_known_by_its_node() {
    let mut tensor = dual();
    tensor.name = None;
    let node = write::node("Constant", "/c", &[], &["out"], vec![write::attr_tensor("value", tensor)]);
    assert_refused(read(&model_with(vec![node])), ErrorKind::Invalid, "tensor `/c.value`: ");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let tensor = write::tensor("w", DataType::F32, &[2, 3], vec![0; 20]);
    let message = "model: tensor `w`: invalid raw_data of f32[2,3]: expected 24 bytes, found 20";
    assert_refused(resolve(tensor), ErrorKind::Invalid, message);
    let tensor = TensorProto { float_data: vec![0.0; 5], ..bare(DataType::F32, &[2, 3]) };
    assert_refused(
        resolve(tensor),
        ErrorKind::Invalid,
        "invalid float_data of f32[2,3]: expected 6 elements, found 5",
    );
    let tensor = TensorProto { int32_data: vec![0; 5], ..bare(DataType::U8, &[4]) };
    assert_refused(
        resolve(tensor),
        ErrorKind::Invalid,
        "invalid int32_data of u8[4]: expected 4 elements, found 5",
    );
    let tensor = write::string_tensor("w", &[3], vec![vec![]]);
    assert_refused(
        resolve(tensor),
        ErrorKind::Invalid,
        "invalid string_data of string[3]: expected 3 elements, found 1",
    );
    assert_refused(resolve(bare(DataType::F32, &[1])), ErrorKind::Invalid, "expected elements, found none");
    assert_refused(
        resolve(bare(DataType::F32, &[2, -1])),
        ErrorKind::Invalid,
        "invalid dimension 1: expected at least 0, found -1",
    );
    let tensor = TensorProto { segment: Some(Segment::default()), ..bare(DataType::F32, &[0]) };
    assert_refused(resolve(tensor), ErrorKind::Unsupported, "expected a whole tensor, found a segment");
}

#[test]
fn huge_shapes_are_refused_as_a_limit() {
    for dims in
        [&[1i64 << 60][..], &[1 << 30, 1 << 30], &[1 << 62, 1 << 62], &[0, 1 << 62, 1 << 62], &[i64::MAX; 8]]
    {
        let tensor = TensorProto { raw_data: Some(vec![0; 4].into()), ..bare(DataType::F32, dims) };
        assert_refused(resolve(tensor), ErrorKind::Limit, "has too many elements");
    }
    let tensor = TensorProto { raw_data: Some(vec![0; 4].into()), ..bare(DataType::F32, &[1 << 59]) };
    assert_refused(resolve(tensor), ErrorKind::Limit, "bytes: the limit is 8589934592");
    let limits = Limits { max_tensor_bytes: 7, ..Limits::default() };
    let model = model_of(vec![write::tensor("w", DataType::F32, &[2], vec![0; 8])]);
    let model = decode(&encode(&model), &limits).unwrap();
    let refused = model.tensor(&model.graph().initializer[0]);
    assert_refused(refused, ErrorKind::Limit, "8 bytes: the limit is 7");
}

#[test]
fn nesting_is_limited() {
    let depth = Limits::default().max_depth;
    let typed = |mut model: ModelProto| {
        model.graph.as_mut().unwrap().name = Some("main".into());
        model
    };
    assert!(read(&typed(nested(depth))).is_ok());
    for depth in [depth + 1, 200, 1000] {
        let message = "graphs are nested too deep: the limit is 32";
        assert_refused(read(&nested(depth)), ErrorKind::Limit, message);
    }
    let limits = Limits { max_depth: 1000, ..Limits::default() };
    let refused = decode(&encode(&nested(200)), &limits);
    assert_refused(refused, ErrorKind::Limit, "messages are nested too deep: the limit is 100");
    let from_proto = Model::from_proto(nested(40), &Limits::default());
    assert_refused(from_proto, ErrorKind::Limit, "graphs are nested too deep: the limit is 32");
}

#[test]
fn the_scan_is_as_deep_as_the_decoder() {
    let limits = Limits { max_depth: 1000, ..Limits::default() };
    let accepted = (1..60).filter(|&depth| decode(&encode(&nested(depth)), &limits).is_ok()).count();
    assert_eq!(accepted, 34, "graph 1 + 33 × 3 = 100 messages");
    let types = |depth: usize| {
        let mut bytes = vec![];
        for _ in 0..depth {
            bytes = [field(1, &bytes), vec![]].concat();
            bytes = field(4, &bytes);
        }
        [encode(&model_of(vec![])), vec![]]
            .concat()
            .into_iter()
            .chain(field(25, &field(12, &field(2, &bytes))))
            .collect::<Vec<u8>>()
    };
    for depth in 1..200 {
        let result = decode(&types(depth), &limits);
        match depth {
            ..=48 => assert!(result.is_ok(), "{depth}"),
            _ => assert_refused(result, ErrorKind::Limit, "messages are nested"),
        }
    }
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let mut key = u32::from(number) << 3 | 2;
    while key > 0x7f {
        bytes.push(key as u8 | 0x80);
        key >>= 7;
    }
    bytes.push(key as u8);
    let mut length = content.len();
    while length > 0x7f {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn nodes_are_counted_over_graphs_and_functions() {
    let node = write::node("Relu", "", &["x"], &["y"], vec![]);
    let body = write::graph("b", vec![node.clone(); 3], vec![], vec![], vec![]);
    let outer = write::node("If", "", &[], &[], vec![write::attr_graph("g", body)]);
    let mut model = model_with(vec![outer, node.clone()]);
    model.functions.push(write::function("d", "f", &[], &[], vec![node.clone(); 2], vec![]));
    for (max_nodes, is_refused) in [(6, true), (7, false)] {
        let limits = Limits { max_nodes, ..Limits::default() };
        for result in [decode(&encode(&model), &limits), Model::from_proto(model.clone(), &limits)] {
            match is_refused {
                true => {
                    assert_refused(result, ErrorKind::Limit, "the model has too many nodes: the limit is 6")
                }
                false => assert!(result.is_ok()),
            }
        }
    }
}

#[test]
fn small_files_cannot_become_big_models() {
    // Two bytes in the file, hundreds in memory: empty nodes, tensors, names.
    for (number, message) in [(1, "too many nodes: the limit is 1000000"), (5, "the decoded model takes")] {
        let graph = field(number, b"").repeat(4_000_000);
        let bytes = field(7, &graph);
        assert_refused(decode_bytes(&bytes), ErrorKind::Limit, message);
    }
    let limits = Limits { max_model_bytes: 100, ..Limits::default() };
    let model = encode(&model_of(vec![write::tensor("w", DataType::U8, &[200], vec![0; 200])]));
    assert_refused(decode(&model, &limits), ErrorKind::Limit, "the model file takes");
    let limits = Limits { max_model_bytes: model.len() as u64, ..Limits::default() };
    assert!(decode(&model, &limits).is_ok());
}

#[test]
fn files_larger_than_a_message_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.onnx");
    std::fs::File::create(&path).unwrap().set_len(MAX_MESSAGE_BYTES + 1).unwrap();
    let message = "big.onnx`: the model file takes 2147483648 bytes: the limit is 2147483647";
    assert_refused(read_model(&path, &Limits::default()), ErrorKind::Limit, message);
}

#[test]
fn things_that_are_not_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(
        read_model(folder.path(), &Limits::default()),
        ErrorKind::Invalid,
        "expected a regular file",
    );
    let missing = folder.path().join("missing.onnx");
    assert_refused(read_model(&missing, &Limits::default()), ErrorKind::Io, "cannot read `");
    let empty = folder.path().join("empty.onnx");
    std::fs::write(&empty, b"").unwrap();
    assert_refused(
        read_model(&empty, &Limits::default()),
        ErrorKind::Invalid,
        "expected a model with a graph",
    );
}

#[test]
fn names_cannot_control_a_terminal() {
    let mut tensor = dual();
    tensor.name = Some("\u{1b}]0;x\u{7}\n\u{202e}".into());
    let error = read(&model_of(vec![tensor])).err().unwrap().to_string();
    assert!(error.contains(r"`\u{1b}]0;x\u{7}\n\u{202e}`"), "{error}");
}

#[test]
fn external_data_need_a_file() {
    let mut tensor = common::external(&[4], &[("location", "w.bin")]);
    let message = "model: tensor `w`, external data `w.bin`: expected a model that is read from a file";
    assert_refused(resolve(tensor.clone()), ErrorKind::Invalid, message);
    tensor.data_location = Some(DataLocation::External as i32);
    let from_proto = Model::from_proto(model_of(vec![tensor]), &Limits::default());
    assert_refused(from_proto, ErrorKind::Invalid, message);
}
