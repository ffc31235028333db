//! Categories. Reads `OneHotEncoder`, `LabelEncoder` and `CategoryMapper` of `ai.onnx.ml` as look-ups in constant tables.
//!
//! Strings are numbers of the model's vocabulary ([`Reading::word`]), so an encoder of strings is a look-up by that number;
//! other keys are compared one by one.

use super::read::{Reader, Reading};
use super::{Arg, Gather, ReduceKind, is_nan};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{Array, DType, Dim, Shape, Tensor};

/// Index that no table has: a look-up of it is an error.
const NOWHERE: i64 = -(1 << 60);

/// Returns the readers of the three operators.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader { domain: "ai.onnx.ml", op: "OneHotEncoder", since: 1, until: 5, read: one_hot },
        Reader { domain: "ai.onnx.ml", op: "LabelEncoder", since: 1, until: 5, read: label_encoder },
        Reader { domain: "ai.onnx.ml", op: "CategoryMapper", since: 1, until: 5, read: category_mapper },
    ]
}

/// List of keys.
enum Keys {
    /// Strings.
    Words(Vec<String>),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats, of which one may be NaN.
    Floats(Vec<f32>),
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Keys::Words(keys) => keys.len(),
            Keys::Ints(keys) => keys.len(),
            Keys::Floats(keys) => keys.len(),
        }
    }

    /// Builds the row of `table` for each element of `x`: that of its key, or the last one.
    ///
    /// Words look up one table, so that relevance and derivatives pass a single look-up.
    fn look_up(&self, r: &mut Reading, table: Value, x: Value) -> Result<Value, OpError> {
        let absent = self.len() as i64;
        if let Keys::Words(keys) = self {
            let positions = word_positions(r, keys, absent);
            let rows = r.add(Gather { axis: 0 }, &[table, positions])?;
            return r.add(Gather { axis: 0 }, &[rows, x]);
        }
        let positions = self.positions(r, x, absent)?;
        r.add(Gather { axis: 0 }, &[table, positions])
    }

    /// Builds the position of each element of `x` among the keys; `absent` for one that is not among them.
    fn positions(&self, r: &mut Reading, x: Value, absent: i64) -> Result<Value, OpError> {
        match self {
            Keys::Words(keys) => {
                let table = word_positions(r, keys, absent);
                r.add(Gather { axis: 0 }, &[table, x])
            }
            Keys::Ints(keys) => {
                let (x, dtype) = if r.ty(x).dtype.is_float() {
                    (x, r.ty(x).dtype)
                } else {
                    (r.cast(x, DType::I64)?, DType::I64)
                };
                let keys = r.add_constant(Tensor::from_i64(&[keys.len()], keys));
                let keys = r.cast(keys, dtype)?;
                compared(r, x, keys, None, absent)
            }
            Keys::Floats(keys) => {
                let x = r.cast(x, DType::F32)?;
                let nan = keys.iter().position(|key| key.is_nan()).filter(|_| r.opset >= 4);
                let keys = r.add_constant(Tensor::from_f32(&[keys.len()], keys));
                compared(r, x, keys, nan, absent)
            }
        }
    }
}

/// Adds the position of each word of the vocabulary among the keys.
fn word_positions(r: &mut Reading, keys: &[String], absent: i64) -> Value {
    let mut table = vec![absent; r.word_count() + 1];
    for (i, key) in keys.iter().enumerate().rev() {
        let word = r.word(key);
        if let Some(position) = usize::try_from(word).ok().and_then(|w| table.get_mut(w)) {
            *position = i as i64;
        }
    }
    r.add_constant(Tensor::from_i64(&[table.len()], &table))
}

