//! Artifacts read back; damaged ones are refused.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{dim, dims, program, ty, values};
use dlbc_artifact::{ArtifactError, is_artifact, read, write};
use dlbc_ops::graph::Origin;
use dlbc_ops::prim::{
    self, Binary, Builder, ConvGeometry, PadMode, Prim, Reduction, Scan, Transform, Unary, Window,
};
use dlbc_ops::program::{Output, Program, TrackKind};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_proto::onnx::ModelProto;
use dlbc_proto::{Limits, decode, encode};
use proptest::prelude::*;

fn window() -> Window {
    Window { strides: vec![2, 1], before: vec![1, 0], after: vec![1, 0], ..Window::unit(&[3, 2]) }
}

/// A program with most primitives.
fn rich() -> Program {
    program(|b| {
        let origin = Origin::onnx("/conv", "Conv").join(&Origin::onnx("/relu", "Relu"));
        let x = b.input("x", ty("f32[n,4,h,6]"));
        b.set_origin(&origin, "first");
        let weight = b.constant("w", values(&ty("f32[6,2,3,2]"), 1));
        let half = b.constant("half", values(&ty("bf16[6]"), 2));
        let bias = b.cast(half, DType::F32);
        let geometry = ConvGeometry { window: window(), groups: 2 };
        let y = b.conv(&geometry, x, weight, Transform::Abs, Some(bias));
        let spatial = dims(&["h", "6"]);
        let back = b.conv_transpose(&geometry, y, weight, Transform::Neg, &spatial);
        b.set_origin(&Origin::onnx("/pool", "MaxPool"), "second");
        let pooled = b.add(prim::WindowMax(window()), &[back]);
        let shared = b.add(prim::WindowMaxShare { window: window(), first: false }, &[back, pooled, pooled]);
        let clipped = b.unary(Unary::Clip { min: Some(f32::NEG_INFINITY), max: Some(0.1) }, shared);
        let divided = b.guarded_div(clipped, x);
        let mode = PadMode::Constant(f32::NEG_INFINITY);
        let (before, after) = (dims(&["0", "0", "h", "0"]), dims(&["0", "0", "0", "1"]));
        let padded = b.add(prim::Pad { before, after, mode }, &[divided]);
        let flat = b.reshape(padded, &ty("f32[n,56*h]").shape);
        let part = Prim::Slice(prim::Slice { axis: 1, start: dim("h"), len: dim("h"), step: 1 });
        let part = b.add(part, &[flat]);
        let length = b.add(prim::Dims { dims: vec![1], values: dims(&["floor(h-1/(2))+1"]) }, &[]);
        let steps = b.add(prim::Iota { len: dim("h") }, &[]);
        let steps = b.binary(Binary::Add, steps, length);
        let best = b.add(prim::Reduce { kind: Reduction::ArgMax, axes: vec![1], keep: true }, &[part]);
        let less = b.binary(Binary::Less, steps, best);
        let sequence = b.input("sequence", ty("f32[t,n,4]"));
        let first = b.add(prim::Slice { axis: 0, start: dim("0"), len: dim("1"), step: 1 }, &[sequence]);
        let first = b.reshape(first, &ty("f32[n,4]").shape);
        let (scan, constants) = Scan::from_step(step(), 1, true);
        let taken = constants.into_iter().map(|(name, t)| b.constant(&name, t)).collect::<Vec<_>>();
        let states = b.add(Prim::Scan(scan), &[vec![first, sequence], taken].concat());
        vec![part, less, length, states]
    })
}

/// A step of a recurrence, with a number that JSON does not have.
fn step() -> dlbc_ops::graph::Graph<Prim> {
    let mut b = Builder::new();
    let (state, x) = (b.input("state", ty("f32[n,4]")), b.input("x", ty("f32[n,4]")));
    let factor = b.constant("factor", values(&ty("f32[4]"), 3));
    let decayed = b.mul(state, factor);
    let sum = b.plus(decayed, x);
    let next = b.unary(Unary::Clip { min: Some(f32::NEG_INFINITY), max: Some(3.0) }, sum);
    b.graph_mut().add_output(Output::value("next"), next);
    b.finish()
}

fn reread(model: &ModelProto) -> Result<Program, ArtifactError> {
    read(&decode(&encode(model), &Limits::default())?)
}

