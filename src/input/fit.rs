//! Conversion of tensors to the element types and shapes of their inputs.

use std::sync::Arc;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{Array, Bindings, DType, Dim, Tensor};

use crate::error::{Error, Result};
use crate::notes::Notes;
use crate::wording::visible;

/// Converts a tensor to the type of its input and binds the symbols of the input's shape. Conversions that lose at most digits of
/// floats are made and noted.
///
/// # Errors
/// When the shape does not fit, or the conversion would change values.
pub fn fit(input: &InputInfo, tensor: Tensor, bindings: &mut Bindings, notes: &dyn Notes) -> Result<Tensor> {
    let tensor = batch_axis(input, tensor, notes);
    bind(input, &tensor, bindings)?;
    let (expected, actual) = (input.ty.dtype, tensor.dtype());
    if expected == actual {
        return Ok(tensor);
    }
    let converted = convert(&tensor, expected).map_err(|why| {
        Error::invalid(format!(
            "invalid input `{}`: expected {expected}, found {actual}: {why}",
            visible(&input.name)
        ))
    })?;
    notes.note(format!("input `{}`: {actual} converted to {expected}", visible(&input.name)));
    Ok(converted)
}

/// Adds a batch axis of 1 to a tensor that lacks only that axis.
fn batch_axis(input: &InputInfo, tensor: Tensor, notes: &dyn Notes) -> Tensor {
    let shape = &input.ty.shape.0;
    let fits = |(dim, size): (&Dim, &usize)| dim.as_known().is_none_or(|d| d == *size as i64);
    let may_be_one = |dim: &Dim| dim.as_known().is_none_or(|d| d == 1);
    let lacks_batch = tensor.dims().len() + 1 == shape.len()
        && shape.first().is_some_and(may_be_one)
        && shape[1..].iter().zip(tensor.dims()).all(fits);
    if !lacks_batch {
        return tensor;
    }
    let dims: Vec<usize> = [1].iter().chain(tensor.dims()).copied().collect();
    notes.note(format!("input `{}`: a batch axis of 1 added to {}", visible(&input.name), tensor.ty().shape));
    tensor.with_dims(&dims).unwrap_or(tensor)
}