/// Builds the first position of each element of `x` in the vector `keys`. `nan` is the position of NaN, which version 4 finds.
fn compared(
    r: &mut Reading,
    x: Value,
    keys: Value,
    nan: Option<usize>,
    absent: i64,
) -> Result<Value, OpError> {
    let shape = r.ty(x).shape;
    let axis = shape.rank();
    let column = r.reshape(x, Shape([shape.0, vec![Dim::known(1)]].concat()))?;
    let same = r.compare(Binary::Equal, column, keys)?;
    let same = r.cast(same, DType::F32)?;
    let first = r.add(Arg { max: true, axis, keep: false }, &[same])?;
    let is_known = r.add(super::Reduce { kind: ReduceKind::Max, axes: vec![axis], keep: false }, &[same])?;
    let zero = r.add_scalar(0.0, DType::F32);
    let is_known = r.compare(Binary::Less, zero, is_known)?;
    let absent = r.add_constant(Tensor::from_i64(&[], &[absent]));
    let position = r.select(is_known, first, absent)?;
    let Some(nan) = nan else { return Ok(position) };
    let is_nan = is_nan::is_nan(r, x)?;
    let nan = r.add_constant(Tensor::from_i64(&[], &[nan as i64]));
    r.select(is_nan, nan, position)
}

/// Reads `OneHotEncoder`: a further axis with 1 at the category. Without `zeros` an unknown category is an error.
fn one_hot(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let (ints, words) = (r.ints("cats_int64s")?, r.strings("cats_strings")?);
    let keys = match (ints, words) {
        (None, Some(words)) => Keys::Words(words),
        (Some(ints), None) => Keys::Ints(ints),
        (None, None) => return Err(OpError::missing_attribute("cats_strings", "categories")),
        (Some(_), Some(_)) => return Err(OpError::invalid("categories", "numbers or strings", "both")),
    };
    check_kind(r, x, &keys)?;
    let count = keys.len();
    let zeros = r.flag("zeros", true)?;
    let rows = if matches!(keys, Keys::Words(_)) { r.word_count().max(count) } else { count };
    let bytes = (rows as u64 + 1).saturating_mul(count as u64).saturating_mul(4);
    if bytes > r.max_tensor_bytes {
        let what = "table of categories".into();
        return Err(OpError::TensorBytes { what, bytes, limit: r.max_tensor_bytes });
    }
    let mut table = vec![0.0; (count + 1) * count];
    (0..count).for_each(|i| table[i * count + i] = 1.0);
    let table = r.add_constant(Tensor::from_f32(&[count + 1, count], &table));
    if zeros {
        return Ok(vec![keys.look_up(r, table, x)?]);
    }
    let positions = keys.positions(r, x, NOWHERE)?;
    Ok(vec![r.add(Gather { axis: 0 }, &[table, positions])?])
}

/// Refuses keys that are strings for an operand of numbers, and the reverse.
fn check_kind(r: &Reading, x: Value, keys: &Keys) -> Result<(), OpError> {
    let is_word = r.is_words(x);
    if is_word == matches!(keys, Keys::Words(_)) {
        return Ok(());
    }
    let (expected, actual) = if is_word { ("strings", "numbers") } else { ("numbers", "strings") };
    Err(OpError::mismatch("keys", format!("{expected} as the operand has"), actual))
}

/// Reads `LabelEncoder`: from version 2 on the value of each key, before that the position of a class or the class of a
/// position.
fn label_encoder(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    if r.opset < 2 {
        let classes = r.strings("classes_strings")?;
        let classes = classes.ok_or_else(|| OpError::missing_attribute("classes_strings", "strings"))?;
        return between_names_and_numbers(r, x, classes, None);
    }
    let keys = read_keys(r)?;
    check_kind(r, x, &keys)?;
    let values = read_values(r)?;
    if keys.len() != values.dims()[0] - 1 {
        return Err(OpError::invalid("values", keys.len(), values.dims()[0] - 1));
    }
    let words = r.attributes.contains_key("values_strings") || r.holds_strings("values_tensor");
    let table = r.add_constant(values);
    let y = keys.look_up(r, table, x)?;
    if words {
        r.mark_words(y);
    }
    Ok(vec![y])
}

fn read_keys(r: &Reading) -> Result<Keys, OpError> {
    if let Some(words) = r.strings("keys_strings")? {
        return Ok(Keys::Words(words));
    }
    if let Some(ints) = r.ints("keys_int64s")? {
        return Ok(Keys::Ints(ints));
    }
    if let Some(floats) = r.floats("keys_floats")? {
        return Ok(Keys::Floats(floats));
    }
    if let Some(words) = r.string_tensor("keys_tensor")? {
        return Ok(Keys::Words(words));
    }
    match r.tensor("keys_tensor")? {
        Some(t) if t.dtype().is_float() => Ok(Keys::Floats(t.to_f32().to_vec())),
        Some(t) => Ok(Keys::Ints(t.to_i64().to_vec())),
        None => Err(OpError::missing_attribute("keys_strings", "keys")),
    }
}