#[test]
fn a_program_reads_back() {
    let program = rich();
    let model = write(&program).unwrap();
    assert!(is_artifact(&model));
    let again = reread(&model).unwrap();
    assert_eq!(again.graph.to_string(), program.graph.to_string());
    assert_eq!(again.info, program.info);
    for id in again.graph.nodes() {
        let Prim::Const(t) = again.graph.op(id) else { continue };
        let original = program.graph.find(again.graph.node(id).name()).unwrap();
        assert!(matches!(program.graph.op(original.node), Prim::Const(o) if o == t));
    }
    let second = write(&again).unwrap();
    assert_eq!(encode(&write(&reread(&second).unwrap()).unwrap()), encode(&second));
}

#[test]
fn a_value_with_the_name_of_an_output_is_renamed_in_the_file() {
    let mut program = program(|b| {
        let x = b.input("x", ty("f32[3]"));
        let y = b.unary(Unary::Relu, x);
        b.graph_mut().rename(y, "output/0");
        let c = b.constant("output/1", Tensor::from_f32(&[3], &[1.0, 2.0, 3.0]));
        let z = b.plus(y, c);
        vec![z, y]
    });
    let y = program.graph.find("output/0").unwrap();
    program.graph.add_output(Output::relevance(TrackKind::Single, "y"), y);
    let again = reread(&write(&program).unwrap()).unwrap();
    assert_eq!(again.graph.to_string(), program.graph.to_string());
}

#[test]
fn weights_may_stand_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.onnx");
    let options = dlbc_proto::WriteOptions { external_above: Some(0) };
    dlbc_proto::write_model_with(&path, &write(&rich()).unwrap(), &options).unwrap();
    let again = read(&dlbc_proto::read_model(&path, &Limits::default()).unwrap()).unwrap();
    assert_eq!(again.graph.to_string(), rich().graph.to_string());
}

#[test]
fn a_plain_model_is_not_an_artifact() {
    let model = dlbc_artifact::write_plain_model(&rich().graph).unwrap();
    assert!(!is_artifact(&model));
    assert!(matches!(reread(&model), Err(ArtifactError::Format { .. })));
}

/// Replaces the primitive of the first node whose primitive has `part` in it.
fn with_prim(part: &str, prim: &str) -> Result<Program, ArtifactError> {
    let mut model = write(&rich()).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let entries = nodes.iter_mut().flat_map(|n| &mut n.metadata_props);
    let mut entry = entries.filter(|p| p.key() == "dlbc.prim" && p.value().contains(part));
    entry.next().unwrap().value = Some(prim.into());
    reread(&model)
}

/// A scan in writing.
fn scan(lines: &str, result: usize, sequences: usize) -> String {
    let body = format!("{{\"lines\":[{lines}],\"result\":{result}}}");
    format!("{{\"Scan\":{{\"body\":{body},\"sequences\":{sequences},\"reverse\":false}}}}")
}

fn input(name: &str, dims: &str) -> String {
    format!(
        "{{\"name\":\"{name}\",\"prim\":\"Input\",\"ty\":{{\"dtype\":\"F32\",\"shape\":{dims}}},\"operands\":[]}}"
    )
}

/// Reads a value that no node computes.
const LINE: &str = "{\"name\":\"y\",\"prim\":{\"Binary\":\"Add\"},\"ty\":{\"dtype\":\"F32\",\"shape\":[\"n\",4]},\"operands\":[0,9]}";

