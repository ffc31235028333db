//! Program → one plain model: standard operators only, the seed computed in the graph.

use std::collections::HashSet;

use dlbc_ops::graph::Value;
use dlbc_ops::program::{Program, SEED};
use dlbc_ops::tensor::{DType, Dim, TensorType};
use dlbc_proto::onnx::{ModelProto, NodeProto};
use dlbc_proto::{DataType, Name, write as onnx};

use crate::ArtifactError;
use crate::write::{Writer, value_info};

/// The optional input that chooses the explained unit.
const TARGET: &str = "dlbc_target";

/// Writes forward and relevance as one plain model of opset 17.
///
/// Inputs: the model's, and the optional `dlbc_target` (int64, a value a batch row or one for all; -1, its default: the
/// greatest unit). Outputs: the model's by their names, and `relevance/NAME` for each explained input. The starting
/// relevance of a row is `multiplier`.
///
/// # Errors
/// When a primitive has no spelling, or the explained output is not of rank 1 to 3.
pub fn export(program: &Program, multiplier: f32) -> Result<ModelProto, ArtifactError> {
    let mut graph = program.graph.clone();
    let wanted: HashSet<String> = program.info.inputs.iter().map(|i| format!("relevance/{}", i.name)).collect();
    let outputs: Vec<(String, Value)> = graph
        .outputs()
        .iter()
        .filter(|(n, _)| n.starts_with("output/") || wanted.contains(n))
        .cloned()
        .collect();
    graph.set_outputs(outputs.clone());
    graph.remove_unused();
    let mut w = Writer::new(&graph, false);
    let strip = |n: &str| n.strip_prefix("output/").unwrap_or(n).to_string();
    // A value that has the name of an output that it is not makes way.
    for (name, v) in &outputs {
        let name = strip(name);
        if let Some(other) = graph.find(&name).filter(|o| o != v && !graph.inputs().contains(&o.node)) {
            w.renamed.insert(other, format!("{name}.value"));
        }
    }
    let explained = outputs.iter().find(|(n, _)| *n == format!("output/{}", program.info.explained)).map(|(_, v)| *v);
    let explained = explained.ok_or_else(|| ArtifactError::Damaged("the explained output is missing".into()))?;
    let ty = graph.ty(explained).clone();
    let mut seeded = false;
    for id in graph.inputs().iter().filter(|id| graph.node(**id).name() != SEED) {
        w.inputs.push(value_info(graph.node(*id).name(), &graph.node(*id).types[0]));
    }
    let mut target = value_info(TARGET, &TensorType::new(DType::I64, vec![Dim::symbol("dlbc_targets")]));
    target.doc_string = Some("the explained unit of each batch row, or one for all; -1: the greatest".into());
    w.inputs.push(target);
    w.initializer(onnx::tensor(TARGET, DataType::I64, &[1], (-1i64).to_le_bytes().to_vec()));
    for id in graph.topological() {
        w.node(id)?;
        if id == explained.node && !seeded {
            seed(&mut w, explained, &ty, &program.info.explained, multiplier)?;
            seeded = true;
        }
    }
    for (name, v) in &outputs {
        w.output(&strip(name), *v);
    }
    let mut model = w.finish("dlbc_explained");
    sort(&mut model);
    Ok(model)
}

/// The nodes that make the seed from the explained output.
fn seed(w: &mut Writer, y: Value, ty: &TensorType, output: &str, multiplier: f32) -> Result<(), ArtifactError> {
    let name = w.name(y);
    let dims = &ty.shape.0;
    let (int, n) = (onnx::attr_int, |s: &str| format!("{SEED}/{s}"));
    let mut add = |op: &str, out: &str, inputs: &[&str], attributes| {
        let node: NodeProto = onnx::node(op, out, inputs, &[out], attributes);
        w.nodes.push(node);
    };
    let constant = |t| vec![onnx::attr_tensor("value", t)];
    let i64s = |v: &[i64]| {
        onnx::tensor("", DataType::I64, &[v.len() as u64], v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    };
    let floats = [0.0f32, multiplier].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    add("Constant", &n("zero"), &[], constant(i64s(&[0])));
    add("Constant", &n("values"), &[], constant(onnx::tensor("", DataType::F32, &[2], floats)));
    // The rows to explain, [batch, unit].
    let rows = match dims.len() {
        1 => {
            add("Constant", &n("axis"), &[], constant(i64s(&[0])));
            add("Unsqueeze", &n("rows"), &[&name, &n("axis")], vec![]);
            n("rows")
        }
        2 => name,
        3 => {
            add("Constant", &n("last"), &[], constant(onnx::tensor("", DataType::I64, &[], (-1i64).to_le_bytes().to_vec())));
            add("Gather", &n("rows"), &[&name, &n("last")], vec![int("axis", 1)]);
            n("rows")
        }
        _ => return Err(ArtifactError::Seed { output: Name::new(output), ty: ty.to_string() }),
    };
    add("ArgMax", &n("argmax"), &[&rows], vec![int("axis", -1), int("keepdims", 0)]);
    add("Less", &n("free"), &[TARGET, &n("zero")], vec![]);
    add("Where", &n("unit"), &[&n("free"), &n("argmax"), TARGET], vec![]);
    add("Shape", &n("shape"), &[&rows], vec![int("start", -1)]);
    let single = if dims.len() == 2 { SEED.to_string() } else { n("single") };
    add("OneHot", &single, &[&n("unit"), &n("shape"), &n("values")], vec![int("axis", -1)]);
    match dims.len() {
        1 => add("Squeeze", SEED, &[&single, &n("axis")], vec![]),
        3 => {
            add("Constant", &n("axis"), &[], constant(i64s(&[1])));
            add("Unsqueeze", &n("placed"), &[&single, &n("axis")], vec![]);
            let before = &dims[1] - &Dim::known(1);
            let zero = || Dim::known(0);
            let pads = w.dims.vector(&[zero(), before, zero(), zero(), zero(), zero()]);
            w.nodes.push(onnx::node("Pad", SEED, &[&n("placed"), &pads], &[SEED], vec![]));
        }
        _ => {}
    }
    Ok(())
}

/// Puts the nodes in an order that ONNX accepts: the seed's stand where its output is made.
fn sort(model: &mut ModelProto) {
    let Some(graph) = model.graph.as_mut() else { return };
    let mut made: HashSet<String> = graph.input.iter().map(|i| i.name().to_string()).collect();
    made.extend(graph.initializer.iter().map(|t| t.name().to_string()));
    let mut waiting: Vec<NodeProto> = std::mem::take(&mut graph.node);
    // The graph is acyclic, so every round places some node.
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = vec![];
        for node in waiting {
            if node.input.iter().all(|i| i.is_empty() || made.contains(i)) {
                made.extend(node.output.iter().cloned());
                graph.node.push(node);
            } else {
                later.push(node);
            }
        }
        waiting = later;
        if waiting.len() == before {
            graph.node.append(&mut waiting);
        }
    }
}
