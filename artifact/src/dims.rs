//! Dimensions that only a run knows: computed from the shapes of the graph's inputs, each expression once.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::MEASURED;
use dlbc_ops::tensor::{Dim, DimVisitor, Tensor};
use dlbc_proto::write;

use crate::sheet::Sheet;

/// Where a symbol is known from.
#[derive(Clone)]
pub(crate) enum Source {
    /// An input, the axis whose dimension is a multiple of it, and the factor.
    Axis(String, usize, i64),
    /// A value of one element that is it.
    Value(String),
}

/// Where each symbol is known from.
pub(crate) type Sources = HashMap<String, Source>;

/// Where the symbols of a graph are known from: the first input that has them as a dimension, or the value that is measured.
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
    graph.outputs().iter().filter_map(|(name, v)| Some((name.strip_prefix(MEASURED)?, *v)))
}

/// Computes an int64 vector of dimensions in a main graph.
pub(crate) fn vector(sheet: &mut Sheet, dims: &[Dim]) -> Result<String, String> {
    let mut parts: Vec<String> = vec![];
    let mut known: Vec<i64> = vec![];
    let flush = |sheet: &mut Sheet, known: &mut Vec<i64>, parts: &mut Vec<String>| {
        if !known.is_empty() {
            parts.push(sheet.ints(&std::mem::take(known)));
        }
    };
    for dim in dims {
        match dim.as_known() {
            Some(v) => known.push(v),
            None => {
                flush(sheet, &mut known, &mut parts);
                let mut writer = Writer { sheet, missing: None };
                let part = dim.fold(&mut writer);
                if let Some(symbol) = writer.missing {
                    return Err(format!("dimension `{symbol}` is not that of an input"));
                }
                parts.push(part);
            }
        }
    }
    flush(sheet, &mut known, &mut parts);
    if let [single] = parts.as_slice() {
        return Ok(single.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(sheet.early("Concat", &parts, vec![write::attr_int("axis", 0)]))
}

/// Every value is an int64 vector of one element.
struct Writer<'a> {
    sheet: &'a mut Sheet,
    missing: Option<String>,
}

impl DimVisitor<String> for Writer<'_> {
    fn constant(&mut self, value: i64) -> String {
        self.sheet.constant(&Tensor::from_i64(&[1], &[value]))
    }

    fn symbol(&mut self, name: &str) -> String {
        let (input, axis, factor) = match self.sheet.source(name) {
            Some(Source::Axis(input, axis, factor)) => (input, axis, factor),
            Some(Source::Value(value)) => {
                let one = self.sheet.ints(&[1]);
                return self.sheet.early("Reshape", &[&value, &one], vec![]);
            }
            None => {
                self.missing.get_or_insert_with(|| name.to_string());
                return String::new();
            }
        };
        let shape = self.sheet.early("Shape", &[&input], vec![]);
        let axis = self.constant(axis as i64);
        let whole = self.sheet.early("Gather", &[&shape, &axis], vec![write::attr_int("axis", 0)]);
        if factor == 1 {
            return whole;
        }
        let factor = self.constant(factor);
        self.floor_div(whole, factor)
    }

    fn add(&mut self, a: String, b: String) -> String {
        self.sheet.early("Add", &[&a, &b], vec![])
    }

    fn mul(&mut self, a: String, b: String) -> String {
        self.sheet.early("Mul", &[&a, &b], vec![])
    }

    fn floor_div(&mut self, a: String, b: String) -> String {
        // Dimensions are not negative, so truncation is floor.
        self.sheet.early("Div", &[&a, &b], vec![])
    }
}
