//! Program → artifact, and the writer of graphs that artifact and export share.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::{Prim, Transform};
use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::{Tensor, TensorType};
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
use crate::{ArtifactError, FORMAT, compact, json};

/// Opset of ai.onnx that primitives lower to.
const OPSET: i64 = 17;

/// Version of the ONNX format; the first one with metadata of nodes.
const IR_VERSION: i64 = 10;

/// Writes a program as an artifact.
///
/// Its graph outputs are the model's outputs as `output/NAME` and the relevance of the model's inputs as `relevance/NAME`.
/// All other program outputs are inner values, which the metadata list by name.
///
/// # Errors
/// When a primitive has no ONNX form for its types.
pub fn write(program: &Program) -> Result<ModelProto, ArtifactError> {
    let graph = &program.graph;
    let input_relevance: HashSet<Output> = program.info.explanations().map(|(output, _)| output).collect();
    let is_declared = |n: &Output| matches!(n, Output::Model(_)) || input_relevance.contains(n);
    let declared = graph.outputs().iter().filter(|(n, _)| is_declared(n));
    let declared: Vec<(String, Value)> = declared.map(|(n, v)| (n.to_string(), *v)).collect();
    let mut writer = Writer::new(graph, &declared, Composed::AsFunctions)?;
    for id in node_order(graph) {
        writer.add(id)?;
    }
    let metadata = metadata(program, &writer)?;
    let mut model = writer.finish("dlbc");
    model.ir_version = Some(IR_VERSION);
    model.metadata_props = metadata;
    Ok(model)
}

/// Returns the metadata from which `read` builds the program again.
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
    // Values that are renamed in the file because an output has their name: name in the file, name in the program.
    let renamed: Vec<(&String, &str)> = graph
        .nodes()
        .map(|node| Value { node, slot: 0 })
        .map(|v| (writer.name(v), graph.value_name(v)))
        .filter(|(file_name, name)| *file_name != name)
        .collect();
    if !renamed.is_empty() {
        entries.push(onnx::metadata("dlbc.names", &json::to_string(&renamed)?));
    }
    Ok(entries)
}

/// Form of primitives that lower to more than one node.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Composed {
    /// Calls of local functions, with the primitive as metadata of the node.
    AsFunctions,
    /// Their nodes, in the main graph.
    Inlined,
}

/// Writes a graph of primitives as an ONNX model.
pub(crate) struct Writer<'a> {
    graph: &'a Graph<Prim>,
    builder: OnnxBuilder,
    /// Name of each value in the file.
    names: HashMap<Value, String>,
    /// Local functions; `None` if all nodes are inlined.
    functions: Option<Functions>,
    inputs: Vec<ValueInfoProto>,
    /// Constants of the graph.
    initializers: Vec<TensorProto>,
    /// Outputs of the file, by name.
    declared: &'a [(String, Value)],
}

/// Local functions of a file.
#[derive(Default)]
struct Functions {
    all: Vec<FunctionProto>,
    /// Name of each function, by a description of its parameters and body.
    by_body: HashMap<String, String>,
    /// Number of functions with the same title.
    titles: HashMap<String, usize>,
}

