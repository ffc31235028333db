//! Values that are known when compiling, apart from the dimensions of the inputs. Reads `Constant`, `Shape` and `Size`.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::Tensor;

/// Returns the readers of `Constant`, `Shape` and `Size`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Constant", 1, read_constant),
        Reader::new("Shape", 1, |r| {
            let dims = r.ty(r.input(0)?).shape.0;
            let rank = dims.len() as i64;
            let bound = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
            let (start, end) = (bound(r.int_or("start", 0)?), bound(r.int_or("end", rank)?));
            let selected = dims.get(start..end.max(start)).unwrap_or_default().to_vec();
            Ok(vec![r.add_dims(vec![selected.len()], selected)?])
        }),
        Reader::new("Size", 1, |r| {
            let elems = r.ty(r.input(0)?).shape.elems();
            Ok(vec![r.add_dims(vec![], vec![elems])?])
        }),
    ]
}

fn read_constant(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let tensor = if let Some(t) = r.tensor("value")? {
        t
    } else if let Some(v) = r.float("value_float")? {
        Tensor::scalar(v)
    } else if let Some(v) = r.floats("value_floats")? {
        Tensor::from_f32(&[v.len()], &v)
    } else if let Some(v) = r.int("value_int")? {
        Tensor::from_i64(&[], &[v])
    } else if let Some(v) = r.ints("value_ints")? {
        Tensor::from_i64(&[v.len()], &v)
    } else if r.attributes.keys().any(|a| a.starts_with("value_string")) {
        return Err(OpError::unsupported("element type", "numbers or bool", "strings"));
    } else {
        return Err(OpError::invalid(
            "attributes",
            "one of value, value_float, value_floats, value_int and value_ints",
            "none",
        ));
    };
    Ok(vec![r.add_constant(tensor)])
}