/// Checks the shape of a tensor and binds the symbols of its input's shape.
fn bind(input: &InputInfo, tensor: &Tensor, bindings: &mut Bindings) -> Result<()> {
    let mismatch = |why: String| {
        let name = visible(&input.name);
        Err(Error::invalid(format!(
            "invalid input `{name}`: expected {}, found {}{why}",
            input.ty,
            tensor.ty()
        )))
    };
    if tensor.dims().len() != input.ty.rank() {
        return mismatch(String::new());
    }
    for (dim, size) in input.ty.shape.0.iter().zip(tensor.dims()) {
        let mut symbols = vec![];
        dim.symbols(&mut |s| symbols.push(s.clone()));
        if let [symbol] = symbols.as_slice()
            && !bindings.contains_key(symbol)
            && *dim == Dim::symbol(symbol)
        {
            bindings.insert(symbol.clone(), *size as i64);
        }
        match dim.eval(bindings) {
            Some(value) if value != *size as i64 => {
                let why =
                    if symbols.is_empty() { String::new() } else { format!(" where `{dim}` is {value}") };
                return mismatch(why);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Converts a tensor to another element type; returns the reason if a value would change.
fn convert(tensor: &Tensor, to: DType) -> Result<Tensor, String> {
    let from = tensor.dtype();
    if from.is_float() {
        if !to.is_float() {
            return Err("floats are not rounded to integers".into());
        }
        let values = tensor.to_f64();
        let converted = Array::from_tensor(tensor).to_tensor(to);
        let overflow = values.iter().zip(converted.to_f64()).find(|(a, b)| a.is_finite() && !b.is_finite());
        return match overflow {
            Some((value, _)) => Err(format!("{value} is out of range")),
            None => Ok(converted),
        };
    }
    let values = tensor.to_i64();
    if let Some(value) = values.iter().find(|v| from == DType::U64 && **v < 0) {
        return Err(format!("{} is out of range", *value as u64));
    }
    let converted = Array::from_tensor(tensor).to_tensor(to);
    let exact = |(before, after): (&i64, &f64)| *before as f64 == *after && before.unsigned_abs() <= 1 << 53;
    let changed = match to.is_float() {
        true => values.iter().zip(&converted.to_f64()).position(|pair| !exact(pair)),
        false => {
            values.iter().zip(&converted.to_i64()).position(|(a, b)| a != b || (to == DType::U64 && *a < 0))
        }
    };
    match changed {
        Some(i) => Err(format!("{} has no such value", values[i])),
        None => Ok(converted),
    }
}

/// Returns a tensor of any element type from float64 values; `None` when they do not fill the dimensions.
pub fn from_f64(dtype: DType, dims: &[usize], values: &[f64]) -> Option<Tensor> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = Tensor::from_bytes(DType::F64, dims.to_vec(), Arc::new(bytes))?;
    Some(Array::from_tensor(&tensor).to_tensor(dtype))
}

#[cfg(test)]
mod tests {
    use dlbc_ops::tensor::TensorType;

    use super::*;
    use crate::notes::Silent;

    const QUIET: &dyn Notes = &Silent;

    fn input(dtype: DType, dims: &[&str]) -> InputInfo {
        let shape: Vec<Dim> = dims.iter().map(|d| d.parse().unwrap()).collect();
        InputInfo { name: "x".into(), ty: TensorType::new(dtype, shape), explained: true }
    }

    fn fitted(expected: DType, actual: DType, values: &[f64]) -> Result<Vec<f64>, String> {
        let tensor = from_f64(actual, &[values.len()], values).unwrap();
        fit(&input(expected, &["n"]), tensor, &mut Bindings::new(), QUIET)
            .map(|t| t.to_f64())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn conversions_that_lose_nothing_are_made() {
        assert_eq!(fitted(DType::F32, DType::F64, &[0.1]), Ok(vec![f64::from(0.1f32)]));
        assert_eq!(fitted(DType::I64, DType::I32, &[-7.0]), Ok(vec![-7.0]));
        assert_eq!(fitted(DType::I32, DType::I64, &[7.0]), Ok(vec![7.0]));
        assert_eq!(fitted(DType::F32, DType::U8, &[255.0]), Ok(vec![255.0]));
        assert_eq!(fitted(DType::Bool, DType::I64, &[0.0, 1.0]), Ok(vec![0.0, 1.0]));
    }

    #[test]
    fn all_others_are_refused() {
        for (expected, actual, value) in [
            (DType::F32, DType::F64, 1e300),
            (DType::I64, DType::F32, 1.0),
            (DType::I32, DType::I64, 3e9),
            (DType::U8, DType::I64, -1.0),
            (DType::U64, DType::I64, -1.0),
            (DType::F32, DType::I64, 16_777_217.0),
            (DType::Bool, DType::I64, 2.0),
        ] {
            let error = fitted(expected, actual, &[value]).unwrap_err();
            assert!(
                error.starts_with(&format!("invalid input `x`: expected {expected}, found {actual}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn symbols_bind_once_and_batches_are_added() {
        let mut bindings = Bindings::new();
        let tensor = |dims: &[usize]| Tensor::from_f32(dims, &vec![0.0; dims.iter().product()]);
        let ids = input(DType::F32, &["n", "t"]);
        fit(&ids, tensor(&[2, 5]), &mut bindings, QUIET).unwrap();
        let error = fit(&ids, tensor(&[2, 6]), &mut bindings, QUIET).unwrap_err().to_string();
        assert_eq!(error, "invalid input `x`: expected f32[n,t], found f32[2,6] where `t` is 5");
        let picture = input(DType::F32, &["b", "3", "4", "4"]);
        assert_eq!(fit(&picture, tensor(&[3, 4, 4]), &mut bindings, QUIET).unwrap().dims(), [1, 3, 4, 4]);
        let error = fit(&picture, tensor(&[1, 1, 4, 4]), &mut bindings, QUIET).unwrap_err().to_string();
        assert_eq!(error, "invalid input `x`: expected f32[b,3,4,4], found f32[1,1,4,4]");
    }
}