impl<'a> Writer<'a> {
    /// A writer of a graph whose outputs in the file are `declared`.
    ///
    /// # Errors
    /// When an output has the name of an input.
    pub fn new(
        graph: &'a Graph<Prim>,
        declared: &'a [(String, Value)],
        composed: Composed,
    ) -> Result<Writer<'a>, ArtifactError> {
        let mut used_names: HashSet<String> = HashSet::new();
        let mut outputs: HashMap<&str, Value> = HashMap::new();
        for (name, v) in declared {
            outputs.entry(name).or_insert(*v);
        }
        let value = |node: NodeId| Value { node, slot: 0 };
        for id in graph.nodes() {
            used_names.extend(graph.node(id).names.iter().cloned());
        }
        for id in graph.inputs() {
            let name = graph.node(*id).name();
            if outputs.get(name).is_some_and(|v| *v != value(*id)) {
                return Err(ArtifactError::Taken { name: Name::new(name) });
            }
        }
        used_names.extend(declared.iter().map(|(n, _)| n.clone()));
        let mut builder = OnnxBuilder::main(sources(graph, CHOSEN_TARGET), used_names);
        let mut names = HashMap::new();
        for id in graph.nodes() {
            let name = graph.node(id).name();
            let is_output_name = outputs.get(name).is_some_and(|v| *v != value(id));
            names.insert(value(id), if is_output_name { builder.fresh(name) } else { name.to_string() });
        }
        let inputs =
            graph.inputs().iter().map(|id| value_info(graph.node(*id).name(), &graph.node(*id).types[0]));
        let inputs = inputs.collect();
        let functions = (composed == Composed::AsFunctions).then(Functions::default);
        Ok(Writer { graph, builder, names, functions, inputs, initializers: vec![], declared })
    }

    /// Returns the name of a value in the file.
    pub fn name(&self, v: Value) -> &String {
        &self.names[&v]
    }

    /// Adds a node whose operands are added.
    ///
    /// # Errors
    /// When the primitive has no ONNX form for its types.
    pub fn add(&mut self, id: NodeId) -> Result<(), ArtifactError> {
        let node = self.graph.node(id);
        let result = self.names[&Value { node: id, slot: 0 }].clone();
        match &node.op {
            Prim::Input => return Ok(()),
            Prim::Const(t) => return self.constant(&result, t),
            _ => {}
        }
        let operands = self.graph.node_inputs(id);
        let types: Vec<TensorType> = operands.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let x: Vec<&str> = operands.iter().map(|v| self.names[v].as_str()).collect();
        let operands = Operands { names: &x, types: &types };
        self.builder.set_prefix(&result);
        let fail = |reason: String| {
            let op = node.op.name();
            ArtifactError::Lowering { node: Name::new(node.name()), op, reason }
        };
        match &mut self.functions {
            None => inline(&mut self.builder, &node.op, &operands, &result).map_err(fail),
            Some(functions) => {
                call_or_inline(&mut self.builder, functions, &node.op, &operands, &result).map_err(fail)?;
                let mut metadata = vec![
                    onnx::metadata("dlbc.prim", &json::prim_to_string(&node.op)?),
                    onnx::metadata("dlbc.origin", &json::to_string(&node.origin.nodes)?),
                ];
                // Captures of a scan's body are not operands of the ONNX node.
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

    /// Adds a constant.
    fn constant(&mut self, result: &str, t: &Tensor) -> Result<(), ArtifactError> {
        let Some(values) = t.as_compact() else {
            self.initializers.push(initializer(result, t));
            return Ok(());
        };
        let description =
            compact::write(&mut self.builder, &mut self.initializers, result, (t.dims(), values))?;
        if let (Some(last), Some(_)) = (self.builder.nodes.last_mut(), &self.functions) {
            last.metadata_props = vec![onnx::metadata(compact::KEY, &description)];
        }
        Ok(())
    }

    /// Returns the model of all nodes that were added, with `name` as the name of its graph.
    pub fn finish(mut self, name: &str) -> ModelProto {
        let mut outputs: Vec<ValueInfoProto> = vec![];
        for (name, v) in self.declared {
            if outputs.iter().any(|o| o.name() == name) {
                continue;
            }
            let value_name = &self.names[v];
            if value_name != name {
                self.builder.nodes.push(onnx::node("Identity", name, &[value_name], &[name], vec![]));
            }
            outputs.push(value_info(name, self.graph.ty(*v)));
        }
        let (nodes, main) = self.builder.into_main();
        let nodes: Vec<NodeProto> = main.shape_nodes.into_iter().chain(nodes).collect();
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

/// Adds the nodes of a primitive, the last of which computes `result`.
fn inline(builder: &mut OnnxBuilder, prim: &Prim, operands: &Operands, result: &str) -> Result<(), String> {
    let value = prim.lower(builder, operands)?;
    builder.name_result(&value, result);
    Ok(())
}

/// Adds the node of a primitive that lowers to one node, or a call of its function.
fn call_or_inline(
    builder: &mut OnnxBuilder,
    functions: &mut Functions,
    prim: &Prim,
    operands: &Operands,
    result: &str,
) -> Result<(), String> {
    let parameters: Vec<String> = (0..operands.names.len()).map(|i| format!("x{i}")).collect();
    let x: Vec<&str> = parameters.iter().map(String::as_str).collect();
    let mut body = OnnxBuilder::function();
    inline(&mut body, prim, &Operands { names: &x, types: operands.types }, RESULT)?;
    if body.nodes.len() - body.constants <= 1 {
        return inline(builder, prim, operands, result);
    }
    let mut arguments: Vec<String> = operands.names.iter().map(ToString::to_string).collect();
    for vector in body.dim_parameters() {
        arguments.push(builder.vector(vector)?);
    }
    let dims = (0..body.dim_parameters().len()).map(|i| format!("d{i}"));
    let parameters: Vec<String> = parameters.into_iter().chain(dims).collect();
    let function = functions.with_body(prim, &parameters, body.nodes);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    builder.nodes.push(onnx::node_in("dlbc", &function, result, &arguments, &[result], vec![]));
    Ok(())
}

impl Functions {
    /// Returns the name of the function with this body, and adds the function if it is new.
    fn with_body(&mut self, prim: &Prim, parameters: &[String], body: Vec<NodeProto>) -> String {
        let key = format!("{parameters:?} {body:?}");
        if let Some(name) = self.by_body.get(&key) {
            return name.clone();
        }
        let title = title(prim);
        let count = self.titles.entry(title.clone()).or_insert(0);
        *count += 1;
        let name = if *count == 1 { title } else { format!("{title}_{count}") };
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let opsets = vec![onnx::opset("", OPSET)];
        let mut function = onnx::function("dlbc", &name, &parameters, &[RESULT], body, opsets);
        function.doc_string = Some(format!("{}{}", prim.name(), prim.attributes()));
        self.all.push(function);
        self.by_body.insert(key, name.clone());
        name
    }
}

/// Returns the name of a primitive's function without its number: the primitive and the transforms of its operands.
fn title(prim: &Prim) -> String {
    let transforms = prim.transforms().into_iter().filter(|part| *part != Transform::Id);
    transforms.fold(prim.name(), |title, part| format!("{title}{part:?}"))
}
