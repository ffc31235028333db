//! Support vector machines of `ai.onnx.ml`. Reads `SVMClassifier` and `SVMRegressor` as kernels of the rows and the support
//! vectors, followed by a linear layer.

use super::classifier::{self, Labels, PostTransform, Scores};
use super::read::{Reader, Reading};
use super::{Add, Arg, Arithmetic, Linear, Mul, ReduceKind, Sub, linear_model};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Largest number of classes.
const MAX_CLASSES: usize = 1000;

/// Returns the readers of `SVMClassifier` and `SVMRegressor`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader { domain: "ai.onnx.ml", op: "SVMClassifier", since: 1, until: 5, read: read_classifier },
        Reader { domain: "ai.onnx.ml", op: "SVMRegressor", since: 1, until: 5, read: read_regressor },
    ]
}

fn read_regressor(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = linear_model::rows(r)?;
    // ONNX Runtime does not apply it.
    r.ignore(&["post_transform"]);
    let (count, coefficients) = (r.int_or("n_supports", 0)?, floats(r, "coefficients")?);
    let rho = floats(r, "rho")?.first().copied().unwrap_or(0.0);
    let count = usize::try_from(count).map_err(|_| OpError::invalid("n_supports", "at least 0", count))?;
    let y = if count == 0 {
        r.ignore(&["kernel_type", "kernel_params", "support_vectors"]);
        let width = coefficients.len();
        layer(r, x, &coefficients, &[1, width], &[rho])?
    } else {
        let vectors = floats(r, "support_vectors")?;
        if coefficients.len() != count {
            return Err(OpError::invalid("coefficients", count, coefficients.len()));
        }
        let kernels = Kernel::read(r)?.apply(r, x, &vectors, count)?;
        layer(r, kernels, &coefficients, &[1, count], &[rho])?
    };
    if !r.flag("one_class", false)? {
        return Ok(vec![y]);
    }
    let (zero, inside, outside) =
        (r.add_scalar(0.0, DType::F32), r.add_scalar(1.0, DType::F32), r.add_scalar(-1.0, DType::F32));
    let is_inside = r.compare(Binary::Less, zero, y)?;
    Ok(vec![r.select(is_inside, inside, outside)?])
}

fn read_classifier(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = linear_model::rows(r)?;
    let labels = classifier::labels(r, "classlabels_ints")?;
    let classes = labels.len();
    if !(2..=MAX_CLASSES).contains(&classes) {
        return Err(OpError::unsupported("classes", format!("2 to {MAX_CLASSES}"), classes));
    }
    let post = PostTransform::read(r)?;
    let (coefficients, rho) = (floats(r, "coefficients")?, floats(r, "rho")?);
    let counts = r.sizes("vectors_per_class")?.unwrap_or_default();
    let count: usize = counts.iter().sum();
    if count == 0 {
        r.ignore(&["kernel_type", "kernel_params", "support_vectors", "prob_a", "prob_b"]);
        return linear(r, x, &labels, &coefficients, &rho, post);
    }
    if counts.len() != classes {
        return Err(OpError::invalid("vectors_per_class", classes, counts.len()));
    }
    let pairs = classes * (classes - 1) / 2;
    for (name, len, expected) in
        [("coefficients", coefficients.len(), (classes - 1) * count), ("rho", rho.len(), pairs)]
    {
        if len < expected {
            return Err(OpError::invalid(name, format!("at least {expected}"), len));
        }
    }
    let vectors = floats(r, "support_vectors")?;
    let kernels = Kernel::read(r)?.apply(r, x, &vectors, count)?;
    let weights = pair_weights(&counts, &coefficients, count);
    let scores = layer(r, kernels, &weights, &[pairs, count], &rho[..pairs])?;
    let class = most_votes(r, scores, classes)?;
    let label = classifier::label(r, class, &labels)?;
    if r.floats("prob_a")?.is_some_and(|a| !a.is_empty()) {
        let expected = "scores of the pairs of classes";
        return Err(OpError::unsupported("outputs of the machine", expected, "coupled probabilities"));
    }
    r.ignore(&["prob_b"]);
    let scores = match classes {
        2 => {
            let kind = Scores::Single { threshold: 0.0, complement: post != PostTransform::None };
            let outputs = classifier::outputs(r, scores, &labels, kind, post)?;
            return Ok(vec![label, outputs[1]]);
        }
        _ => post.apply(r, scores)?,
    };
    Ok(vec![label, scores])
}

/// Reads a classifier without support vectors.
fn linear(
    r: &mut Reading,
    x: Value,
    labels: &Labels,
    coefficients: &[f32],
    rho: &[f32],
    post: PostTransform,
) -> Result<Vec<Value>, OpError> {
    let (classes, width) = (labels.len(), coefficients.len() / labels.len());
    if width * classes != coefficients.len() || rho.is_empty() {
        return Err(OpError::invalid("coefficients", format!("a multiple of {classes}"), coefficients.len()));
    }
    if classes == 2 {
        return Err(OpError::unsupported("classes of a linear machine", "at least 3", classes));
    }
    let raw = layer(r, x, coefficients, &[classes, width], &vec![rho[0]; classes])?;
    classifier::outputs(r, raw, labels, Scores::Largest, post)
}

