//! State of an import: the graph so far, and the nodes that are not supported.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, Origin, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::read::{Attr, Narrow, Reader, Reading, Words};
use dlbc_ops::tensor::Tensor;
use dlbc_proto::onnx::{NodeProto, TensorProto};
use dlbc_proto::{DataType, Model, Name};

use super::convert::convert;
use super::function::Expanded;
use super::module_path::module_path;
use super::name::node_name;
use super::words;
use crate::error::{CompileError, MODEL_INPUT};
use crate::options::Options;

/// State of an import.
pub struct Import<'a> {
    pub model: &'a Model,
    pub options: &'a Options,
    /// Graph of the nodes that are read.
    pub graph: Graph<Op>,
    /// Value of each ONNX tensor that is in scope.
    pub values: HashMap<String, Value>,
    /// Elements of each ONNX sequence that is in scope.
    pub sequences: HashMap<String, Vec<Value>>,
    /// Tensors that depend on an unsupported node.
    pub failed: BTreeSet<String>,
    /// Names of unsupported nodes, by operator and reason.
    pub unsupported: BTreeMap<(String, Refusal), Vec<String>>,
    /// Readers by domain and operator.
    pub readers: HashMap<(&'static str, &'static str), Reader>,
    /// Values that have the name of an ONNX tensor.
    pub named: HashSet<Value>,
    /// Element types in the file of constants and inputs that tensors have no type for.
    pub narrow: HashMap<Value, Narrow>,
    /// Number of nodes read; nodes of an unrolled loop count once per iteration.
    pub read: usize,
    /// Tensors that nodes of the main graph compute and nothing uses.
    pub unread: &'a HashSet<String>,
    /// Strings of the model.
    pub words: RefCell<Words>,
}

/// The reason why a node is refused.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Reason, as a clause for the message.
    pub reason: String,
    /// True if the node is supported once the dimensions of the inputs are fixed.
    pub symbolic: bool,
}

impl Refusal {
    /// A refusal because a dimension is symbolic.
    pub fn symbolic(reason: String) -> Refusal {
        Refusal { reason, symbolic: true }
    }
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(reason: T) -> Refusal {
        Refusal { reason: reason.into(), symbolic: false }
    }
}

