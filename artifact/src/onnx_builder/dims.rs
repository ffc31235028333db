//! Symbolic dimensions as int64 tensors, computed from the shapes of the graph's inputs. Equal expressions share their nodes.

use dlbc_ops::tensor::{Dim, DimVisitor, Tensor};
use dlbc_proto::write;

use super::OnnxBuilder;
use super::scope::Scope;
use super::sources::Source;

impl OnnxBuilder {
    /// Returns an int64 vector of dimensions: a constant if all are known, else nodes of the main graph. A function body gets the
    /// vector as a parameter.
    ///
    /// # Errors
    /// When a symbol is not defined by the shape of an input or by a data-dependent value.
    pub fn vector(&mut self, dims: &[Dim]) -> Result<String, String> {
        if let Some(known) = dims.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            return Ok(self.ints(&known));
        }
        match &mut self.scope {
            Scope::Main(_) => main_vector(self, dims),
            Scope::Function(parameters) => {
                let index = parameters.iter().position(|p| p == dims).unwrap_or_else(|| {
                    parameters.push(dims.to_vec());
                    parameters.len() - 1
                });
                Ok(format!("d{index}"))
            }
        }
    }
}

/// Adds nodes to a main graph that compute an int64 vector of dimensions.
fn main_vector(builder: &mut OnnxBuilder, dims: &[Dim]) -> Result<String, String> {
    let mut parts: Vec<String> = vec![];
    let mut known: Vec<i64> = vec![];
    let flush = |builder: &mut OnnxBuilder, known: &mut Vec<i64>, parts: &mut Vec<String>| {
        if !known.is_empty() {
            parts.push(builder.ints(&std::mem::take(known)));
        }
    };
    for dim in dims {
        match dim.as_known() {
            Some(v) => known.push(v),
            None => {
                flush(builder, &mut known, &mut parts);
                let mut writer = ExpressionWriter { builder, missing: None };
                let part = dim.fold(&mut writer);
                if let Some(symbol) = writer.missing {
                    return Err(format!("expected a dimension of an input, found `{symbol}`"));
                }
                parts.push(part);
            }
        }
    }
    flush(builder, &mut known, &mut parts);
    if let [single] = parts.as_slice() {
        return Ok(single.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(builder.hoist("Concat", &parts, vec![write::attr_int("axis", 0)]))
}

/// Writes a dimension expression as nodes; every value is an int64 vector of one element.
struct ExpressionWriter<'a> {
    builder: &'a mut OnnxBuilder,
    /// First symbol without a source.
    missing: Option<String>,
}

impl DimVisitor<String> for ExpressionWriter<'_> {
    fn constant(&mut self, value: i64) -> String {
        self.builder.constant(&Tensor::from_i64(&[1], &[value]))
    }

    fn symbol(&mut self, name: &str) -> String {
        let (input, axis, factor) = match self.builder.scope.source(name) {
            Some(Source::Axis { input, axis, factor }) => (input, axis, factor),
            Some(Source::Value(value)) => {
                let vector = self.builder.ints(&[1]);
                return self.builder.hoist("Reshape", &[&value, &vector], vec![]);
            }
            None => {
                self.missing.get_or_insert_with(|| name.to_string());
                return String::new();
            }
        };
        let shape = self.builder.hoist("Shape", &[&input], vec![]);
        let axis = self.constant(axis as i64);
        let multiple = self.builder.hoist("Gather", &[&shape, &axis], vec![write::attr_int("axis", 0)]);
        if factor == 1 {
            return multiple;
        }
        let factor = self.constant(factor);
        self.floor_div(multiple, factor)
    }

    fn add(&mut self, a: String, b: String) -> String {
        self.builder.hoist("Add", &[&a, &b], vec![])
    }

    fn mul(&mut self, a: String, b: String) -> String {
        self.builder.hoist("Mul", &[&a, &b], vec![])
    }

    fn floor_div(&mut self, a: String, b: String) -> String {
        // `Div` truncates, which is floor since dimensions are not negative.
        self.builder.hoist("Div", &[&a, &b], vec![])
    }
}
