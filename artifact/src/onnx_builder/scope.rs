//! The graph that nodes are added to: the main graph, or the body of a function.

use std::collections::HashSet;

use dlbc_ops::tensor::Dim;
use dlbc_proto::onnx::{NodeProto, TensorProto};

use super::sources::{Source, Sources};

/// Scope of nodes.
pub(crate) enum Scope {
    /// The main graph.
    Main(MainGraph),
    /// The body of a function, with the vectors of dimensions that its caller passes.
    Function(Vec<Vec<Dim>>),
}

/// Parts that exist only in a main graph.
#[derive(Default)]
pub(crate) struct MainGraph {
    /// Constants.
    pub initializers: Vec<TensorProto>,
    /// Nodes that compute dimensions; they stand first.
    pub prelude: Vec<NodeProto>,
    /// The sources of symbols.
    pub sources: Sources,
    /// Dimensions that depend on measured values.
    pub late: HashSet<String>,
}

impl MainGraph {
    /// Returns whether a node with these operands depends on measured values, so that it must stand after them.
    pub fn is_late(&self, inputs: &[&str]) -> bool {
        inputs.iter().any(|i| self.late.contains(*i) || self.is_measured(i))
    }

    fn is_measured(&self, value: &str) -> bool {
        self.sources.values().any(|s| matches!(s, Source::Value(v) if v == value))
    }
}

impl Scope {
    /// The source of a symbol; `None` in a function, which its caller passes dimensions.
    pub fn source(&self, symbol: &str) -> Option<Source> {
        match self {
            Scope::Main(main) => main.sources.get(symbol).cloned(),
            Scope::Function(_) => None,
        }
    }
}
