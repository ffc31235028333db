//! Counts of n-grams. Reads `TfIdfVectorizer` as comparisons of windows with the n-grams of its pool.
//!
//! Counts change in steps, so no relevance reaches the tokens.

use super::read::{Reader, Reading};
use super::{Add, Concat, Expand, Extremum, Gather, Mul, Reduce, ReduceKind};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Largest number of windows that are compared, over all lengths and skips.
const MAX_WINDOWS: usize = 1 << 16;

/// Returns the reader of `TfIdfVectorizer`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "", op: "TfIdfVectorizer", since: 9, until: 28, read }]
}

/// Weight of a count.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Count,
    Presence,
    WeightedCount,
}

/// N-grams of one length, `[gram, token]`.
struct Pool {
    length: usize,
    tokens: Vec<i64>,
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let mode = match r.string_or("mode", "")?.as_str() {
        "TF" => Mode::Count,
        "IDF" => Mode::Presence,
        "TFIDF" => Mode::WeightedCount,
        other => return Err(OpError::invalid("mode", "TF, IDF or TFIDF", other)),
    };
    let pools = pools(r, x)?;
    let grams: usize = pools.iter().map(|pool| pool.tokens.len() / pool.length).sum();
    let columns = columns(r, grams)?;
    let weights = r.floats("weights")?;
    let [shortest, longest, skips] = ["min_gram_length", "max_gram_length", "max_skip_count"].map(|name| {
        let value = r.int(name)?.ok_or_else(|| OpError::missing_attribute(name, "a number"))?;
        let smallest = i64::from(name != "max_skip_count");
        let length = usize::try_from(value).ok().filter(|_| value >= smallest);
        length.ok_or_else(|| OpError::invalid(name, format!("at least {smallest}"), value))
    });
    let (shortest, longest, skips) = (shortest?, longest?, skips?);
    let shape = r.ty(x).shape;
    let (rows, is_vector) = match shape.0.as_slice() {
        [_] => (Dim::known(1), true),
        [rows, _] => (rows.clone(), false),
        _ => return Err(OpError::invalid("rank of the tokens", "1 or 2", shape.rank())),
    };
    let length = shape.0[shape.rank() - 1].clone();
    let count = length.as_known().and_then(|n| usize::try_from(n).ok());
    let count =
        count.ok_or_else(|| OpError::unsupported("number of tokens", "a known one", length.clone()))?;
    let x = r.reshape(x, Shape(vec![rows.clone(), length, Dim::known(1)]))?;
    let x = r.cast(x, DType::I64)?;
    let (mut windows, mut parts) = (0usize, vec![]);
    for pool in &pools {
        let is_counted = (shortest..=longest).contains(&pool.length);
        // Skips do not change a single token.
        let steps = if pool.length == 1 { 1 } else { skips.saturating_add(1) };
        let steps = (1..=steps).take_while(|step| (pool.length - 1).saturating_mul(*step) < count);
        let mut sum = None;
        for step in steps.take_while(|_| is_counted) {
            windows += 1;
            if windows > MAX_WINDOWS {
                return Err(OpError::unsupported(
                    "windows of tokens",
                    format!("at most {MAX_WINDOWS}"),
                    "more",
                ));
            }
            let matches = occurrences(r, x, pool, step, count)?;
            sum = Some(match sum {
                Some(sum) => r.add(Add, &[sum, matches])?,
                None => matches,
            });
        }
        let width = Dim::known((pool.tokens.len() / pool.length) as i64);
        parts.push(match sum {
            Some(sum) => sum,
            None => zeros(r, rows.clone(), width)?,
        });
    }
    // A last column of zeros stands for the places that no n-gram has.
    parts.push(zeros(r, rows, Dim::known(1))?);
    let mut counts = r.add(Concat { axis: 1 }, &parts)?;
    if mode == Mode::Presence {
        let most = r.add_scalar(1.0, DType::F32);
        counts = r.add(Extremum { max: false }, &[counts, most])?;
    }
    if let (Some(weights), true) = (weights, mode != Mode::Count) {
        if weights.len() != grams {
            return Err(OpError::invalid("length of `weights`", grams, weights.len()));
        }
        let weights: Vec<f32> = weights.into_iter().chain([0.0]).collect();
        let weights = r.add_constant(Tensor::from_f32(&[weights.len()], &weights));
        counts = r.add(Mul, &[counts, weights])?;
    }
    let width = columns.len() as i64;
    let columns = r.add_constant(Tensor::from_i64(&[columns.len()], &columns));
    let y = r.add(Gather { axis: 1 }, &[counts, columns])?;
    Ok(vec![if is_vector { r.reshape(y, Shape(vec![Dim::known(width)]))? } else { y }])
}

