//! Nodes of a file, and the graph that they stand in.

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

/// The name of the result of a function.
pub(crate) const RESULT: &str = "y";

/// Adds the nodes that primitives lower to.
pub(crate) struct OnnxBuilder {
    /// The nodes, in order.
    pub nodes: Vec<NodeProto>,
    /// The number of constants among the nodes.
    pub constants: usize,
    scope: Scope,
    /// Results of nodes and constants that are made once, by what makes them.
    cache: HashMap<String, String>,
    used_names: HashSet<String>,
    prefix: String,
    /// The number of nameless values.
    count: usize,
}

impl OnnxBuilder {
    /// A main graph in which names are in use.
    pub fn main(sources: Sources, used_names: HashSet<String>) -> OnnxBuilder {
        OnnxBuilder::new(Scope::Main(MainGraph { sources, ..MainGraph::default() }), used_names)
    }

    /// A function body.
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

    /// Values made from now on belong to `result`: their names begin with it.
    pub fn begin(&mut self, result: &str) {
        self.prefix = result.into();
    }

    /// The nodes, and the parts that only a main graph has.
    pub fn into_main(self) -> (Vec<NodeProto>, MainGraph) {
        match self.scope {
            Scope::Main(main) => (self.nodes, main),
            Scope::Function(_) => (self.nodes, MainGraph::default()),
        }
    }

    /// The vectors of dimensions that the caller of a function passes.
    pub fn vectors(&self) -> &[Vec<Dim>] {
        match &self.scope {
            Scope::Main(_) => &[],
            Scope::Function(vectors) => vectors,
        }
    }

    /// A name that nothing has, close to `name`.
    pub fn fresh(&mut self, name: &str) -> String {
        let mut candidate = name.to_string();
        let mut n = 1;
        while !self.used_names.insert(candidate.clone()) {
            n += 1;
            candidate = format!("{name}.{n}");
        }
        candidate
    }

    /// A name for a value of an operation.
    pub fn name(&mut self, op: &str) -> String {
        match self.scope {
            Scope::Main(_) => self.fresh(&format!("{}/{op}", self.prefix)),
            Scope::Function(_) => self.numbered("t"),
        }
    }

    fn numbered(&mut self, word: &str) -> String {
        self.count += 1;
        self.fresh(&format!("{word}{}", self.count))
    }

    /// Adds a node and returns its result.
    pub fn add(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.name(op);
        self.nodes.push(write::node(op, &name, inputs, &[&name], attributes));
        name
    }

    /// Adds a node with two results, and returns the second.
    pub fn add_second(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let (first, second) = (self.name(op), self.name(op));
        self.nodes.push(write::node(op, &second, inputs, &[&first, &second], attributes));
        second
    }

    /// Adds the nodes of a graph within a node, and returns them apart. Their results are not known outside.
    pub fn in_subgraph<T>(&mut self, fill: impl FnOnce(&mut OnnxBuilder) -> T) -> (T, Vec<NodeProto>) {
        let outer = std::mem::take(&mut self.nodes);
        let (cache, constants) = (self.cache.clone(), self.constants);
        let result = fill(self);
        let nodes = std::mem::replace(&mut self.nodes, outer);
        (self.cache, self.constants) = (cache, constants);
        (result, nodes)
    }

    /// Adds a node unless the same one is there already. Not for the last node of a primitive, which takes the name of the
    /// result.
    pub fn add_cached(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.cache.get(&key) {
            return name.clone();
        }
        let name = self.add(op, inputs, attributes);
        self.cache.insert(key, name.clone());
        name
    }

    /// Adds a node to the prelude unless the same one is there already; what depends on measured values stands where it is
    /// needed.
    pub fn hoist(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.cache.get(&key) {
            return name.clone();
        }
        let name = self.numbered("dlbc.dim/");
        let node = write::node(op, &name, inputs, &[&name], attributes);
        match &mut self.scope {
            Scope::Main(main) if main.is_late(inputs) => {
                main.late.insert(name.clone());
                self.nodes.push(node);
            }
            Scope::Main(main) => main.prelude.push(node),
            Scope::Function(_) => self.nodes.push(node),
        }
        self.cache.insert(key, name.clone());
        name
    }

    /// Gives the result of the last node the name `target`; a result that another node made is copied.
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

    /// A constant; equal ones are made once.
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

    /// A scalar of an element type.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> String {
        self.constant(&Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype))
    }

    /// An int64 vector.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::from_i64(&[values.len()], values))
    }
}
