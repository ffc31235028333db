//! Import: ONNX model → `Graph<Op>`. Every type is inferred from the inputs; value info of the file is not trusted.
//!
//! The import reads all nodes before it fails, so that its error lists all unsupported operators.

mod attribute;
mod control;
mod convert;
mod function;
mod inputs;
mod module_path;
mod name;
mod order;
mod sequence;
mod state;
mod unify;
mod unread;
mod unused_inputs;
mod words;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlbc_ops::graph::{Graph, PrintOp, Value};
use dlbc_ops::op::read::{Reader, Words};
use dlbc_ops::op::{Op, readers};
use dlbc_ops::tensor::TensorType;
use dlbc_proto::onnx::NodeProto;
use dlbc_proto::{Model, Name};

use function::Expanded;
use name::{nearest, node_name};
use order::read_order;
use state::{Import, Refusal};

use crate::error::{CompileError, MODEL_OUTPUT, Unsupported};
use crate::options::Options;

/// Returns the strings of a model in the order of their numbers.
pub(crate) fn vocabulary(model: &Model) -> Vec<String> {
    Words::new(words::strings(&model.proto)).strings()
}

/// Returns the names of the inputs and outputs of a model that are declared as strings.
pub(crate) fn string_tensors(model: &Model) -> Vec<String> {
    let graph = model.graph();
    let all = graph.input.iter().chain(&graph.output);
    all.filter(|info| words::is_string(info)).map(|info| info.name().to_string()).collect()
}

/// Reads a model into a graph of operators.
///
/// # Errors
/// For invalid nodes, missing tensors and cycles, for unsupported operators, and for sizes beyond the limits.
pub fn import(model: &Model, options: &Options) -> Result<Graph<Op>, CompileError> {
    let nodes = function::inline(model, options.max_nodes)?;
    // Some exporters give every dimension of every input its own name. Where a node requires two dimensions to be equal, their
    // symbols are merged, and the import starts again.
    let mut symbols = inputs::Symbols::default();
    let unread = unread::tensors(model, options, &nodes);
    loop {
        let (error, types) = match attempt(model, options, &nodes, &unread, &mut symbols) {
            Ok(graph) => return Ok(graph),
            Err(failure) => *failure,
        };
        let CompileError::Node { node, op, source } = error else { return Err(error) };
        let unequal = source.unequal();
        match unequal.iter().find_map(|(a, b)| unify::merge(a, b, &types)) {
            Some(merges) if symbols.merge(&merges) => {}
            // Symbols that the inputs may still make equal: the model is not proven invalid.
            _ if !unequal.is_empty() && unequal.iter().all(|(a, b)| (a - b).as_known().is_none()) => {
                return Err(CompileError::Unsupported(vec![Unsupported {
                    op: op.to_string(),
                    reason: source.to_string(),
                    symbolic: true,
                    nodes: vec![node.to_string()],
                }]));
            }
            _ => return Err(CompileError::Node { node, op, source }),
        }
    }
}

