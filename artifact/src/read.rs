//! Artifact → program. The file is not trusted: types are inferred again, and all sizes are checked.
//!
//! Only nodes whose metadata hold a primitive are read, in the file's order; their first inputs are the primitive's operands.
//! Functions, computed dimensions and constants of lowerings serve ONNX runtimes alone.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, Origin, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{ExpertEntry, Info, LedgerEntry, Output, Program, SEED};
use dlbc_ops::tensor::{Dim, Tensor, TensorType};
use dlbc_proto::onnx::{ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use dlbc_proto::{Model, Name};
use serde::de::DeserializeOwned;

use crate::onnx_builder::types::read_tensor;
use crate::{ArtifactError, FORMAT, compact, json, limits, trees};

/// Returns whether a model is an artifact.
pub fn is_artifact(model: &ModelProto) -> bool {
    find(&model.metadata_props, "dlbc.format").is_some()
}

/// Reads the program of an artifact.
///
/// # Errors
/// For another format version, for metadata that do not describe a program, and for tensors that cannot be read.
pub fn read(model: &Model) -> Result<Program, ArtifactError> {
    let metadata = &model.proto.metadata_props;
    let format = find(metadata, "dlbc.format").unwrap_or_default();
    if format != FORMAT {
        return Err(ArtifactError::Format { expected: FORMAT, actual: Name::new(format) });
    }
    let info: Info = required(metadata, "dlbc.info")?;
    let inputs: Vec<(String, TensorType)> = required(metadata, "dlbc.inputs")?;
    let outputs: Vec<(String, String)> = required(metadata, "dlbc.outputs")?;
    let mut reader = Reader::new(model)?;
    for (name, ty) in &inputs {
        reader.input(name, ty)?;
    }
    for node in &model.graph().node {
        reader.node(node)?;
    }
    for (name, value) in &outputs {
        let v = reader.value(value).map_err(|fault| node_fault(name, fault))?;
        let unknown =
            || damaged(format!("unknown output {}: expected those that programs have", Name::new(name)));
        reader.graph.add_output(Output::parse(name, info.mode).ok_or_else(unknown)?, v);
    }
    let graph = reader.graph;
    graph.check().map_err(|f| damaged(f.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    check_info(&graph, &info, &inputs)?;
    Ok(Program { graph, info })
}

/// Returns the value of a metadata key.
fn find<'a>(metadata: &'a [StringStringEntryProto], key: &str) -> Option<&'a str> {
    metadata.iter().find(|p| p.key() == key).map(|p| p.value())
}

/// Parses the value of a metadata key that every artifact has.
fn required<T: DeserializeOwned>(metadata: &[StringStringEntryProto], key: &str) -> Result<T, ArtifactError> {
    let value =
        find(metadata, key).ok_or_else(|| damaged(format!("expected metadata `{key}`, found none")))?;
    serde_json::from_str(value).map_err(json::damaged)
}

fn damaged(message: String) -> ArtifactError {
    ArtifactError::Damaged(message)
}

/// The error for a node with a fault.
fn node_fault(node: &str, fault: String) -> ArtifactError {
    ArtifactError::Node { node: Name::new(node), fault }
}

/// State of reading an artifact.
struct Reader<'a> {
    model: &'a Model,
    graph: Graph<Prim>,
    /// Values by their names in the file.
    values: HashMap<&'a str, Value>,
    initializers: HashMap<&'a str, &'a TensorProto>,
    /// Program names of values, by their names in the file, where these differ.
    names: HashMap<String, String>,
    used_names: HashSet<String>,
}

