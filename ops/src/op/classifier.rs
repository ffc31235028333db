//! Labels and scores of the classifiers of `ai.onnx.ml`, and the functions that they apply to scores.

use super::read::Reading;
use super::{Add, Arg, Concat, Div, Gather, Mul, ReduceKind, Softmax, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Labels of the classes.
pub enum Labels {
    /// Numbers.
    Numbers(Vec<i64>),
    /// Strings, by their numbers.
    Words(Vec<i64>),
}

impl Labels {
    /// Returns the number of classes.
    pub fn len(&self) -> usize {
        let (Labels::Numbers(labels) | Labels::Words(labels)) = self;
        labels.len()
    }
}

/// Reads the labels of a classifier; `numbers` is the attribute of those that are numbers.
///
/// # Errors
/// If there are none.
pub fn labels(r: &Reading, numbers: &str) -> Result<Labels, OpError> {
    let (numbers, names) = (r.ints(numbers)?.unwrap_or_default(), r.strings("classlabels_strings")?);
    match names.filter(|names| !names.is_empty()) {
        Some(names) => Ok(Labels::Words(names.iter().map(|name| r.word(name)).collect())),
        None if numbers.is_empty() => Err(OpError::missing_attribute("classlabels", "names or numbers")),
        None => Ok(Labels::Numbers(numbers)),
    }
}

/// Meaning of a classifier's raw scores.
#[derive(Clone, Copy, Debug)]
pub enum Scores {
    /// One column for two classes: the second one is chosen above the threshold.
    Single {
        /// Smallest score of the second class, exclusive.
        threshold: f64,
        /// True if the first class has 1 minus the score, false if it has the negated score. Logistic scores are negated.
        complement: bool,
    },
    /// Two columns: the second class is chosen above the threshold.
    ByPositive {
        /// Smallest score of the second class, exclusive.
        threshold: f64,
    },
    /// One column for each class: the first largest one is chosen.
    Largest,
}

/// Builds the outputs of a classifier: the label of each row, and the scores of all classes.
///
/// # Errors
/// If the scores do not fit the labels.
pub fn outputs(
    r: &mut Reading,
    raw: Value,
    labels: &Labels,
    scores: Scores,
    post: PostTransform,
) -> Result<Vec<Value>, OpError> {
    let class = match scores {
        Scores::Single { threshold, .. } => above(r, raw, 0, threshold)?,
        Scores::ByPositive { threshold } => above(r, raw, 1, threshold)?,
        Scores::Largest => r.add(Arg { max: true, axis: 1, keep: false }, &[raw])?,
    };
    let scores = match scores {
        Scores::Single { complement, .. } => {
            if post == PostTransform::Probit {
                return Err(OpError::unsupported(
                    "post_transform",
                    "another one for a single score",
                    "PROBIT",
                ));
            }
            let is_logistic = post == PostTransform::Logistic;
            let whole = r.add_scalar(if complement && !is_logistic { 1.0 } else { 0.0 }, DType::F32);
            let first = r.add(Sub, &[whole, raw])?;
            let both = r.add(Concat { axis: 1 }, &[first, raw])?;
            if is_logistic { post.apply_to_all(r, both)? } else { both }
        }
        Scores::ByPositive { .. } | Scores::Largest => post.apply(r, raw)?,
    };
    Ok(vec![label(r, class, labels)?, scores])
}

/// Builds the label of each class index.
///
/// # Errors
/// As [`Reading::add`].
pub fn label(r: &mut Reading, class: Value, labels: &Labels) -> Result<Value, OpError> {
    let (Labels::Numbers(numbers) | Labels::Words(numbers)) = labels;
    let table = r.add_constant(Tensor::from_i64(&[numbers.len()], numbers));
    let label = r.add(Gather { axis: 0 }, &[table, class])?;
    if matches!(labels, Labels::Words(_)) {
        r.mark_words(label);
    }
    Ok(label)
}

/// Builds 1 for each row whose score in a column is above the threshold, and 0 for others.
fn above(r: &mut Reading, raw: Value, column: i64, threshold: f64) -> Result<Value, OpError> {
    let rows = r.ty(raw).dim(0).clone();
    let score = r.slice(raw, 1, Dim::known(column), Dim::known(1))?;
    let score = r.reshape(score, Shape(vec![rows]))?;
    let threshold = r.add_scalar(threshold, DType::F32);
    let is_above = r.compare(Binary::Less, threshold, score)?;
    r.cast(is_above, DType::I64)
}

/// Function of the scores of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostTransform {
    /// The scores themselves.
    None,
    /// Sigmoid of each score.
    Logistic,
    /// Softmax over the classes.
    Softmax,
    /// Softmax over the classes whose score is not 0.
    SoftmaxZero,
    /// Inverse of the normal distribution function, of each score.
    Probit,
}

