//! Dimensions that only a run knows: computed from the shapes of the graph's inputs, each expression once.

use dlbc_ops::tensor::{Dim, DimVisitor, Tensor};
use dlbc_proto::write;

use super::OnnxBuilder;
use super::scope::Scope;
use super::sources::Source;

impl OnnxBuilder {
    /// An int64 vector of dimensions: a constant when they are known, else computed by the main graph.
    ///
    /// # Errors
    /// When a symbol is no dimension of an input.
    pub fn vector(&mut self, dims: &[Dim]) -> Result<String, String> {
        if let Some(known) = dims.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            return Ok(self.ints(&known));
        }
        match &mut self.scope {
            Scope::Main(_) => vector(self, dims),
            Scope::Function(vectors) => {
                let at = vectors.iter().position(|v| v == dims).unwrap_or_else(|| {
                    vectors.push(dims.to_vec());
                    vectors.len() - 1
                });
                Ok(format!("d{at}"))
            }
        }
    }
}

/// Computes an int64 vector of dimensions in a main graph.
fn vector(s: &mut OnnxBuilder, dims: &[Dim]) -> Result<String, String> {
    let mut parts: Vec<String> = vec![];
    let mut known: Vec<i64> = vec![];
    let flush = |s: &mut OnnxBuilder, known: &mut Vec<i64>, parts: &mut Vec<String>| {
        if !known.is_empty() {
            parts.push(s.ints(&std::mem::take(known)));
        }
    };
    for dim in dims {
        match dim.as_known() {
            Some(v) => known.push(v),
            None => {
                flush(s, &mut known, &mut parts);
                let mut writer = Writer { builder: s, missing: None };
                let part = dim.fold(&mut writer);
                if let Some(symbol) = writer.missing {
                    return Err(format!("dimension `{symbol}` is not that of an input"));
                }
                parts.push(part);
            }
        }
    }
    flush(s, &mut known, &mut parts);
    if let [single] = parts.as_slice() {
        return Ok(single.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(s.hoist("Concat", &parts, vec![write::attr_int("axis", 0)]))
}

/// Every value is an int64 vector of one element.
struct Writer<'a> {
    builder: &'a mut OnnxBuilder,
    missing: Option<String>,
}

impl DimVisitor<String> for Writer<'_> {
    fn constant(&mut self, value: i64) -> String {
        self.builder.constant(&Tensor::from_i64(&[1], &[value]))
    }

    fn symbol(&mut self, name: &str) -> String {
        let (input, axis, factor) = match self.builder.scope.source(name) {
            Some(Source::Axis(input, axis, factor)) => (input, axis, factor),
            Some(Source::Value(value)) => {
                let one = self.builder.ints(&[1]);
                return self.builder.hoist("Reshape", &[&value, &one], vec![]);
            }
            None => {
                self.missing.get_or_insert_with(|| name.to_string());
                return String::new();
            }
        };
        let shape = self.builder.hoist("Shape", &[&input], vec![]);
        let axis = self.constant(axis as i64);
        let whole = self.builder.hoist("Gather", &[&shape, &axis], vec![write::attr_int("axis", 0)]);
        if factor == 1 {
            return whole;
        }
        let factor = self.constant(factor);
        self.floor_div(whole, factor)
    }

    fn add(&mut self, a: String, b: String) -> String {
        self.builder.hoist("Add", &[&a, &b], vec![])
    }

    fn mul(&mut self, a: String, b: String) -> String {
        self.builder.hoist("Mul", &[&a, &b], vec![])
    }

    fn floor_div(&mut self, a: String, b: String) -> String {
        // Dimensions are not negative, so truncation is floor.
        self.builder.hoist("Div", &[&a, &b], vec![])
    }
}
