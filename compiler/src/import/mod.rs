//! ONNX model → `Graph<Op>`. Value info of the file is not trusted: every type is inferred from the inputs.
//!
//! Everything that is not supported is collected before the import fails.

mod attribute;
mod control;
mod function;
mod inputs;
mod scope;
mod unify;
mod unread;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, Origin, PrintOp, Value};
use dlbc_ops::op::read::{Attr, Reader, Reading};
use dlbc_ops::op::{Cast, Op, readers};
use dlbc_ops::tensor::{Bytes, DType, Tensor, TensorType};
use dlbc_proto::onnx::{NodeProto, TensorProto};
use dlbc_proto::{DataType, Model, Name};
use function::Expanded;

use crate::error::{CompileError, Unsupported};
use crate::options::Options;

/// Reads a model.
///
/// # Errors
/// For invalid nodes, missing tensors and cycles; for everything unsupported, listed at once; for sizes beyond limits.
pub fn import(model: &Model, options: &Options) -> Result<Graph<Op>, CompileError> {
    let nodes = function::inline(model, options.max_nodes)?;
    // Some exporters give every dimension of every input a name of its own. Where a node fits only if two of them are
    // equal, they are, and the import starts again.
    let mut symbols = inputs::Symbols::default();
    loop {
        let (error, types) = match attempt(model, options, &nodes, &mut symbols) {
            Ok(graph) => return Ok(graph),
            Err(failed) => *failed,
        };
        let unequal = match &error {
            CompileError::Node { source, .. } => source.unequal(),
            _ => &[],
        };
        match unequal.iter().find_map(|(a, b)| unify::merge(a, b, &types)) {
            Some(merged) if symbols.merge(&merged) => {}
            _ => return Err(error),
        }
    }
}

/// One import; on failure with the types of the inputs.
fn attempt(
    model: &Model,
    options: &Options,
    nodes: &[Expanded],
    symbols: &mut inputs::Symbols,
) -> Result<Graph<Op>, Box<(CompileError, Vec<TensorType>)>> {
    let mut import = Import {
        model,
        options,
        graph: Graph::default(),
        values: HashMap::new(),
        failed: BTreeSet::new(),
        unsupported: BTreeMap::new(),
        readers: readers().into_iter().map(|r| ((r.domain, r.op), r)).collect(),
        named: HashSet::new(),
        read: nodes.len(),
    };
    let mut read = |import: &mut Import| {
        import.initializers()?;
        inputs::add(import, symbols)?;
        for node in order(nodes, import)? {
            import.node(node)?;
        }
        Ok(())
    };
    match read(&mut import) {
        Ok(()) => import.finish().map_err(|e| Box::new((e, vec![]))),
        Err(e) => {
            let types = import.graph.inputs().iter().map(|id| import.graph.node(*id).types[0].clone());
            Err(Box::new((e, types.collect())))
        }
    }
}

struct Import<'a> {
    model: &'a Model,
    options: &'a Options,
    graph: Graph<Op>,
    values: HashMap<String, Value>,
    /// Tensors that unsupported nodes would make, directly or not.
    failed: BTreeSet<String>,
    unsupported: BTreeMap<(String, String), Vec<String>>,
    readers: HashMap<(&'static str, &'static str), Reader>,
    /// Values that carry an ONNX tensor's name.
    named: HashSet<Value>,
    /// Nodes read, those of unrolled loops each time.
    read: usize,
}

/// A node's name, or what stands for it: its first output.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    match node.name() {
        "" => node.output.iter().map(String::as_str).find(|o| !o.is_empty()).unwrap_or("(unnamed)"),
        name => name,
    }
}

