//! Builder of ONNX nodes in a main graph or a function body.

mod dims;
pub(crate) mod scope;
pub(crate) mod sources;
pub(crate) mod types;

use std::collections::{HashMap, HashSet};

use dlbc_ops::tensor::{Array, DType, Dim, Tensor};
use dlbc_proto::onnx::{AttributeProto, NodeProto};
use dlbc_proto::write;

use scope::{MainGraph, Scope};
use sources::Sources;
use types::initializer;

/// Name of the result in a function body.
pub(crate) const RESULT: &str = "y";

/// Builds the nodes that primitives lower to.
pub(crate) struct OnnxBuilder {
    /// Nodes in the order in which they were added, without the hoisted ones.
    pub nodes: Vec<NodeProto>,
    /// Number of `Constant` nodes among them.
    pub constants: usize,
    scope: Scope,
    /// Names of cached results, by a description of their node or constant.
    cache: HashMap<String, String>,
    used_names: HashSet<String>,
    /// Beginning of the names of new values in a main graph.
    prefix: String,
    /// Number of values with a numbered name.
    count: usize,
}

impl OnnxBuilder {
    /// A builder of a main graph. `sources` define its dimension symbols; names in `used_names` are not given again.
    pub fn main(sources: Sources, used_names: HashSet<String>) -> OnnxBuilder {
        OnnxBuilder::new(Scope::Main(MainGraph { sources, ..MainGraph::default() }), used_names)
    }

    /// A builder of a function body.
    pub fn function() -> OnnxBuilder {
        OnnxBuilder::new(Scope::Function(vec![]), HashSet::new())
    }

    fn new(scope: Scope, used_names: HashSet<String>) -> OnnxBuilder {
        OnnxBuilder {
            nodes: vec![],
            constants: 0,
            scope,
            cache: HashMap::new(),
            used_names,
            prefix: String::new(),
            count: 0,
        }
    }

    /// Sets the beginning of the names of new values to `result`, the result that they contribute to.
    pub fn set_prefix(&mut self, result: &str) {
        self.prefix = result.into();
    }

    /// Returns the nodes and the parts that only a main graph has.
    pub fn into_main(self) -> (Vec<NodeProto>, MainGraph) {
        match self.scope {
            Scope::Main(main) => (self.nodes, main),
            Scope::Function(_) => (self.nodes, MainGraph::default()),
        }
    }

    /// Vectors of dimensions that a function body takes as parameters, after its operands.
    pub fn dim_parameters(&self) -> &[Vec<Dim>] {
        match &self.scope {
            Scope::Main(_) => &[],
            Scope::Function(parameters) => parameters,
        }
    }

    /// Returns `name`, or `name.N` with the first number that makes it unused, and marks it as used.
    pub fn fresh(&mut self, name: &str) -> String {
        let mut candidate = name.to_string();
        let mut n = 1;
        while !self.used_names.insert(candidate.clone()) {
            n += 1;
            candidate = format!("{name}.{n}");
        }
        candidate
    }

    /// Returns an unused name for the result of an operator.
    pub fn name(&mut self, op: &str) -> String {
        match self.scope {
            Scope::Main(_) => self.fresh(&format!("{}/{op}", self.prefix)),
            Scope::Function(_) => self.numbered("t"),
        }
    }

    /// Returns an unused name of a word and a number.
    fn numbered(&mut self, word: &str) -> String {
        self.count += 1;
        self.fresh(&format!("{word}{}", self.count))
    }

    /// Adds a node and returns the name of its result.
    pub fn add(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.name(op);
        self.nodes.push(write::node(op, &name, inputs, &[&name], attributes));
        name
    }

    /// Adds a node with two results and returns the name of the second.
    pub fn add_second(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let (first, second) = (self.name(op), self.name(op));
        self.nodes.push(write::node(op, &second, inputs, &[&first, &second], attributes));
        second
    }

    /// Collects the nodes that `fill` adds as the nodes of a subgraph. Their cached results are not visible outside.
    pub fn in_subgraph<T>(&mut self, fill: impl FnOnce(&mut OnnxBuilder) -> T) -> (T, Vec<NodeProto>) {
        let outer = std::mem::take(&mut self.nodes);
        let (cache, constants) = (self.cache.clone(), self.constants);
        let result = fill(self);
        let nodes = std::mem::replace(&mut self.nodes, outer);
        (self.cache, self.constants) = (cache, constants);
        (result, nodes)
    }

    /// Adds a node unless an equal one exists, and returns the name of its result. It must not be the last node of a
    /// primitive, since `name_result` renames that one.
    pub fn add_cached(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.cache.get(&key) {
            return name.clone();
        }
        let name = self.add(op, inputs, attributes);
        self.cache.insert(key, name.clone());
        name
    }

    /// Adds a node that computes dimensions unless an equal one exists. In a main graph it precedes all other nodes, except if
    /// it depends on a data-dependent value; then it stays where it is added.
    pub fn hoist(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.cache.get(&key) {
            return name.clone();
        }
        let name = self.numbered("dlbc.dim/");
        let node = write::node(op, &name, inputs, &[&name], attributes);
        match &mut self.scope {
            Scope::Main(main) if main.is_data_dependent(inputs) => {
                main.data_dependent.insert(name.clone());
                self.nodes.push(node);
            }
            Scope::Main(main) => main.shape_nodes.push(node),
            Scope::Function(_) => self.nodes.push(node),
        }
        self.cache.insert(key, name.clone());
        name
    }

    /// Renames `result` to `target` if the last node computes it; otherwise adds an `Identity` to `target`.
    pub fn name_result(&mut self, result: &str, target: &str) {
        match self.nodes.last_mut() {
            Some(node) if node.output.last().is_some_and(|o| o == result) => {
                node.output.pop();
                node.output.push(target.into());
                node.name = Some(target.into());
            }
            _ => self.nodes.push(write::node("Identity", target, &[result], &[target], vec![])),
        }
    }

    /// Adds a constant unless an equal one exists, and returns its name.
    pub fn constant(&mut self, t: &Tensor) -> String {
        let key = format!("constant {} {:?}", t.ty(), t.bytes());
        if let Some(name) = self.cache.get(&key) {
            return name.clone();
        }
        let name = self.numbered(if let Scope::Main(_) = self.scope { "dlbc.const/" } else { "c" });
        match &mut self.scope {
            Scope::Main(main) => main.initializers.push(initializer(&name, t)),
            Scope::Function(_) => {
                let value = vec![write::attr_tensor("value", initializer("", t))];
                self.nodes.push(write::node("Constant", &name, &[], &[&name], value));
                self.constants += 1;
            }
        }
        self.cache.insert(key, name.clone());
        name
    }

    /// Adds a scalar constant of an element type.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> String {
        self.constant(&Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype))
    }

    /// Adds a constant int64 vector.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::from_i64(&[values.len()], values))
    }
}