/// Reads the n-grams by length.
fn pools(r: &Reading, x: Value) -> Result<Vec<Pool>, OpError> {
    let tokens: Vec<i64> = match (r.ints("pool_int64s")?, r.strings("pool_strings")?) {
        (Some(ints), None) if !r.is_words(x) => ints,
        (None, Some(words)) if r.is_words(x) => words.iter().map(|word| r.word(word)).collect(),
        (Some(_), None) | (None, Some(_)) => {
            return Err(OpError::mismatch("pool", "tokens of the operand's kind", "the other kind"));
        }
        _ => return Err(OpError::invalid("pool", "numbers or strings", "both or neither")),
    };
    let starts = r.ints("ngram_counts")?.unwrap_or_default();
    let starts: Option<Vec<usize>> = starts.iter().map(|start| usize::try_from(*start).ok()).collect();
    let invalid =
        || OpError::invalid("ngram_counts", format!("ascending starts in {} tokens", tokens.len()), "others");
    let starts = starts.ok_or_else(invalid)?;
    let mut pools = vec![];
    for (i, start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(tokens.len());
        let tokens = tokens.get(*start..end).ok_or_else(invalid)?;
        if tokens.len() % (i + 1) != 0 {
            return Err(OpError::invalid(
                &format!("tokens of the {}-grams", i + 1),
                format!("a multiple of {}", i + 1),
                tokens.len(),
            ));
        }
        if !tokens.is_empty() {
            pools.push(Pool { length: i + 1, tokens: tokens.to_vec() });
        }
    }
    Ok(pools)
}

/// Returns the n-gram of each place of the result; the number of n-grams for a place without one.
fn columns(r: &Reading, grams: usize) -> Result<Vec<i64>, OpError> {
    let places = r.ints("ngram_indexes")?.unwrap_or_default();
    if places.len() != grams {
        return Err(OpError::invalid("length of `ngram_indexes`", grams, places.len()));
    }
    let width = places.iter().max().map_or(Some(0), |last| usize::try_from(*last).ok()?.checked_add(1));
    let bytes = (width.unwrap_or(usize::MAX) as u64).saturating_mul(8);
    if bytes > r.max_tensor_bytes {
        let what = "places of the n-grams".into();
        return Err(OpError::TensorBytes { what, bytes, limit: r.max_tensor_bytes });
    }
    let mut columns = vec![grams as i64; width.unwrap_or(0)];
    for (gram, place) in places.iter().enumerate() {
        let column = usize::try_from(*place).ok().and_then(|place| columns.get_mut(place));
        let column = column.ok_or_else(|| OpError::invalid("ngram_indexes", "at least 0", place))?;
        if *column != grams as i64 {
            return Err(OpError::unsupported(
                "ngram_indexes",
                "a place for each n-gram",
                format!("two at {place}"),
            ));
        }
        *column = gram as i64;
    }
    Ok(columns)
}

/// Builds the number of windows that are each n-gram, `[row, gram]`. Tokens of a window are `step` apart.
fn occurrences(r: &mut Reading, x: Value, pool: &Pool, step: usize, count: usize) -> Result<Value, OpError> {
    let windows = Dim::known((count - (pool.length - 1) * step) as i64);
    let mut same = None;
    for token in 0..pool.length {
        let window = r.slice(x, 1, Dim::known((token * step) as i64), windows.clone())?;
        let column: Vec<i64> = pool.tokens.iter().skip(token).step_by(pool.length).copied().collect();
        let column = r.add_constant(Tensor::from_i64(&[column.len()], &column));
        let equal = r.compare(Binary::Equal, window, column)?;
        let equal = r.cast(equal, DType::F32)?;
        same = Some(match same {
            Some(same) => r.add(Mul, &[same, equal])?,
            None => equal,
        });
    }
    let same = same.ok_or_else(|| OpError::invalid("length of n-grams", "at least 1", 0))?;
    r.add(Reduce { kind: ReduceKind::Sum, axes: vec![1], keep: false }, &[same])
}

/// Builds zeros `[row, column]`.
fn zeros(r: &mut Reading, rows: Dim, columns: Dim) -> Result<Value, OpError> {
    let zero = r.add_scalar(0.0, DType::F32);
    r.add(Expand { to: Shape(vec![rows, columns]) }, &[zero])
}