fn floats(r: &Reading, name: &str) -> Result<Vec<f32>, OpError> {
    r.floats(name)?.ok_or_else(|| OpError::missing_attribute(name, "floats"))
}

/// Adds a linear layer with weights `[output, input]`.
fn layer(r: &mut Reading, x: Value, weights: &[f32], dims: &[usize], bias: &[f32]) -> Result<Value, OpError> {
    let weights = r.add_constant(Tensor::from_f32(dims, weights));
    let bias = r.add_constant(Tensor::from_f32(&[bias.len()], bias));
    r.add(Linear { transposed: true }, &[x, weights, bias])
}

/// Returns the weights of each pair of classes, `[pair, vector]`. The file has them as `[class - 1, vector]`: a support vector
/// of class `j` has the weight of the pair `(i, j)` in row `i`, one of class `i` in row `j - 1`.
fn pair_weights(counts: &[usize], coefficients: &[f32], count: usize) -> Vec<f32> {
    let mut starts = vec![0];
    counts.iter().for_each(|n| starts.push(starts[starts.len() - 1] + n));
    let mut weights = vec![];
    for i in 0..counts.len() {
        for j in i + 1..counts.len() {
            let mut row = vec![0.0; count];
            for v in starts[i]..starts[i + 1] {
                row[v] = coefficients[(j - 1) * count + v];
            }
            for v in starts[j]..starts[j + 1] {
                row[v] = coefficients[i * count + v];
            }
            weights.extend(row);
        }
    }
    weights
}

/// Builds the class that wins most pairs: the first class of a pair wins it with a score above 0.
fn most_votes(r: &mut Reading, scores: Value, classes: usize) -> Result<Value, OpError> {
    let (mut change, mut base, mut pair) =
        (vec![0.0; classes * (classes - 1) / 2 * classes], vec![0.0; classes], 0);
    let pairs = classes * (classes - 1) / 2;
    for i in 0..classes {
        for j in i + 1..classes {
            base[j] += 1.0;
            change[i * pairs + pair] = 1.0;
            change[j * pairs + pair] = -1.0;
            pair += 1;
        }
    }
    let zero = r.add_scalar(0.0, DType::F32);
    let wins = r.compare(Binary::Less, zero, scores)?;
    let wins = r.cast(wins, DType::F32)?;
    let votes = layer(r, wins, &change, &[classes, pairs], &base)?;
    r.add(Arg { max: true, axis: 1, keep: false }, &[votes])
}

/// Kernel of two vectors.
struct Kernel {
    name: String,
    gamma: f32,
    coef0: f32,
    degree: f32,
}

impl Kernel {
    fn read(r: &Reading) -> Result<Kernel, OpError> {
        let name = r.string_or("kernel_type", "LINEAR")?;
        let [gamma, coef0, degree] = match r.floats("kernel_params")?.unwrap_or_default().as_slice() {
            [] => [0.0; 3],
            [gamma, coef0, degree] => [*gamma, *coef0, *degree],
            other => return Err(OpError::invalid("kernel_params", "3 numbers", other.len())),
        };
        Ok(Kernel { name, gamma, coef0, degree })
    }

    /// Builds the kernel of each row with each of `count` support vectors, `[row, vector]`.
    fn apply(&self, r: &mut Reading, x: Value, vectors: &[f32], count: usize) -> Result<Value, OpError> {
        let width = vectors.len().checked_div(count).unwrap_or(0);
        if width * count != vectors.len() {
            return Err(OpError::invalid("support_vectors", format!("a multiple of {count}"), vectors.len()));
        }
        let number = |r: &mut Reading, v: f32| r.add_scalar(f64::from(v), DType::F32);
        if self.name == "RBF" {
            let rows = r.ty(x).dim(0).clone();
            let x = r.reshape(x, Shape(vec![rows, Dim::known(1), Dim::known(width as i64)]))?;
            let vectors = r.add_constant(Tensor::from_f32(&[count, width], vectors));
            let difference = r.add(Sub, &[x, vectors])?;
            let square = r.add(Mul, &[difference, difference])?;
            let sum =
                r.add(super::Reduce { kind: ReduceKind::Sum, axes: vec![2], keep: false }, &[square])?;
            let gamma = number(r, -self.gamma);
            let exponent = r.add(Mul, &[sum, gamma])?;
            return r.unary(Unary::Exp, exponent);
        }
        let vectors = r.add_constant(Tensor::from_f32(&[count, width], vectors));
        let mut product = r.add(Linear { transposed: true }, &[x, vectors])?;
        if self.name == "LINEAR" {
            return Ok(product);
        }
        let (gamma, coef0) = (number(r, self.gamma), number(r, self.coef0));
        product = r.add(Mul, &[product, gamma])?;
        product = r.add(Add, &[product, coef0])?;
        match self.name.as_str() {
            "POLY" => {
                let degree = number(r, self.degree);
                r.add(Arithmetic { f: Binary::Pow }, &[product, degree])
            }
            "SIGMOID" => r.unary(Unary::Tanh, product),
            other => Err(OpError::invalid("kernel_type", "LINEAR, POLY, RBF or SIGMOID", other)),
        }
    }
}
