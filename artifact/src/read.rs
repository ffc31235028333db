//! Artifact → program. Nothing of the file is trusted.
//!
//! Nodes that carry a primitive are read, in the file's order; their first operands are the primitive's. What else there
//! is (functions, computed dimensions, constants of spellings) is how ONNX runtimes see the same program.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, Origin, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{ExpertEntry, Info, LedgerEntry, Output, Program, SEED};
use dlbc_ops::tensor::{DType, Dim, Tensor, TensorType};
use dlbc_proto::onnx::{ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use dlbc_proto::{DataType, Model, Name};
use serde::de::DeserializeOwned;

use crate::onnx_builder::types::code;
use crate::{ArtifactError, FORMAT, json, limits};

/// Returns whether a model is an artifact of `dlbc compile`.
pub fn is_artifact(model: &ModelProto) -> bool {
    find(&model.metadata_props, "dlbc.format").is_some()
}

/// Reads the program of an artifact.
///
/// # Errors
/// For metadata that do not describe a program, and for tensors that cannot be read.
pub fn read(model: &Model) -> Result<Program, ArtifactError> {
    let metadata = &model.proto.metadata_props;
    let format = find(metadata, "dlbc.format").unwrap_or_default();
    if format != FORMAT {
        return Err(ArtifactError::Format { expected: FORMAT, found: Name::new(format) });
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
        let unknown = || damaged(format!("{} is no output of a program", Name::new(name)));
        reader.graph.add_output(Output::parse(name, info.mode).ok_or_else(unknown)?, v);
    }
    let graph = reader.graph;
    graph.check().map_err(|f| damaged(f.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    check_info(&graph, &info, &inputs)?;
    Ok(Program { graph, info })
}

fn find<'a>(metadata: &'a [StringStringEntryProto], key: &str) -> Option<&'a str> {
    metadata.iter().find(|p| p.key() == key).map(|p| p.value())
}

fn required<T: DeserializeOwned>(metadata: &[StringStringEntryProto], key: &str) -> Result<T, ArtifactError> {
    let found = find(metadata, key).ok_or_else(|| damaged(format!("metadata `{key}` are missing")))?;
    serde_json::from_str(found).map_err(json::damaged)
}

fn damaged(message: String) -> ArtifactError {
    ArtifactError::Damaged(message)
}

fn node_fault(node: &str, fault: String) -> ArtifactError {
    ArtifactError::Node { node: Name::new(node), fault }
}

struct Reader<'a> {
    model: &'a Model,
    graph: Graph<Prim>,
    /// Values by their names in the file.
    values: HashMap<&'a str, Value>,
    initializers: HashMap<&'a str, &'a TensorProto>,
    /// The names of values that go by another one in the file.
    names: HashMap<String, String>,
    taken: HashSet<String>,
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
                return Err(node_fault(t.name(), "it is made twice".into()));
            }
        }
        Ok(Reader {
            model,
            graph: Graph::default(),
            values: HashMap::new(),
            initializers,
            names: names.into_iter().collect(),
            taken: HashSet::new(),
        })
    }

    fn input(&mut self, name: &str, ty: &TensorType) -> Result<(), ArtifactError> {
        let fail = |fault: &str| node_fault(name, fault.into());
        let listed = self.model.graph().input.iter().find(|i| i.name() == name);
        let listed = listed.ok_or_else(|| fail("it is no input of the graph"))?;
        limits::ty(ty).map_err(|fault| fail(&fault))?;
        self.name(listed.name()).map_err(|fault| fail(&fault))?;
        let v = self.graph.add_input(Prim::Input, name, ty.clone());
        self.values.insert(listed.name(), v);
        Ok(())
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), ArtifactError> {
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
        // A scan's node gives the last state too, one of the standard's `TopK` the values.
        let two = matches!(prim, Prim::Scan(_)) || node.op_type() == "TopK";
        let outputs = if two { 2 } else { 1 };
        if node.output.len() != outputs {
            return Err(fail(format!("{} outputs", node.output.len())));
        }
        let captures: Vec<String> = match find(&node.metadata_props, "dlbc.captures") {
            Some(captures) => serde_json::from_str(captures).map_err(json)?,
            None => vec![],
        };
        // Constants of the file live longer than this node's metadata.
        let captures = captures.iter().map(|name| self.known(name)).collect::<Result<Vec<&str>, String>>();
        let captures = captures.map_err(fail)?;
        // After the operands come dimensions that the node computes with. A primitive of a range of operands has none.
        let arity = prim.arity();
        let count = if arity.start() == arity.end() { *arity.end() } else { node.input.len() };
        let names = node.input.iter().take(count).map(String::as_str).chain(captures);
        let operands = names.map(|name| self.value(name)).collect::<Result<Vec<Value>, String>>();
        let operands = operands.map_err(fail)?;
        let types: Vec<TensorType> = operands.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let ty = prim.infer(&types).map_err(|e| fail(e.to_string()))?;
        limits::ty(&ty).map_err(fail)?;
        if self.initializers.contains_key(result) {
            return Err(fail("it is made twice".into()));
        }
        let name = self.name(result).map_err(fail)?;
        let v = self.graph.add_value(prim, &name, ty, origin, &operands);
        self.values.insert(result, v);
        Ok(())
    }

    /// The name as the file has it.
    fn known(&self, name: &str) -> Result<&'a str, String> {
        let made = self.values.get_key_value(name).map(|(name, _)| *name);
        let found = made.or_else(|| self.initializers.get_key_value(name).map(|(name, _)| *name));
        found.ok_or_else(|| format!("{} is read before it is made", Name::new(name)))
    }

    /// A value that was made already, or a constant.
    fn value(&mut self, name: &str) -> Result<Value, String> {
        if let Some(v) = self.values.get(name) {
            return Ok(*v);
        }
        let unknown = || format!("{} is read before it is made", Name::new(name));
        let (key, proto) = self.initializers.get_key_value(name).ok_or_else(unknown)?;
        let (key, tensor) = (*key, tensor(self.model, proto)?);
        let own = self.name(key)?;
        let v = self.graph.add_value(
            Prim::Const(tensor.clone()),
            &own,
            tensor.ty(),
            Origin::onnx(&own, "initializer"),
            &[],
        );
        self.values.insert(key, v);
        Ok(v)
    }

    /// The own name of a value that has not been made yet.
    fn name(&mut self, name: &str) -> Result<String, String> {
        let own = self.names.get(name).map_or(name, String::as_str).to_string();
        if own.is_empty() || self.values.contains_key(name) || !self.taken.insert(own.clone()) {
            return Err("its name is empty or in use".into());
        }
        Ok(own)
    }
}