/// The nodes so that each stands after those that make its operands.
fn order<'n>(nodes: &'n [Expanded], import: &Import) -> Result<Vec<&'n Expanded>, CompileError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (i, Expanded { node, .. }) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if import.values.contains_key(output.as_str()) || makers.insert(output, i).is_some() {
                return Err(CompileError::MadeTwice {
                    node: Name::new(node_name(node)),
                    op: Name::new(node.op_type()),
                    tensor: Name::new(output),
                });
            }
        }
    }
    let mut missing = vec![0usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    for (i, Expanded { node, .. }) in nodes.iter().enumerate() {
        for (slot, tensor) in node.input.iter().enumerate().filter(|(_, t)| !t.is_empty()) {
            match makers.get(tensor.as_str()) {
                Some(maker) => {
                    missing[i] += 1;
                    readers[*maker].push(i);
                }
                None if import.values.contains_key(tensor) => {}
                None => {
                    return Err(CompileError::MissingTensor {
                        node: Name::new(node_name(node)),
                        op: Name::new(node.op_type()),
                        slot,
                        tensor: Name::new(tensor),
                    });
                }
            }
        }
    }
    let mut ready: std::collections::BinaryHeap<std::cmp::Reverse<usize>> =
        (0..nodes.len()).filter(|i| missing[*i] == 0).map(std::cmp::Reverse).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some(std::cmp::Reverse(i)) = ready.pop() {
        sorted.push(&nodes[i]);
        for reader in &readers[i] {
            missing[*reader] -= 1;
            if missing[*reader] == 0 {
                ready.push(std::cmp::Reverse(*reader));
            }
        }
    }
    if sorted.len() < nodes.len() {
        let stuck = nodes
            .iter()
            .zip(&missing)
            .filter(|(_, m)| **m > 0)
            .map(|(n, _)| Name::new(node_name(&n.node)).to_string());
        return Err(CompileError::Cycle(stuck.take(4).collect::<Vec<_>>().join(", ")));
    }
    Ok(sorted)
}

/// Returns whether an operator computes with integers that stand for floats.
fn is_quantised(op: &str) -> bool {
    let quantised = [
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QuantizeLinear",
    ];
    quantised.contains(&op) || ["QLinear", "QAttention", "QEmbed"].iter().any(|prefix| op.starts_with(prefix))
}

