//! Program → artifact; and what all writers share.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::{Prim, Transform};
use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::TensorType;
use dlbc_proto::onnx::{
    FunctionProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use dlbc_proto::{Name, write as onnx};

use crate::lowering::{OnnxLowering, Operands};
use crate::names::CHOSEN_TARGET;
use crate::node_order::node_order;
use crate::onnx_builder::sources::sources;
use crate::onnx_builder::types::{initializer, value_info};
use crate::onnx_builder::{OnnxBuilder, RESULT};
use crate::{ArtifactError, FORMAT, json};

/// The operator set that spellings are written in.
const OPSET: i64 = 17;

/// The format version with metadata of nodes.
const IR_VERSION: i64 = 10;

/// Writes a program as an artifact.
///
/// Its graph outputs are `output/NAME` and `relevance/NAME` of the model's inputs; other program outputs are values that
/// the metadata name.
///
/// # Errors
/// When a primitive has no ONNX spelling for its types.
pub fn write(program: &Program) -> Result<ModelProto, ArtifactError> {
    let graph = &program.graph;
    let of_input: HashSet<Output> = program.info.explanations().map(|(output, _)| output).collect();
    let wanted =
        graph.outputs().iter().filter(|(n, _)| matches!(n, Output::Model(_)) || of_input.contains(n));
    let declared: Vec<(String, Value)> = wanted.map(|(n, v)| (n.to_string(), *v)).collect();
    let mut writer = Writer::new(graph, &declared, true)?;
    for id in node_order(graph) {
        writer.add(id)?;
    }
    let metadata = metadata(program, &writer)?;
    let mut model = writer.finish("dlbc");
    model.ir_version = Some(IR_VERSION);
    model.metadata_props = metadata;
    Ok(model)
}

fn metadata(
    program: &Program,
    writer: &Writer,
) -> Result<Vec<dlbc_proto::onnx::StringStringEntryProto>, ArtifactError> {
    let graph = &program.graph;
    let inputs: Vec<(&str, &TensorType)> =
        graph.inputs().iter().map(|id| (graph.node(*id).name(), &graph.node(*id).types[0])).collect();
    let outputs: Vec<(String, &String)> =
        graph.outputs().iter().map(|(n, v)| (n.to_string(), writer.name(*v))).collect();
    let mut entries = vec![
        onnx::metadata("dlbc.format", FORMAT),
        onnx::metadata("dlbc.version", env!("CARGO_PKG_VERSION")),
        onnx::metadata("dlbc.info", &json::to_string(&program.info)?),
        onnx::metadata("dlbc.inputs", &json::to_string(&inputs)?),
        onnx::metadata("dlbc.outputs", &json::to_string(&outputs)?),
    ];
    // Values that made way for an output: their name in the file and their own.
    let moved: Vec<(&String, &str)> = graph
        .nodes()
        .map(|node| Value { node, slot: 0 })
        .map(|v| (writer.name(v), graph.value_name(v)))
        .filter(|(name, own)| *name != own)
        .collect();
    if !moved.is_empty() {
        entries.push(onnx::metadata("dlbc.names", &json::to_string(&moved)?));
    }
    Ok(entries)
}

/// Writes a graph of primitives as standard nodes, inlined or with functions.
pub(crate) struct Writer<'a> {
    graph: &'a Graph<Prim>,
    builder: OnnxBuilder,
    /// The name of each value in the file.
    names: HashMap<Value, String>,
    functions: Option<Functions>,
    inputs: Vec<ValueInfoProto>,
    /// Constants of the graph.
    initializers: Vec<TensorProto>,
    declared: &'a [(String, Value)],
}

/// The functions of a file.
#[derive(Default)]
struct Functions {
    all: Vec<FunctionProto>,
    /// The name of the function with a body.
    by_body: HashMap<String, String>,
    /// The number of functions that share a name, numbers aside.
    titles: HashMap<String, usize>,
}