fn tensor(model: &Model, proto: &TensorProto) -> Result<Tensor, String> {
    let data = model.tensor(proto).map_err(|e| e.to_string())?;
    let dims = data.dims.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<usize>>>();
    let dtype = element_type(data.dtype).ok_or_else(|| format!("a constant of {}", data.dtype))?;
    let tensor = dims.and_then(|dims| Tensor::from_bytes(dtype, dims, Arc::new(data.bytes)));
    tensor.ok_or_else(|| "a constant whose bytes do not fill its shape".into())
}

fn element_type(dtype: DataType) -> Option<DType> {
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let signed = [DType::I8, DType::I16, DType::I32, DType::I64];
    let unsigned = [DType::U8, DType::U16, DType::U32, DType::U64];
    let all = floats.into_iter().chain(signed).chain(unsigned).chain([DType::Bool]);
    all.into_iter().find(|d| code(*d) == dtype)
}

/// Checks that the graph has what a caller relies on.
fn check_info(
    graph: &Graph<Prim>,
    info: &Info,
    inputs: &[(String, TensorType)],
) -> Result<(), ArtifactError> {
    let outputs: HashMap<&Output, Value> = graph.outputs().iter().map(|(n, v)| (n, *v)).collect();
    let find = |output: Output| {
        let missing = || damaged(format!("output {} is missing", Name::new(&output.to_string())));
        outputs.get(&output).copied().ok_or_else(missing)
    };
    let model_inputs = inputs.iter().filter(|(n, _)| n != SEED);
    if !model_inputs.map(|(n, ty)| (n, ty)).eq(info.inputs.iter().map(|i| (&i.name, &i.ty))) {
        return Err(damaged("the inputs are not those of the model".into()));
    }
    for name in &info.outputs {
        find(Output::from(name))?;
    }
    let explained = find(Output::from(&info.explained))?;
    let seed = inputs.iter().find(|(n, _)| n == SEED);
    let tracks = info.mode.tracks();
    let mut expected = graph.ty(explained).shape.clone();
    if tracks.len() > 1 {
        expected.0.insert(0, Dim::known(tracks.len() as i64));
    }
    if seed.is_none_or(|(_, ty)| ty.shape != expected) {
        return Err(damaged("the seed has not the shape of the explained output".into()));
    }
    for (output, input) in info.explanations() {
        let v = find(output)?;
        if graph.ty(v).shape != input.ty.shape {
            return Err(damaged(format!("the relevance of {} has another shape", Name::new(&input.name))));
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