/// Returns the values of the keys, and after them the value of any other element.
fn read_values(r: &Reading) -> Result<Tensor, OpError> {
    let words = |words: Vec<String>, default: String| {
        let words: Vec<i64> = words.iter().chain([&default]).map(|w| r.word(w)).collect();
        Tensor::from_i64(&[words.len()], &words)
    };
    let default_word = match r.string_tensor("default_tensor")? {
        Some(words) => words.first().cloned().unwrap_or_default(),
        None => r.string_or("default_string", "_Unused")?,
    };
    let (default_int, default_float) = (r.int_or("default_int64", -1)?, r.float_or("default_float", -0.0)?);
    if let Some(values) = r.strings("values_strings")? {
        return Ok(words(values, default_word));
    }
    if let Some(values) = r.string_tensor("values_tensor")? {
        return Ok(words(values, default_word));
    }
    if let Some(values) = r.ints("values_int64s")? {
        let values = [values, vec![default_int]].concat();
        return Ok(Tensor::from_i64(&[values.len()], &values));
    }
    if let Some(values) = r.floats("values_floats")? {
        let values = [values, vec![default_float]].concat();
        return Ok(Tensor::from_f32(&[values.len()], &values));
    }
    let values = r.tensor("values_tensor")?;
    let values = values.ok_or_else(|| OpError::missing_attribute("values_tensor", "values"))?;
    let default = match r.holds_strings("default_tensor") {
        true => None,
        false => r.tensor("default_tensor")?,
    };
    if values.dtype().is_float() {
        let default = default.map_or(default_float, |t| t.to_f32().first().copied().unwrap_or(0.0));
        let all: Vec<f32> = values.to_f32().iter().copied().chain([default]).collect();
        return Ok(Tensor::from_f32(&[all.len()], &all));
    }
    let default = default.map_or(default_int, |t| t.to_i64().first().copied().unwrap_or(0));
    let all: Vec<i64> = values.to_i64().iter().copied().chain([default]).collect();
    let array = Array::I(ndarray::Array1::from_vec(all).into_dyn());
    Ok(array.to_tensor(values.dtype()))
}

/// Reads `CategoryMapper`: the number of a name or the name of a number.
fn category_mapper(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let (names, numbers) = (r.strings("cats_strings")?, r.ints("cats_int64s")?);
    let names = names.ok_or_else(|| OpError::missing_attribute("cats_strings", "strings"))?;
    let numbers = numbers.ok_or_else(|| OpError::missing_attribute("cats_int64s", "numbers"))?;
    if names.len() != numbers.len() {
        return Err(OpError::invalid("cats_int64s", names.len(), numbers.len()));
    }
    between_names_and_numbers(r, x, names, Some(numbers))
}

/// Maps names to numbers, their positions by default, or numbers to names, according to the operand.
fn between_names_and_numbers(
    r: &mut Reading,
    x: Value,
    names: Vec<String>,
    numbers: Option<Vec<i64>>,
) -> Result<Vec<Value>, OpError> {
    let (number, name) = (r.int_or("default_int64", -1)?, r.string_or("default_string", "_Unused")?);
    let numbers = numbers.unwrap_or_else(|| (0..names.len() as i64).collect());
    let (count, to_numbers) = (names.len(), r.is_words(x));
    let values: Vec<i64> = match to_numbers {
        true => numbers.iter().copied().chain([number]).collect(),
        false => names.iter().chain([&name]).map(|name| r.word(name)).collect(),
    };
    let keys = if to_numbers { Keys::Words(names) } else { Keys::Ints(numbers) };
    let table = r.add_constant(Tensor::from_i64(&[count + 1], &values));
    let y = keys.look_up(r, table, x)?;
    if !to_numbers {
        r.mark_words(y);
    }
    Ok(vec![y])
}