impl Import<'_> {
    fn initializers(&mut self) -> Result<(), CompileError> {
        let model = self.model;
        let graph = model.graph();
        for t in &graph.initializer {
            let tensor = self.tensor(t)?;
            self.constant(t.name(), tensor)?;
        }
        for s in &graph.sparse_initializer {
            let name = s.values.as_ref().map_or("", |v| v.name()).to_string();
            let data = model.sparse(s)?;
            let tensor = convert(data.dtype, &data.dims, data.bytes, &name)?;
            self.constant(&name, tensor)?;
        }
        Ok(())
    }

    fn tensor(&self, t: &TensorProto) -> Result<Tensor, CompileError> {
        let data = self.model.tensor(t)?;
        convert(data.dtype, &data.dims, data.bytes, t.name())
    }

    fn add_constant(&mut self, name: &str, tensor: Tensor) -> Value {
        let ty = tensor.ty();
        self.graph.add_value(Op::Const(tensor), name, ty, Origin::onnx(name, "initializer"), &[])
    }

    fn constant(&mut self, name: &str, tensor: Tensor) -> Result<(), CompileError> {
        let v = self.add_constant(name, tensor);
        match self.values.insert(name.into(), v) {
            Some(_) => Err(CompileError::Duplicate(Name::new(name))),
            None => Ok(()),
        }
    }

    /// What reads a node.
    fn reading<'r>(
        &'r mut self,
        expanded: &'r Expanded,
        inputs: &'r [Option<Value>],
        attributes: &'r BTreeMap<String, Attr>,
    ) -> Reading<'r> {
        let Expanded { node, opsets } = expanded;
        let domain = if node.domain() == "ai.onnx" { "" } else { node.domain() };
        let mut origin = Origin::onnx(node_name(node), node.op_type());
        origin.scope = scope::scope(node).or(origin.scope);
        Reading {
            graph: &mut self.graph,
            op: node.op_type(),
            opset: opsets.get(domain).copied().unwrap_or_default(),
            inputs,
            outputs: node.output.iter().rposition(|o| !o.is_empty()).map_or(0, |i| i + 1),
            attributes,
            asked: RefCell::default(),
            asked_inputs: Cell::default(),
            origin,
            max_tensor_bytes: self.options.max_tensor_bytes,
        }
    }

    fn node(&mut self, expanded: &Expanded) -> Result<(), CompileError> {
        let Expanded { node, opsets } = expanded;
        if control::is_control(node) {
            return control::read(self, expanded);
        }
        let (name, op) = (node_name(node).to_string(), node.op_type());
        let domain = if node.domain() == "ai.onnx" { "" } else { node.domain() };
        let title = if domain.is_empty() { op.to_string() } else { format!("{domain}::{op}") };
        let reader = match self.reader(node, domain, opsets)? {
            Ok(reader) => reader,
            Err(reason) => {
                self.refuse(node, &title, reason, name);
                return Ok(());
            }
        };
        if node.input.iter().any(|i| self.failed.contains(i)) {
            self.failed.extend(node.output.iter().cloned());
            return Ok(());
        }
        let attributes = attribute::read(self.model, node)?;
        // A trailing operand without a name is one left out.
        let mut inputs: Vec<Option<Value>> = node.input.iter().map(|i| self.values.get(i).copied()).collect();
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let mut reading = self.reading(expanded, &inputs, &attributes);
        let read = (reader.read)(&mut reading).and_then(|outputs| {
            reading.check_complete(outputs.len())?;
            Ok(outputs)
        });
        match read {
            Ok(outputs) => self.bind(node, outputs),
            Err(OpError::Unsupported(reason)) => {
                self.refuse(node, &title, reason, name);
                Ok(())
            }
            Err(source) => Err(CompileError::Node { node: Name::new(&name), op: Name::new(op), source }),
        }
    }

    /// The reader of a node, or why there is none.
    fn reader(
        &self,
        node: &NodeProto,
        domain: &str,
        opsets: &BTreeMap<String, i64>,
    ) -> Result<Result<Reader, String>, CompileError> {
        let Some(reader) = self.readers.get(&(domain, node.op_type())) else {
            return Ok(Err(match node.op_type() {
                // It only makes a dictionary of the tensor of probabilities.
                "ZipMap" => "no importer; skl2onnx leaves it out with options={'zipmap': False}".into(),
                op if is_quantised(op) => "quantised: not supported yet, take the float model".into(),
                _ => "no importer".into(),
            }));
        };
        let Some(opset) = opsets.get(domain) else {
            return Err(CompileError::NoOpset {
                node: Name::new(node_name(node)),
                op: Name::new(node.op_type()),
                domain: Name::new(if domain.is_empty() { "ai.onnx" } else { domain }),
            });
        };
        if (reader.since..=reader.until).contains(opset) {
            Ok(Ok(*reader))
        } else {
            Ok(Err(format!("opset {opset}; {} to {} are read", reader.since, reader.until)))
        }
    }

    fn refuse(&mut self, node: &NodeProto, title: &str, reason: String, name: String) {
        self.unsupported.entry((title.into(), reason)).or_default().push(name);
        self.failed.extend(node.output.iter().cloned());
    }

    /// Gives the outputs their ONNX names.
    fn bind(&mut self, node: &NodeProto, outputs: Vec<Value>) -> Result<(), CompileError> {
        for (tensor, mut v) in node.output.iter().zip(outputs) {
            if tensor.is_empty() {
                continue;
            }
            let own = self.graph.node(v.node).origin.nodes.first().is_some_and(|(n, _)| n == node_name(node));
            let stop = self.options.stop_at.iter().any(|s| s == tensor);
            // The input that takes its place has the name.
            if own && !stop && self.named.insert(v) {
                self.graph.rename(v, tensor);
            }
            if stop {
                let ty = self.graph.ty(v).clone();
                // The node itself may have the tensor's name.
                if own {
                    self.graph.rename(v, &format!("{tensor}.left_out"));
                }
                v = self.graph.add_input(Op::Input, tensor, ty);
                self.graph.rename(v, tensor);
            }
            self.values.insert(tensor.clone(), v);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Graph<Op>, CompileError> {
        let outputs = &self.model.graph().output;
        if outputs.is_empty() {
            return Err(CompileError::NoOutputs);
        }
        let mut listed = HashSet::new();
        for output in outputs {
            let name = output.name();
            if !listed.insert(name) {
                return Err(CompileError::DuplicateOutput(Name::new(name)));
            }
            if !self.values.contains_key(name) && !self.failed.contains(name) {
                return Err(CompileError::MissingOutput(Name::new(name)));
            }
        }
        if !self.unsupported.is_empty() {
            let items =
                self.unsupported.into_iter().map(|((op, reason), nodes)| Unsupported { op, reason, nodes });
            return Err(CompileError::Unsupported(items.collect()));
        }
        for output in outputs {
            if let Some(v) = self.values.get(output.name()) {
                self.graph.add_output(output.name(), *v);
            }
        }
        let unknown = |name: &str| {
            let computed = self.values.iter().filter(|(_, v)| !self.graph.op(v.node).is_const());
            let known: Vec<String> = computed.map(|(name, _)| name.clone()).collect();
            CompileError::UnknownName { what: "tensor", name: name.into(), known: nearest(name, &known) }
        };
        if let Some(name) = self.options.stop_at.iter().find(|name| !self.values.contains_key(*name)) {
            return Err(unknown(name));
        }
        // Any tensor can be explained. As an output it keeps its name and its value through every pass.
        if let Some(name) = self.options.output.as_ref().filter(|name| !listed.contains(name.as_str())) {
            let v = *self.values.get(name).ok_or_else(|| unknown(name))?;
            self.graph.add_output(name, v);
        }
        self.graph.remove_unused();
        if !self.options.stop_at.is_empty() {
            unread::remove(&mut self.graph);
        }
        scope::fill(&mut self.graph);
        Ok(self.graph)
    }
}

/// The names, those with the longest common beginning with `name` first.
pub(crate) fn nearest(name: &str, known: &[String]) -> Vec<String> {
    let common = |k: &str| k.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    let mut sorted: Vec<&String> = known.iter().collect();
    sorted.sort_by_key(|k| (std::cmp::Reverse(common(k)), k.len(), (*k).clone()));
    sorted.into_iter().cloned().collect()
}

/// A constant in the arithmetic of the graph: every float type becomes float32.
fn convert(
    dtype: DataType,
    dims: &[u64],
    bytes: dlbc_proto::Bytes,
    name: &str,
) -> Result<Tensor, CompileError> {
    let bad = |source| CompileError::Node { node: Name::new(name), op: Name::new("initializer"), source };
    let dtype = element_type(dtype).map_err(bad)?;
    let dims: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    let data: Bytes = Arc::new(bytes);
    let tensor = dims.and_then(|dims| Tensor::from_bytes(dtype, dims, data));
    let tensor = tensor.ok_or_else(|| bad(OpError::Invalid("bytes do not fill the shape".into())))?;
    Ok(if dtype.is_float() && dtype != DType::F32 {
        Tensor::from_f32(tensor.dims(), &tensor.to_f32())
    } else {
        tensor
    })
}

fn element_type(dtype: DataType) -> Result<DType, OpError> {
    dlbc_ops::op::element_type(i64::from(dtype.to_onnx()))
}

/// Casts a float of another width to float32, the arithmetic of the graph.
fn widen(graph: &mut Graph<Op>, v: Value) -> Value {
    let ty = graph.ty(v).clone();
    if !ty.dtype.is_float() || ty.dtype == DType::F32 {
        return v;
    }
    let name = format!("{}.f32", graph.value_name(v));
    let origin = graph.node(v.node).origin.clone();
    graph.add_value(Op::Cast(Cast { to: DType::F32 }), &name, ty.with_dtype(DType::F32), origin, &[v])
}
