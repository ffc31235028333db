//! Checks the inputs of a run and binds the symbols of their dimensions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use dlbc_backend::{BackendError, Views};
use dlbc_ops::program::Info;
use dlbc_ops::tensor::{Bindings, TensorView};

use crate::error::RuntimeError;

/// Returns the size of each symbolic dimension of the program's inputs.
///
/// # Errors
/// For missing and unknown names, wrong types and shapes, dimensions that disagree, NaN and infinities.
pub(crate) fn bind(info: &Info, inputs: &Views<'_>) -> Result<Bindings, RuntimeError> {
    let mut bindings = Bindings::new();
    let mut formulas = vec![];
    let mut bound_by: HashMap<Arc<str>, String> = HashMap::new();
    for name in inputs.keys() {
        if !info.inputs.iter().any(|i| i.name == *name) {
            let known = info.inputs.iter().map(|i| i.name.clone()).collect();
            return Err(RuntimeError::UnknownInput { name: name.clone(), known });
        }
    }
    for input in &info.inputs {
        let tensor = inputs.get(&input.name).ok_or_else(|| BackendError::MissingInput(input.name.clone()))?;
        let wrong = || RuntimeError::InputType {
            input: input.name.clone(),
            expected: input.ty.to_string(),
            actual: tensor.ty().to_string(),
        };
        if tensor.dtype() != input.ty.dtype || tensor.dims().len() != input.ty.rank() {
            return Err(wrong());
        }
        for (axis, (dim, size)) in input.ty.shape.0.iter().zip(tensor.dims()).enumerate() {
            let size = *size as i64;
            match dim.as_known() {
                Some(known) if known != size => return Err(wrong()),
                Some(_) => {}
                None => {
                    // A formula of other inputs' dimensions is checked once those are bound.
                    let Some((factor, symbol)) = dim.as_multiple() else {
                        formulas.push((input, dim, size));
                        continue;
                    };
                    if size % factor != 0 {
                        let input = input.name.clone();
                        return Err(RuntimeError::NotMultiple { input, axis, actual: size, factor });
                    }
                    let (size, symbol) = (size / factor, symbol.clone());
                    match bindings.insert(symbol.clone(), size) {
                        Some(expected) if expected != size => {
                            return Err(RuntimeError::Dimension {
                                input: input.name.clone(),
                                symbol: symbol.to_string(),
                                actual: size,
                                other: bound_by.remove(&symbol).unwrap_or_default(),
                                expected,
                            });
                        }
                        Some(_) => {}
                        None => {
                            bound_by.insert(symbol, input.name.clone());
                        }
                    }
                }
            }
        }
        check_finite(&input.name, tensor, info.reads_missing)?;
    }
    for (input, dim, size) in formulas {
        if dim.eval(&bindings) != Some(size) {
            return Err(RuntimeError::DependentDimension {
                input: input.name.clone(),
                formula: dim.to_string(),
                actual: size,
                expected: dim.eval(&bindings),
            });
        }
    }
    Ok(bindings)
}

/// Refuses a tensor of floats that contains NaN, unless it stands for a missing value, or an infinity.
fn check_finite(name: &str, tensor: &TensorView<'_>, reads_missing: bool) -> Result<(), RuntimeError> {
    if !tensor.dtype().is_float() {
        return Ok(());
    }
    let values = tensor.as_f32().map_or_else(|| Cow::Owned(tensor.to_f32()), Cow::Borrowed);
    let Some(flat) = values.iter().position(|v| !(v.is_finite() || reads_missing && v.is_nan())) else {
        return Ok(());
    };
    let mut rest = flat;
    let mut index: Vec<usize> = tensor
        .dims()
        .iter()
        .rev()
        .map(|d| {
            let i = rest % d;
            rest /= d;
            i
        })
        .collect();
    index.reverse();
    Err(RuntimeError::NotFinite { input: name.into(), value: values[flat], index })
}
