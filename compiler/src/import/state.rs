//! An import under way: the tensors read so far, and the nodes that cannot be read.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlbc_ops::graph::{Graph, Origin, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::read::{Attr, Reader, Reading};
use dlbc_ops::tensor::Tensor;
use dlbc_proto::onnx::{NodeProto, TensorProto};
use dlbc_proto::{Model, Name};

use super::convert::convert;
use super::function::Expanded;
use super::name::node_name;
use super::scope;
use crate::error::CompileError;
use crate::options::Options;

/// The graph as far as it is read, and the tensors that it has so far.
pub struct Import<'a> {
    pub model: &'a Model,
    pub options: &'a Options,
    pub graph: Graph<Op>,
    pub values: HashMap<String, Value>,
    /// Tensors that unsupported nodes would make, directly or not.
    pub failed: BTreeSet<String>,
    pub unsupported: BTreeMap<(String, String), Vec<String>>,
    pub readers: HashMap<(&'static str, &'static str), Reader>,
    /// Values that carry an ONNX tensor's name.
    pub named: HashSet<Value>,
    /// Nodes read, those of unrolled loops each time.
    pub read: usize,
}

impl Import<'_> {
    pub fn initializers(&mut self) -> Result<(), CompileError> {
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

    pub fn tensor(&self, t: &TensorProto) -> Result<Tensor, CompileError> {
        let data = self.model.tensor(t)?;
        convert(data.dtype, &data.dims, data.bytes, t.name())
    }

    pub fn add_constant(&mut self, name: &str, tensor: Tensor) -> Value {
        let ty = tensor.ty();
        self.graph.add_value(Op::Const(tensor), name, ty, Origin::onnx(name, "initializer"), &[])
    }

    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<(), CompileError> {
        let v = self.add_constant(name, tensor);
        match self.values.insert(name.into(), v) {
            Some(_) => Err(CompileError::DuplicateTensor(Name::new(name))),
            None => Ok(()),
        }
    }

    /// What reads a node.
    pub fn reading<'r>(
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

    pub fn refuse(&mut self, node: &NodeProto, title: &str, reason: String, name: String) {
        self.unsupported.entry((title.into(), reason)).or_default().push(name);
        self.failed.extend(node.output.iter().cloned());
    }

    /// Gives the outputs their ONNX names.
    pub fn bind(&mut self, node: &NodeProto, outputs: Vec<Value>) -> Result<(), CompileError> {
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
}
