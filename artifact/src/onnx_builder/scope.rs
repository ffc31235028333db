//! Scope of nodes: the main graph or a function body.

use std::collections::HashSet;

use dlbc_ops::tensor::Dim;
use dlbc_proto::onnx::{NodeProto, TensorProto};

use super::sources::{Source, Sources};

/// The graph that a builder adds nodes to.
pub(crate) enum Scope {
    /// The main graph.
    Main(MainGraph),
    /// A function body, with the vectors of dimensions that are its parameters.
    Function(Vec<Vec<Dim>>),
}

/// Parts that exist only in a main graph.
#[derive(Default)]
pub(crate) struct MainGraph {
    /// Constants that lowering added.
    pub initializers: Vec<TensorProto>,
    /// Nodes that compute dimensions from the shapes of inputs; they precede all other nodes.
    pub shape_nodes: Vec<NodeProto>,
    /// Source of each dimension symbol.
    pub sources: Sources,
    /// Names of computed dimensions that depend on data.
    pub data_dependent: HashSet<String>,
}

impl MainGraph {
    /// Returns whether one of these operands is a data-dependent dimension, or depends on one.
    pub fn is_data_dependent(&self, inputs: &[&str]) -> bool {
        inputs.iter().any(|i| self.data_dependent.contains(*i) || self.is_symbol_value(i))
    }

    fn is_symbol_value(&self, value: &str) -> bool {
        self.sources.values().any(|s| matches!(s, Source::Value(v) if v == value))
    }
}

impl Scope {
    /// Returns the source of a symbol; `None` in a function body, which gets its dimensions as parameters.
    pub fn source(&self, symbol: &str) -> Option<Source> {
        match self {
            Scope::Main(main) => main.sources.get(symbol).cloned(),
            Scope::Function(_) => None,
        }
    }
}