impl<'a> Reader<'a> {
    fn new(model: &'a Model) -> Result<Reader<'a>, ArtifactError> {
        let metadata = &model.proto.metadata_props;
        let names: Vec<(String, String)> = match find(metadata, "dlbc.names") {
            Some(_) => required(metadata, "dlbc.names")?,
            None => vec![],
        };
        let mut initializers = HashMap::new();
        for t in &model.graph().initializer {
            if initializers.insert(t.name(), t).is_some() {
                return Err(node_fault(t.name(), "expected one definition, found two".into()));
            }
        }
        Ok(Reader {
            model,
            graph: Graph::default(),
            values: HashMap::new(),
            initializers,
            names: names.into_iter().collect(),
            used_names: HashSet::new(),
        })
    }

    /// Adds a program input.
    fn input(&mut self, name: &str, ty: &TensorType) -> Result<(), ArtifactError> {
        let fail = |fault: &str| node_fault(name, fault.into());
        let listed = self.model.graph().input.iter().find(|i| i.name() == name);
        let listed = listed.ok_or_else(|| fail("expected an input of the graph, found none"))?;
        limits::ty(ty).map_err(|fault| fail(&fault))?;
        self.name(listed.name()).map_err(|fault| fail(&fault))?;
        let v = self.graph.add_input(Prim::Input, name, ty.clone());
        self.values.insert(listed.name(), v);
        Ok(())
    }

    /// Reads a node whose metadata hold a primitive.
    fn node(&mut self, node: &'a NodeProto) -> Result<(), ArtifactError> {
        if let Some(description) = find(&node.metadata_props, compact::KEY) {
            return self.compact_constant(node, description);
        }
        let Some(prim) = find(&node.metadata_props, "dlbc.prim") else { return Ok(()) };
        let result = node.output.last().map_or("", String::as_str);
        let fail = |fault: String| node_fault(result, fault);
        let json = |e: serde_json::Error| fail(Name::new(&e.to_string()).to_string());
        let prim: Prim = serde_json::from_str(prim).map_err(json)?;
        limits::prim(&prim).map_err(fail)?;
        let origin = match find(&node.metadata_props, "dlbc.origin") {
            Some(origin) => {
                let nodes: Vec<(String, String)> = serde_json::from_str(origin).map_err(json)?;
                Origin { nodes, ..Origin::default() }
            }
            None => Origin::default(),
        };
        // The first result of `Scan` is the last state, and that of `TopK` the values; the program reads the second.
        let has_two_results = matches!(prim, Prim::Scan(_)) || node.op_type() == "TopK";
        let outputs = if has_two_results { 2 } else { 1 };
        if node.output.len() != outputs {
            return Err(fail(format!("expected {outputs} outputs, found {}", node.output.len())));
        }
        let captures: Vec<String> = match find(&node.metadata_props, "dlbc.captures") {
            Some(captures) => serde_json::from_str(captures).map_err(json)?,
            None => vec![],
        };
        // Names with the lifetime of the file, which the values in `self` need.
        let captures =
            captures.iter().map(|name| self.file_name(name)).collect::<Result<Vec<&str>, String>>();
        let captures = captures.map_err(fail)?;
        // Inputs after the operands are dimensions for the lowering. Primitives with a variable number of operands have none.
        let arity = prim.arity();
        let count = if arity.start() == arity.end() { *arity.end() } else { node.input.len() };
        let names = node.input.iter().take(count).map(String::as_str).chain(captures);
        let operands = names.map(|name| self.value(name)).collect::<Result<Vec<Value>, String>>();
        let operands = operands.map_err(fail)?;
        let types: Vec<TensorType> = operands.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let ty = prim.infer(&types).map_err(|e| fail(e.to_string()))?;
        limits::ty(&ty).map_err(fail)?;
        if self.initializers.contains_key(result) {
            return Err(fail("expected one definition, found two".into()));
        }
        let name = self.name(result).map_err(fail)?;
        let v = self.graph.add_value(prim, &name, ty, origin, &operands);
        self.values.insert(result, v);
        Ok(())
    }

    /// Reads the node of a constant in fewer bits.
    fn compact_constant(&mut self, node: &'a NodeProto, description: &str) -> Result<(), ArtifactError> {
        let result = node.output.last().map_or("", String::as_str);
        let fail = |fault: String| node_fault(result, fault);
        let tensor = compact::read(self.model, &self.initializers, description).map_err(fail)?;
        limits::ty(&tensor.ty()).map_err(fail)?;
        if self.initializers.contains_key(result) {
            return Err(fail("expected one definition, found two".into()));
        }
        let v = self.constant(result, tensor).map_err(fail)?;
        self.values.insert(result, v);
        Ok(())
    }

    /// Adds a constant that has this name in the file.
    fn constant(&mut self, name: &str, tensor: Tensor) -> Result<Value, String> {
        let program_name = self.name(name)?;
        let (ty, origin) = (tensor.ty(), Origin::onnx(&program_name, "initializer"));
        Ok(self.graph.add_value(Prim::Const(tensor), &program_name, ty, origin, &[]))
    }

    /// Returns the name of a value or constant with the lifetime of the file.
    fn file_name(&self, name: &str) -> Result<&'a str, String> {
        let value = self.values.get_key_value(name).map(|(name, _)| *name);
        let file_name = value.or_else(|| self.initializers.get_key_value(name).map(|(name, _)| *name));
        file_name.ok_or_else(|| format!("expected operands of earlier nodes, found {}", Name::new(name)))
    }