impl PostTransform {
    /// Reads the attribute `post_transform`.
    ///
    /// # Errors
    /// If it is none of the five.
    pub fn read(r: &Reading) -> Result<PostTransform, OpError> {
        Ok(match r.string_or("post_transform", "NONE")?.as_str() {
            "NONE" => PostTransform::None,
            "LOGISTIC" => PostTransform::Logistic,
            "SOFTMAX" => PostTransform::Softmax,
            "SOFTMAX_ZERO" => PostTransform::SoftmaxZero,
            "PROBIT" => PostTransform::Probit,
            other => {
                let expected = "NONE, LOGISTIC, SOFTMAX, SOFTMAX_ZERO or PROBIT";
                return Err(OpError::invalid("post_transform", expected, other));
            }
        })
    }

    /// Returns the function of this number in version 5. The standard has softmax as 1 and logistic as 2, but ONNX Runtime, by
    /// which files are written and tested, has them the other way round.
    ///
    /// # Errors
    /// If the number is above 4.
    pub fn of_number(number: i64) -> Result<PostTransform, OpError> {
        Ok(match number {
            0 => PostTransform::None,
            1 => PostTransform::Logistic,
            2 => PostTransform::Softmax,
            3 => PostTransform::SoftmaxZero,
            4 => PostTransform::Probit,
            other => return Err(OpError::invalid("post_transform", "0 to 4", other)),
        })
    }

    /// Applies the function to scores `[row, class]`. As in ONNX Runtime, a single column changes by `PROBIT` alone.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn apply(self, r: &mut Reading, x: Value) -> Result<Value, OpError> {
        if r.ty(x).dim(1).is(1) && self != PostTransform::Probit { Ok(x) } else { self.apply_to_all(r, x) }
    }

    /// Applies the function to scores `[row, class]`.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn apply_to_all(self, r: &mut Reading, x: Value) -> Result<Value, OpError> {
        match self {
            PostTransform::None => Ok(x),
            PostTransform::Logistic => r.unary(Unary::Sigmoid, x),
            PostTransform::Softmax => r.add(Softmax { axis: 1, log: false }, &[x]),
            PostTransform::SoftmaxZero => softmax_without_zeros(r, x),
            PostTransform::Probit => probit(r, x),
        }
    }
}

/// Builds `e^(x - max) / Σ` where the sum is over the scores other than 0; a score of 0 stays 0.
fn softmax_without_zeros(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    // Scores up to this magnitude count as 0.
    const SMALL: f64 = 1e-7;
    let largest = r.reduce(ReduceKind::Max, x, &[1])?;
    let below = r.add(Sub, &[x, largest])?;
    let exponential = r.unary(Unary::Exp, below)?;
    let size = r.unary(Unary::Abs, x)?;
    let small = r.add_scalar(SMALL, DType::F32);
    let counts = r.compare(Binary::Less, small, size)?;
    let zero = r.add_scalar(0.0, DType::F32);
    let terms = r.select(counts, exponential, zero)?;
    let sum = r.reduce(ReduceKind::Sum, terms, &[1])?;
    let negated = r.unary(Unary::Neg, largest)?;
    let scale = r.unary(Unary::Exp, negated)?;
    let rest = r.add(Mul, &[x, scale])?;
    let y = r.select(counts, exponential, rest)?;
    r.add(Div, &[y, sum])
}

/// Builds `√2 · erf⁻¹(2x - 1)` with Winitzki's approximation of the inverse, `a = 0.147`, as ONNX Runtime computes it.
fn probit(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    const A: f64 = 0.147;
    /// π as ONNX Runtime rounds it.
    #[expect(clippy::approx_constant, reason = "outputs equal those of ONNX Runtime")]
    const PI: f64 = 3.14159;
    let number = |r: &mut Reading, v: f64| r.add_scalar(v, DType::F32);
    let (unit, two) = (number(r, 1.0), number(r, 2.0));
    let x = r.add(Mul, &[x, two])?;
    let x = r.add(Sub, &[x, unit])?;
    let (below, above) = (r.add(Sub, &[unit, x])?, r.add(Add, &[unit, x])?);
    let product = r.add(Mul, &[below, above])?;
    let log = r.unary(Unary::Log, product)?;
    let half = number(r, 0.5);
    let shift = number(r, 2.0 / (PI * A));
    let scaled = r.add(Mul, &[log, half])?;
    let v = r.add(Add, &[scaled, shift])?;
    let inverse = number(r, 1.0 / A);
    let w = r.add(Mul, &[log, inverse])?;
    let square = r.add(Mul, &[v, v])?;
    let root = r.add(Sub, &[square, w])?;
    let root = r.unary(Unary::Sqrt, root)?;
    let inner = r.add(Sub, &[root, v])?;
    let size = r.unary(Unary::Sqrt, inner)?;
    let sign = r.unary(Unary::Sign, x)?;
    let y = r.add(Mul, &[sign, size])?;
    let factor = number(r, std::f64::consts::SQRT_2);
    r.add(Mul, &[y, factor])
}