impl<'a> Writer<'a> {
    /// A writer of a graph whose outputs in the file are `declared`; with `functions`, or all inlined.
    pub fn new(
        graph: &'a Graph<Prim>,
        declared: &'a [(String, Value)],
        functions: bool,
    ) -> Result<Writer<'a>, ArtifactError> {
        let mut taken: HashSet<String> = HashSet::new();
        let mut outputs: HashMap<&str, Value> = HashMap::new();
        for (name, v) in declared {
            outputs.entry(name).or_insert(*v);
        }
        let value = |node: NodeId| Value { node, slot: 0 };
        for id in graph.nodes() {
            taken.extend(graph.node(id).names.iter().cloned());
        }
        for id in graph.inputs() {
            let name = graph.node(*id).name();
            if outputs.get(name).is_some_and(|v| *v != value(*id)) {
                return Err(ArtifactError::Taken { name: Name::new(name) });
            }
        }
        taken.extend(declared.iter().map(|(n, _)| n.clone()));
        let mut builder = OnnxBuilder::main(sources(graph, CHOSEN_TARGET), taken);
        let mut names = HashMap::new();
        for id in graph.nodes() {
            let own = graph.node(id).name();
            let made_way = outputs.get(own).is_some_and(|v| *v != value(id));
            names.insert(value(id), if made_way { builder.fresh(own) } else { own.to_string() });
        }
        let inputs =
            graph.inputs().iter().map(|id| value_info(graph.node(*id).name(), &graph.node(*id).types[0]));
        let inputs = inputs.collect();
        let functions = functions.then(Functions::default);
        Ok(Writer { graph, builder, names, functions, inputs, initializers: vec![], declared })
    }

    /// The name of a value in the file.
    pub fn name(&self, v: Value) -> &String {
        &self.names[&v]
    }

    /// Adds a node; its operands were added before.
    pub fn add(&mut self, id: NodeId) -> Result<(), ArtifactError> {
        let node = self.graph.node(id);
        let result = self.names[&Value { node: id, slot: 0 }].clone();
        match &node.op {
            Prim::Input => return Ok(()),
            Prim::Const(t) => {
                self.initializers.push(initializer(&result, t));
                return Ok(());
            }
            _ => {}
        }
        let operands = self.graph.node_inputs(id);
        let types: Vec<TensorType> = operands.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let x: Vec<&str> = operands.iter().map(|v| self.names[v].as_str()).collect();
        let at = Operands { x: &x, types: &types };
        self.builder.begin(&result);
        let fail = |reason: String| {
            let op = node.op.name();
            ArtifactError::Spelling { node: Name::new(node.name()), op, reason }
        };
        match &mut self.functions {
            None => inline(&mut self.builder, &node.op, &at, &result).map_err(fail),
            Some(functions) => {
                call_or_inline(&mut self.builder, functions, &node.op, &at, &result).map_err(fail)?;
                let mut metadata = vec![
                    onnx::metadata("dlbc.prim", &json::prim_to_string(&node.op)?),
                    onnx::metadata("dlbc.origin", &json::to_string(&node.origin.nodes)?),
                ];
                // What a body reads from around it is no operand of the file's node.
                if let Prim::Scan(scan) = &node.op {
                    metadata.push(onnx::metadata(
                        "dlbc.captures",
                        &json::to_string(&x[1 + scan.sequences..].to_vec())?,
                    ));
                }
                if let Some(last) = self.builder.nodes.last_mut() {
                    last.metadata_props = metadata;
                }
                Ok(())
            }
        }
    }

    /// The model, when every node is added.
    pub fn finish(mut self, name: &str) -> ModelProto {
        let mut outputs: Vec<ValueInfoProto> = vec![];
        for (name, v) in self.declared {
            if outputs.iter().any(|o| o.name() == name) {
                continue;
            }
            let own = &self.names[v];
            if own != name {
                self.builder.nodes.push(onnx::node("Identity", name, &[own], &[name], vec![]));
            }
            outputs.push(value_info(name, self.graph.ty(*v)));
        }
        let (nodes, main) = self.builder.into_main();
        let nodes: Vec<NodeProto> = main.prelude.into_iter().chain(nodes).collect();
        let initializers = self.initializers.into_iter().chain(main.initializers).collect();
        let mut opsets: Vec<OperatorSetIdProto> = vec![onnx::opset("", OPSET)];
        if self.functions.is_some() {
            opsets.push(onnx::opset("dlbc", 1));
        }
        let mut model = onnx::model(onnx::graph(name, nodes, initializers, self.inputs, outputs), opsets);
        model.functions = self.functions.map(|f| f.all).unwrap_or_default();
        model.producer_name = Some("dlbc".into());
        model.producer_version = Some(env!("CARGO_PKG_VERSION").into());
        model
    }
}

fn inline(builder: &mut OnnxBuilder, prim: &Prim, at: &Operands, result: &str) -> Result<(), String> {
    let value = prim.lower(builder, at)?;
    builder.name_result(&value, result);
    Ok(())
}

/// A primitive of one node as that node, else as the call of a function.
fn call_or_inline(
    builder: &mut OnnxBuilder,
    functions: &mut Functions,
    prim: &Prim,
    at: &Operands,
    result: &str,
) -> Result<(), String> {
    let formals: Vec<String> = (0..at.x.len()).map(|i| format!("x{i}")).collect();
    let x: Vec<&str> = formals.iter().map(String::as_str).collect();
    let mut body = OnnxBuilder::function();
    inline(&mut body, prim, &Operands { x: &x, types: at.types }, RESULT)?;
    if body.nodes.len() - body.constants <= 1 {
        return inline(builder, prim, at, result);
    }
    let mut arguments: Vec<String> = at.x.iter().map(ToString::to_string).collect();
    for vector in body.vectors() {
        arguments.push(builder.vector(vector)?);
    }
    let dims = (0..body.vectors().len()).map(|i| format!("d{i}"));
    let formals: Vec<String> = formals.into_iter().chain(dims).collect();
    let function = functions.with_body(prim, &formals, body.nodes);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    builder.nodes.push(onnx::node_in("dlbc", &function, result, &arguments, &[result], vec![]));
    Ok(())
}

impl Functions {
    /// The name of the function with this body; made when it is new.
    fn with_body(&mut self, prim: &Prim, formals: &[String], body: Vec<NodeProto>) -> String {
        let key = format!("{formals:?} {body:?}");
        if let Some(name) = self.by_body.get(&key) {
            return name.clone();
        }
        let title = title(prim);
        let count = self.titles.entry(title.clone()).or_insert(0);
        *count += 1;
        let name = if *count == 1 { title } else { format!("{title}_{count}") };
        let formals: Vec<&str> = formals.iter().map(String::as_str).collect();
        let opsets = vec![onnx::opset("", OPSET)];
        let mut function = onnx::function("dlbc", &name, &formals, &[RESULT], body, opsets);
        function.doc_string = Some(format!("{}{}", prim.name(), prim.attributes()));
        self.all.push(function);
        self.by_body.insert(key, name.clone());
        name
    }
}

/// The primitive's name, with the transforms of its operands.
fn title(prim: &Prim) -> String {
    let transforms = prim.parts().into_iter().filter(|part| *part != Transform::Id);
    transforms.fold(prim.name(), |title, part| format!("{title}{part:?}"))
}
