//! Dimensions that only a run knows: computed from the shapes of the graph's inputs, each expression once.

use std::collections::HashMap;

use dlbc_ops::tensor::{Dim, DimVisitor};
use dlbc_proto::onnx::NodeProto;
use dlbc_proto::{DataType, write};

/// Emits the nodes that compute dimensions.
#[derive(Default)]
pub struct DimNodes {
    /// The nodes, in order.
    pub nodes: Vec<NodeProto>,
    sources: HashMap<String, (String, usize)>,
    made: HashMap<String, String>,
    count: usize,
}

impl DimNodes {
    /// Dimension `axis` of graph input `input` is this symbol.
    pub fn source(&mut self, symbol: &str, input: &str, axis: usize) {
        self.sources.entry(symbol.into()).or_insert_with(|| (input.into(), axis));
    }

    /// The name of an int64 vector of these dimensions.
    pub fn vector(&mut self, dims: &[Dim]) -> String {
        let key = format!("{dims:?}");
        if let Some(name) = self.made.get(&key) {
            return name.clone();
        }
        let parts: Vec<String> = dims.iter().map(|d| d.fold(self)).collect();
        let name = self.node("Concat", &parts, vec![write::attr_int("axis", 0)]);
        self.made.insert(key, name.clone());
        name
    }

    fn node(&mut self, op: &str, inputs: &[String], attributes: Vec<dlbc_proto::onnx::AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.made.get(&key) {
            return name.clone();
        }
        let name = format!("dlbc.dim/{}", self.count);
        self.count += 1;
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.nodes.push(write::node(op, &name, &inputs, &[&name], attributes));
        self.made.insert(key, name.clone());
        name
    }
}

/// Every value is an int64 vector of one element.
impl DimVisitor<String> for DimNodes {
    fn constant(&mut self, value: i64) -> String {
        let tensor = write::tensor("", DataType::I64, &[1], value.to_le_bytes().to_vec());
        self.node("Constant", &[], vec![write::attr_tensor("value", tensor)])
    }

    fn symbol(&mut self, name: &str) -> String {
        let (input, axis) = self.sources.get(name).cloned().unwrap_or_default();
        let shape = self.node("Shape", &[input], vec![]);
        let axis = self.constant(axis as i64);
        self.node("Gather", &[shape, axis], vec![write::attr_int("axis", 0)])
    }

    fn add(&mut self, a: String, b: String) -> String {
        self.node("Add", &[a, b], vec![])
    }

    fn mul(&mut self, a: String, b: String) -> String {
        self.node("Mul", &[a, b], vec![])
    }

    fn floor_div(&mut self, a: String, b: String) -> String {
        // Dimensions are not negative, so truncation is floor.
        self.node("Div", &[a, b], vec![])
    }
}
