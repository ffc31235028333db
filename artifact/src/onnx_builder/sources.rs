//! Values of a graph that its symbols are known from.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;

/// The value that a symbol is known from.
#[derive(Clone)]
pub(crate) enum Source {
    /// An input, the axis whose dimension is a multiple of it, and the factor.
    Axis(String, usize, i64),
    /// A value of one element that is it.
    Value(String),
}

/// The source of each symbol.
pub(crate) type Sources = HashMap<String, Source>;

/// The sources of a graph's symbols: the first input that has them as a dimension, or the value that is measured.
/// `except` is no source.
pub(crate) fn sources(graph: &Graph<Prim>, except: &str) -> Sources {
    let mut sources = Sources::new();
    for node in graph.inputs().iter().map(|id| graph.node(*id)).filter(|n| n.name() != except) {
        for (axis, dim) in node.types.iter().flat_map(|t| t.shape.0.iter().enumerate()) {
            if let Some((factor, symbol)) = dim.as_multiple() {
                let source = || Source::Axis(node.name().to_string(), axis, factor);
                sources.entry(symbol.to_string()).or_insert_with(source);
            }
        }
    }
    for (symbol, v) in measured(graph) {
        sources.insert(symbol.into(), Source::Value(graph.value_name(v).into()));
    }
    sources
}

/// The symbols that values of a graph bind.
pub(crate) fn measured(graph: &Graph<Prim>) -> impl Iterator<Item = (&str, Value)> {
    graph.outputs().iter().filter_map(|(output, v)| match output {
        Output::Dimension(symbol) => Some((&**symbol, *v)),
        Output::Model(_)
        | Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Value(_) => None,
    })
}