/// Imports the model with these symbols. The error comes with the types of the inputs.
fn attempt(
    model: &Model,
    options: &Options,
    nodes: &[Expanded],
    unread: &HashSet<String>,
    symbols: &mut inputs::Symbols,
) -> Result<Graph<Op>, Box<(CompileError, Vec<TensorType>)>> {
    let mut import = Import {
        model,
        options,
        graph: Graph::default(),
        values: HashMap::new(),
        sequences: HashMap::new(),
        failed: BTreeSet::new(),
        unsupported: BTreeMap::new(),
        readers: readers().into_iter().map(|r| ((r.domain, r.op), r)).collect(),
        named: HashSet::new(),
        narrow: HashMap::new(),
        read: nodes.len(),
        unread,
        words: RefCell::new(Words::new(words::strings(&model.proto))),
    };
    let mut read = |import: &mut Import| {
        import.initializers()?;
        inputs::add(import, symbols)?;
        for node in read_order(nodes, import)? {
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

impl Import<'_> {
    /// Reads a node, or records that it is not supported.
    fn node(&mut self, expanded: &Expanded) -> Result<(), CompileError> {
        let Expanded { node, opsets } = expanded;
        if control::is_control(node) {
            return control::read(self, expanded);
        }
        if sequence::is_sequence(self, node) {
            return sequence::read(self, expanded);
        }
        let (name, op) = (node_name(node).to_string(), node.op_type());
        let domain = if node.domain() == "ai.onnx" { "" } else { node.domain() };
        let title = if domain.is_empty() { op.to_string() } else { format!("{domain}::{op}") };
        let reader = match self.reader(node, domain, opsets)? {
            Ok(reader) => reader,
            Err(reason) => {
                self.refuse(node, &title, Refusal::from(reason), name);
                return Ok(());
            }
        };
        if self.fails_with_operand(node) {
            return Ok(());
        }
        if node.input.iter().any(|i| self.sequences.contains_key(i)) {
            self.refuse(node, &title, Refusal::from("operand: expected a tensor, found a sequence"), name);
            return Ok(());
        }
        let attributes = attribute::read(self.model, node)?;
        // A trailing input without a name stands for an omitted operand.
        let mut inputs: Vec<Option<Value>> = node.input.iter().map(|i| self.values.get(i).copied()).collect();
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        if inputs.iter().flatten().any(|v| self.words.borrow().holds(*v)) && !words::takes_strings(op) {
            self.refuse(node, &title, Refusal::from("expected numbers, found strings"), name);
            return Ok(());
        }
        let mut reading = self.reading(expanded, &inputs, &attributes);
        let read = (reader.read)(&mut reading).and_then(|outputs| {
            reading.check_complete(outputs.len())?;
            Ok(outputs)
        });
        match read {
            Ok(outputs) => {
                self.bind(node, outputs)?;
                let constant = node.attribute.iter().find(|a| op == "Constant" && a.name() == "value");
                if let (Some(t), [output]) = (constant.and_then(|a| a.t.as_deref()), node.output.as_slice()) {
                    self.record_type(output, t.data_type());
                }
                Ok(())
            }
            Err(reason) => self.refuse_for(node, &title, reason),
        }
    }

    /// Returns the reader of a node, or the reason why the node is not supported.
    fn reader(
        &self,
        node: &NodeProto,
        domain: &str,
        opsets: &BTreeMap<String, i64>,
    ) -> Result<Result<Reader, String>, CompileError> {
        let Some(reader) = self.readers.get(&(domain, node.op_type())) else {
            return Ok(Err("no importer".into()));
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
            Ok(Err(format!("expected opset {} to {}, found {opset}", reader.since, reader.until)))
        }
    }

    /// Adds the outputs, and removes nodes that no output needs.
    fn finish(mut self) -> Result<Graph<Op>, CompileError> {
        let model = self.model;
        let outputs = &model.graph().output;
        if outputs.is_empty() {
            return Err(CompileError::NoOutputs);
        }
        let mut output_names = HashSet::new();
        for output in outputs {
            let name = output.name();
            if !output_names.insert(name) {
                return Err(CompileError::DuplicateOutput(Name::new(name)));
            }
            if self.sequences.contains_key(name) && !self.values.contains_key(name) {
                let refusal = Refusal::from("expected a tensor, found a sequence");
                self.unsupported.entry((MODEL_OUTPUT.into(), refusal)).or_default().push(name.into());
                self.failed.insert(name.into());
            }
            if !self.values.contains_key(name) && !self.failed.contains(name) {
                return Err(CompileError::MissingOutput(Name::new(name)));
            }
        }
        if !self.unsupported.is_empty() {
            let items = self.unsupported.into_iter().map(|((op, refusal), nodes)| {
                let Refusal { reason, symbolic } = refusal;
                Unsupported { op, reason, symbolic, nodes }
            });
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
        // An inner tensor that is explained becomes an output, so that every pass keeps its name and its value.
        if let Some(name) = self.options.output.as_ref().filter(|name| !output_names.contains(name.as_str()))
        {
            let v = *self.values.get(name).ok_or_else(|| unknown(name))?;
            self.graph.add_output(name, v);
        }
        self.graph.remove_unused();
        if !self.options.stop_at.is_empty() {
            unused_inputs::remove(&mut self.graph);
        }
        module_path::infer_missing(&mut self.graph);
        Ok(self.graph)
    }
}