    /// Returns a value that was read before, or adds the constant of this name.
    fn value(&mut self, name: &str) -> Result<Value, String> {
        if let Some(v) = self.values.get(name) {
            return Ok(*v);
        }
        let unknown = || format!("expected operands of earlier nodes, found {}", Name::new(name));
        let (key, proto) = self.initializers.get_key_value(name).ok_or_else(unknown)?;
        let (key, tensor) = (*key, read_tensor(self.model, proto)?);
        let v = self.constant(key, tensor)?;
        self.values.insert(key, v);
        Ok(v)
    }

    /// Returns the program name of a new value, and marks it as used.
    fn name(&mut self, name: &str) -> Result<String, String> {
        let program_name = self.names.get(name).map_or(name, String::as_str).to_string();
        let is_new = !self.values.contains_key(name) && self.used_names.insert(program_name.clone());
        if program_name.is_empty() || !is_new {
            return Err("expected a name that no other value has".into());
        }
        Ok(program_name)
    }
}

/// Checks that the graph has the inputs and outputs that `info` describes, with matching shapes.
fn check_info(
    graph: &Graph<Prim>,
    info: &Info,
    inputs: &[(String, TensorType)],
) -> Result<(), ArtifactError> {
    let outputs: HashMap<&Output, Value> = graph.outputs().iter().map(|(n, v)| (n, *v)).collect();
    let find = |output: Output| {
        let missing = || damaged(format!("expected output {}, found none", Name::new(&output.to_string())));
        outputs.get(&output).copied().ok_or_else(missing)
    };
    let model_inputs = inputs.iter().filter(|(n, _)| n != SEED);
    if !model_inputs.map(|(n, ty)| (n, ty)).eq(info.inputs.iter().map(|i| (&i.name, &i.ty))) {
        return Err(damaged("expected the inputs of the model, found others".into()));
    }
    for name in &info.outputs {
        find(Output::from(name))?;
    }
    let explained = find(Output::from(&info.explained))?;
    if let Some(info) = &info.trees {
        return trees::check(graph, info).map_err(damaged);
    }
    let seed = inputs.iter().find(|(n, _)| n == SEED);
    let tracks = info.mode.tracks();
    let mut expected = graph.ty(explained).shape.clone();
    if tracks.len() > 1 {
        expected.0.insert(0, Dim::known(tracks.len() as i64));
    }
    if seed.is_none_or(|(_, ty)| ty.shape != expected) {
        return Err(damaged("expected a seed of the shape of the explained output".into()));
    }
    for (output, input) in info.explanations() {
        let v = find(output)?;
        if graph.ty(v).shape != input.ty.shape {
            return Err(damaged(format!(
                "expected relevance of the shape of input {}",
                Name::new(&input.name)
            )));
        }
    }
    for layer in 0..info.experts.len() {
        for entry in ExpertEntry::ALL {
            find(Output::Expert { layer, entry })?;
        }
    }
    for track in tracks.iter().copied() {
        for row in 0..info.ledger.len() {
            for entry in [LedgerEntry::Received, LedgerEntry::Passed, LedgerEntry::Absorbed] {
                find(Output::Ledger { track, row, entry })?;
            }
        }
    }
    Ok(())
}
