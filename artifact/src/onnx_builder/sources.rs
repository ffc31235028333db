//! Sources of dimension symbols: shapes of inputs, and data-dependent values.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;

/// A value from which a dimension symbol is computed.
#[derive(Clone)]
pub(crate) enum Source {
    /// Dimension `axis` of `input`, which is the symbol times `factor`.
    Axis { input: String, axis: usize, factor: i64 },
    /// Name of a value of one element that equals the symbol.
    Value(String),
}

/// Source of each dimension symbol.
pub(crate) type Sources = HashMap<String, Source>;

/// Returns the source of each dimension symbol: the first input with it in its shape, or a data-dependent value. The input
/// `ignored` is not a source.
pub(crate) fn sources(graph: &Graph<Prim>, ignored: &str) -> Sources {
    let mut sources = Sources::new();
    for node in graph.inputs().iter().map(|id| graph.node(*id)).filter(|n| n.name() != ignored) {
        for (axis, dim) in node.types.iter().flat_map(|t| t.shape.0.iter().enumerate()) {
            if let Some((factor, symbol)) = dim.as_multiple() {
                let source = || Source::Axis { input: node.name().to_string(), axis, factor };
                sources.entry(symbol.to_string()).or_insert_with(source);
            }
        }
    }
    for (symbol, v) in data_dependent_dims(graph) {
        sources.insert(symbol.into(), Source::Value(graph.value_name(v).into()));
    }
    sources
}

/// Returns the data-dependent dimension symbols, each with the value that it equals.
pub(crate) fn data_dependent_dims(graph: &Graph<Prim>) -> impl Iterator<Item = (&str, Value)> {
    graph.outputs().iter().filter_map(|(output, v)| match output {
        Output::Dimension(symbol) => Some((&**symbol, *v)),
        Output::Model(_)
        | Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Trees { .. }
        | Output::Value(_) => None,
    })
}
