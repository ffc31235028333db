//! Inputs of the model: their types, dimension symbols, and dimensions that the caller fixes.

use std::collections::BTreeMap;

use dlbc_ops::OpError;
use dlbc_ops::op::read::Narrow;
use dlbc_ops::op::{Op, element_type};
use dlbc_ops::tensor::{Dim, Shape, TensorType};
use dlbc_proto::onnx::ValueInfoProto;
use dlbc_proto::onnx::tensor_shape_proto::dimension::Value as DimValue;
use dlbc_proto::onnx::type_proto::Value as TypeValue;
use dlbc_proto::{DataType, Name};

use super::convert::widen;
use super::name::nearest;
use super::state::Import;
use super::unify::Merge;
use super::words;
use crate::error::CompileError;

/// Adds all inputs except initializers, which older files list as inputs, too.
///
/// # Errors
/// For an input of an unsupported type, a duplicate name, and options that name no input or do not fit its shape.
pub fn add(import: &mut Import, symbols: &mut Symbols) -> Result<(), CompileError> {
    let model = import.model;
    let mut names = vec![];
    let initializers: std::collections::HashSet<String> = import.values.keys().cloned().collect();
    for input in &model.graph().input {
        let name = input.name();
        if initializers.contains(name) {
            continue;
        }
        names.push(name.to_string());
        let ty = match input_type(input, symbols)? {
            Ok(ty) => ty,
            Err(reason) => {
                import.refuse_input(name, reason);
                continue;
            }
        };
        let ty = match import.options.shapes.get(name) {
            Some(dims) => fix_dimensions(name, &ty, dims)?,
            None => ty,
        };
        let v = import.graph.add_input(Op::Input, name, ty);
        if words::is_string(input) {
            import.words.borrow_mut().mark(v);
        }
        if import.values.insert(name.into(), widen(&mut import.graph, v)).is_some() {
            return Err(CompileError::DuplicateTensor(Name::new(name)));
        }
        import.record_type(name, element_code(input));
    }
    let options = import.options;
    let option_names = options.shapes.keys().chain(&options.live).chain(&options.no_relevance);
    if let Some(name) = option_names.into_iter().find(|n| !names.contains(n) && !options.stop_at.contains(n))
    {
        let known = nearest(name, &names);
        return Err(CompileError::UnknownName { what: "input", name: name.clone(), known });
    }
    Ok(())
}

/// Dimension symbols of the inputs.
#[derive(Default)]
pub struct Symbols {
    /// Symbol of each dimension name in the file.
    named: BTreeMap<String, String>,
    /// Dimensions that replace symbols, found by unification.
    merged: BTreeMap<String, Dim>,
}

impl Symbols {
    /// Records replacements of symbols; returns whether any symbol is replaced that was not before.
    pub fn merge(&mut self, merges: &[Merge]) -> bool {
        let previous_count = self.merged.len();
        for (symbol, dim) in merges {
            let dim = self.resolve(dim);
            let mut circular = false;
            dim.symbols(&mut |s| circular |= **s == **symbol);
            if !circular {
                self.merged.insert(symbol.clone(), dim);
            }
        }
        self.merged.len() > previous_count
    }

    /// Replaces all merged symbols. Each step removes one symbol, and its replacement was resolved before.
    fn resolve(&self, dim: &Dim) -> Dim {
        let mut dim = dim.clone();
        for _ in 0..self.merged.len() {
            dim = dim.replace(&|s| self.merged.get(s).cloned());
        }
        dim
    }

    /// Returns the symbol for a dimension name; equal names have equal symbols. Names that are not identifiers are rewritten.
    fn named(&mut self, param: &str) -> Dim {
        if let Some(name) = self.named.get(param) {
            return self.resolve(&Dim::symbol(name));
        }
        let clean: String =
            param.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
        let clean = match clean.chars().next() {
            Some(c) if c.is_ascii_alphabetic() => clean,
            _ => format!("d{clean}"),
        };
        let mut name = clean.clone();
        let mut n = 1;
        while self.named.values().any(|v| *v == name) || name == "floor" {
            name = format!("{clean}_{n}");
            n += 1;
        }
        self.named.insert(param.into(), name.clone());
        self.resolve(&Dim::symbol(&name))
    }
}

/// Reads the type of an input, or the reason why it is not supported.
fn input_type(
    input: &ValueInfoProto,
    symbols: &mut Symbols,
) -> Result<Result<TensorType, String>, CompileError> {
    let name = input.name();
    let bad = |message: &str| CompileError::Input { input: Name::new(name), message: message.into() };
    let Some(ty) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(bad("expected a type, found none"));
    };
    let TypeValue::TensorType(ty) = ty else {
        return Ok(Err("expected a tensor, found a sequence, a map or an optional".into()));
    };
    // Strings are numbers of the vocabulary.
    let number = if words::is_string(input) { DataType::I64.to_onnx() } else { ty.elem_type() };
    let code = i64::from(number);
    let dtype = match Narrow::of_code(code).map_or_else(|| element_type(code), |narrow| Ok(narrow.holder())) {
        Ok(dtype) => dtype,
        Err(OpError::Unsupported(reason)) => return Ok(Err(reason)),
        Err(e) => return Err(bad(&e.to_string())),
    };
    let shape = ty.shape.as_ref().ok_or_else(|| bad("expected a shape, found none"))?;
    let mut dims = vec![];
    for (i, d) in shape.dim.iter().enumerate() {
        let unnamed = format!("{name}_{i}");
        dims.push(match &d.value {
            // Some exporters write 0 or a negative number for an unknown dimension.
            Some(DimValue::DimValue(v)) if *v > 0 => Dim::known(*v),
            Some(DimValue::DimParam(p)) if !p.is_empty() && p != "?" => symbols.named(p),
            _ => symbols.named(&unnamed),
        });
    }
    Ok(Ok(TensorType::new(dtype, dims)))
}

/// Returns the code of an input's element type; 0 if it has none.
fn element_code(input: &ValueInfoProto) -> i32 {
    match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::TensorType(ty)) => ty.elem_type(),
        _ => 0,
    }
}

/// Fixes dimensions of an input type; -1 keeps a dimension symbolic.
fn fix_dimensions(name: &str, ty: &TensorType, dims: &[i64]) -> Result<TensorType, CompileError> {
    let bad = |message: String| CompileError::Input { input: Name::new(name), message };
    if dims.len() != ty.rank() {
        return Err(bad(format!(
            "invalid shape: expected {} dimensions for {ty}, found {}",
            ty.rank(),
            dims.len()
        )));
    }
    let fixed: Result<Shape, CompileError> = dims
        .iter()
        .zip(&ty.shape.0)
        .map(|(dim, model_dim)| match (dim, model_dim.as_known()) {
            (-1, _) => Ok(model_dim.clone()),
            (d, _) if *d < 1 => {
                Err(bad(format!("invalid dimension {d}: expected at least 1, or -1 to keep it symbolic")))
            }
            (d, Some(known)) if *d != known => {
                Err(bad(format!("invalid dimension {d}: expected {known}, which the model fixes")))
            }
            (d, _) => Ok(Dim::known(*d)),
        })
        .collect();
    Ok(ty.with_shape(fixed?))
}