#[test]
fn damaged_primitives_are_refused() {
    let max = usize::MAX;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let grows = vec!["floor(a+b+c+d+e+f+g+h/(1))"; 100].join("*");
    for (part, prim) in [
        ("Unary", "{".into()),
        ("Unary", deep),
        ("Unary", "\"Input\"".into()),
        ("Unary", "{\"Const\":null}".into()),
        ("Unary", "{\"Iota\":{\"len\":5}}".into()),
        ("Unary", format!("{{\"Gather\":{{\"axis\":{max}}}}}")),
        ("GuardedDiv", format!("{{\"ScatterAdd\":{{\"axis\":{max},\"to\":3}}}}")),
        ("GuardedDiv", format!("{{\"ScatterAdd\":{{\"axis\":{},\"to\":3}}}}", max - 1)),
        ("Reshape", "{\"Reshape\":{\"to\":[-1,-1]}}".into()),
        ("Reshape", format!("{{\"Expand\":{{\"to\":[{},1,1,1]}}}}", i64::MAX)),
        ("Reshape", format!("{{\"Reshape\":{{\"to\":[\"{grows}\"]}}}}")),
        ("\"Slice\"", format!("{{\"Slice\":{{\"axis\":1,\"start\":0,\"len\":{},\"step\":1}}}}", i64::MIN)),
        ("\"Slice\"", format!("{{\"Slice\":{{\"axis\":1,\"start\":0,\"len\":2,\"step\":{}}}}}", i64::MIN)),
        ("\"Scan\"", scan("", 0, 1)),
        ("\"Scan\"", scan(&input("s", "[\"n\",4]"), 7, 1)),
        ("\"Scan\"", scan(&input("s", "[\"n\",4]"), 0, 0)),
        ("\"Scan\"", scan(&input("s", "[\"n\",4]"), 0, max)),
        ("\"Scan\"", scan(&format!("{},{},{}", input("s", "[\"n\",4]"), input("x", "[\"n\",4]"), input("f", "[5]")), 0, 1)),
        ("\"Scan\"", scan(&format!("{},{},{}", input("s", "[\"n\",4]"), input("x", "[\"n\",4]"), LINE), 2, 1)),
        ("\"Scan\"", scan(&LINE.replace("[0,9]", "[0,0]"), 0, 1)),
        ("Dims", "{\"Dims\":{\"dims\":[5],\"values\":[1]}}".into()),
        ("Dims", format!("{{\"Dims\":{{\"dims\":[{max},{max}],\"values\":[1]}}}}")),
        ("Iota", format!("{{\"Iota\":{{\"len\":{}}}}}", i64::MAX)),
        ("Reduce", "{\"Reduce\":{\"kind\":\"ArgMax\",\"axes\":[1,1],\"keep\":true}}".into()),
        ("WindowMax\"", "{\"WindowMax\":{\"kernel\":[0],\"strides\":[],\"before\":[],\"after\":[],\"dilations\":[],\"ceil\":true}}".into()),
    ] {
        assert!(with_prim(part, &prim).is_err(), "{prim}");
    }
}

#[test]
fn damaged_files_are_refused() {
    type Damage = fn(&mut ModelProto);
    let damages: [(&str, Damage); 10] = [
        ("no info", |m| m.metadata_props.retain(|p| p.key() != "dlbc.info")),
        ("no outputs", |m| m.metadata_props.retain(|p| p.key() != "dlbc.outputs")),
        ("format", |m| m.metadata_props[0].value = Some("0".into())),
        ("order", |m| m.graph.as_mut().unwrap().node.reverse()),
        ("no nodes", |m| m.graph.as_mut().unwrap().node.clear()),
        ("no constants", |m| m.graph.as_mut().unwrap().initializer.clear()),
        ("no inputs", |m| m.graph.as_mut().unwrap().input.clear()),
        ("a node twice", |m| {
            let nodes = &mut m.graph.as_mut().unwrap().node;
            let last = nodes.last().unwrap().clone();
            let node = nodes.iter().rev().find(|n| !n.metadata_props.is_empty()).cloned().unwrap_or(last);
            nodes.push(node);
        }),
        ("no operands", |m| m.graph.as_mut().unwrap().node.iter_mut().for_each(|n| n.input.clear())),
        ("no results", |m| m.graph.as_mut().unwrap().node.iter_mut().for_each(|n| n.output.clear())),
    ];
    for (what, damage) in damages {
        let mut model = write(&rich()).unwrap();
        damage(&mut model);
        let read = reread(&model);
        assert!(read.is_err(), "{what}");
    }
}

#[test]
fn errors_name_the_node() {
    let error = with_prim("GuardedDiv", "{\"Binary\":\"And\"}").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("second/GuardedDiv"), "{error}");
}

proptest! {
    /// Bytes changed anywhere: an error or a program, never a panic.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = encode(&write(&rich()).unwrap());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(model) = decode(&bytes, &Limits::default()) {
            let _ = read(&model);
        }
    }
}

#[test]
fn a_symbol_of_no_input_cannot_be_lowered() {
    let mut b = Builder::new();
    let x = b.input("x", ty("f32[n+1]"));
    let y = b.add(prim::Iota { len: dim("n") }, &[]);
    let mut graph = b.finish();
    graph.add_output("x", x);
    graph.add_output("y", y);
    let Err(error) = dlbc_artifact::write_plain_model(&graph) else { panic!("it was written") };
    assert!(error.is_unsupported() && error.to_string().contains("found `n`"), "{error}");
}