impl Import<'_> {
    /// Adds all initializers as constants.
    pub fn initializers(&mut self) -> Result<(), CompileError> {
        let model = self.model;
        let graph = model.graph();
        for t in &graph.initializer {
            let tensor = self.tensor(t)?;
            self.constant(t.name(), tensor)?;
            if t.data_type() == DataType::String.to_onnx() {
                self.words.borrow_mut().mark(self.values[t.name()]);
            }
            self.record_type(t.name(), t.data_type());
        }
        for s in &graph.sparse_initializer {
            let name = s.values.as_ref().map_or("", |v| v.name()).to_string();
            let data = model.sparse(s)?;
            let tensor = convert(data.dtype, &data.dims, data.bytes, &name)?;
            self.constant(&name, tensor)?;
        }
        Ok(())
    }

    /// Records the element type in the file of a tensor in scope, if tensors have no type for it.
    pub fn record_type(&mut self, name: &str, code: i32) {
        if let (Some(narrow), Some(v)) = (Narrow::of_code(i64::from(code)), self.values.get(name)) {
            self.narrow.insert(*v, narrow);
        }
    }

    /// Reads a tensor of the file.
    pub fn tensor(&self, t: &TensorProto) -> Result<Tensor, CompileError> {
        let data = self.model.tensor(t)?;
        if data.dtype == DataType::String {
            return words::numbers(&self.words.borrow(), &data);
        }
        convert(data.dtype, &data.dims, data.bytes, t.name())
    }

    /// Adds a constant node.
    pub fn add_constant(&mut self, name: &str, tensor: Tensor) -> Value {
        let ty = tensor.ty();
        self.graph.add_value(Op::Const(tensor), name, ty, Origin::onnx(name, "initializer"), &[])
    }

    /// Adds a constant and brings its name into scope.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<(), CompileError> {
        let v = self.add_constant(name, tensor);
        match self.values.insert(name.into(), v) {
            Some(_) => Err(CompileError::DuplicateTensor(Name::new(name))),
            None => Ok(()),
        }
    }

    /// Returns the view of a node from which its reader takes inputs and attributes.
    pub fn reading<'r>(
        &'r mut self,
        expanded: &'r Expanded,
        inputs: &'r [Option<Value>],
        attributes: &'r BTreeMap<String, Attr>,
    ) -> Reading<'r> {
        let Expanded { node, opsets } = expanded;
        let domain = if node.domain() == "ai.onnx" { "" } else { node.domain() };
        let mut origin = Origin::onnx(node_name(node), node.op_type());
        origin.scope = module_path(node).or(origin.scope);
        let outputs = node.output.iter().rposition(|o| self.is_read(o)).map_or(0, |i| i + 1);
        Reading {
            graph: &mut self.graph,
            op: node.op_type(),
            opset: opsets.get(domain).copied().unwrap_or_default(),
            inputs,
            outputs,
            attributes,
            narrow: &self.narrow,
            asked: RefCell::default(),
            asked_inputs: Cell::default(),
            origin,
            max_tensor_bytes: self.options.max_tensor_bytes,
            words: &self.words,
        }
    }

    /// Returns whether an output of a node has a name and is used.
    fn is_read(&self, output: &str) -> bool {
        !output.is_empty() && !self.unread.contains(output)
    }

    /// Returns whether a tensor or sequence has been read, or depends on an unsupported node.
    pub fn is_in_scope(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.sequences.contains_key(name) || self.failed.contains(name)
    }

    /// Records a node that is not supported; its outputs fail.
    pub fn refuse(&mut self, node: &NodeProto, title: &str, refusal: Refusal, name: String) {
        self.unsupported.entry((title.into(), refusal)).or_default().push(name);
        self.failed.extend(node.output.iter().cloned());
    }

    /// Returns whether an operand of a node depends on an unsupported node; the outputs of the node then fail, too.
    pub fn fails_with_operand(&mut self, node: &NodeProto) -> bool {
        let fails = node.input.iter().any(|i| self.failed.contains(i));
        if fails {
            self.failed.extend(node.output.iter().cloned());
        }
        fails
    }

    /// Records a node whose reader fails because it is not supported.
    ///
    /// # Errors
    /// Any other reason, with the node.
    pub fn refuse_for(&mut self, node: &NodeProto, title: &str, reason: OpError) -> Result<(), CompileError> {
        let name = node_name(node).to_string();
        let refusal = match reason {
            OpError::Unsupported(reason) => Refusal::from(reason),
            OpError::Symbolic(reason) => Refusal::symbolic(reason),
            source => {
                let (node, op) = (Name::new(&name), Name::new(node.op_type()));
                return Err(CompileError::Node { node, op, source });
            }
        };
        self.refuse(node, title, refusal, name);
        Ok(())
    }

    /// Records a model input that is not supported; what depends on it fails.
    pub fn refuse_input(&mut self, name: &str, reason: String) {
        self.unsupported.entry((MODEL_INPUT.into(), Refusal::from(reason))).or_default().push(name.into());
        self.failed.insert(name.into());
    }

    /// Brings the outputs of a node into scope. Outputs in `stop_at` become inputs of the graph instead.
    pub fn bind(&mut self, node: &NodeProto, outputs: Vec<Value>) -> Result<(), CompileError> {
        for (tensor, mut v) in node.output.iter().zip(outputs) {
            if tensor.is_empty() {
                continue;
            }
            let is_new =
                self.graph.node(v.node).origin.nodes.first().is_some_and(|(n, _)| n == node_name(node));
            let stop = self.options.stop_at.iter().any(|s| s == tensor);
            // At a stop, the new input gets the name of the tensor.
            if is_new && !stop && self.named.insert(v) {
                self.graph.rename(v, tensor);
            }
            if stop {
                let ty = self.graph.ty(v).clone();
                // The node may have the tensor's name already.
                if is_new {
                    self.graph.rename(v, &format!("{tensor}.left_out"));
                }
                v = self.graph.add_input(Op::Input, tensor, ty);
                self.graph.rename(v, tensor);
            }
            self.values.insert(tensor.clone(), v);
        }
        Ok(())
    }
}
