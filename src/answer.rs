//! Answers of a model: the shape of each output with its largest units, classes and probabilities.

use dlbc_ops::program::Info;
use dlbc_ops::tensor::{DType, Tensor};
use serde::Serialize;

use crate::classes::Classes;
use crate::statistics::{argmax, unit_rows};
use crate::wording::number;

/// Largest number of rows that are listed.
const LISTED: usize = 8;

/// Tolerance for probabilities outside 0 to 1, and for the deviation of their sum from 1.
const ROUNDING: f64 = 1e-3;

/// Summary of an output of the model.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Dimensions of the output.
    pub shape: Vec<usize>,
    /// Index of the largest unit of each row, on the last axis; for `[batch, position, unit]` at the last position. Empty for an
    /// output with more axes.
    pub argmax: Vec<i64>,
    /// Class names of [`Answer::argmax`]; null for a class without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    argmax_names: Vec<Option<String>>,
    /// Largest value of each row.
    max: Vec<f64>,
    /// True if the values are probabilities by [`is_probability`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    probability: bool,
    /// Class of each row, for an output of integers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<i64>,
    /// Class names of [`Answer::labels`]; null for a class without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    label_names: Vec<Option<String>>,
}

impl Answer {
    /// Summarizes an output by name and tensor.
    pub fn new(info: &Info, name: &str, tensor: &Tensor, classes: &Classes) -> Answer {
        let (argmax, max) = largest(tensor);
        let labels = match tensor.dims() {
            [_] | [_, 1] if is_label(tensor.dtype()) => tensor.to_i64().to_vec(),
            _ => vec![],
        };
        let label_name = |class: &i64| classes.class_name(*class).map(str::to_string);
        let label_names: Vec<_> = labels.iter().map(label_name).collect();
        let mut answer = Answer {
            shape: tensor.dims().to_vec(),
            argmax: vec![],
            argmax_names: vec![],
            max,
            probability: is_probability(info, name, tensor),
            label_names: if label_names.iter().any(Option::is_some) { label_names } else { vec![] },
            labels,
        };
        answer.set_argmax(argmax, classes);
        answer
    }

    /// Replaces the dimensions, for an output of which the tensor has the explained positions alone.
    pub fn set_shape(&mut self, shape: &[usize]) {
        self.shape = shape.to_vec();
    }

    /// Replaces the largest value of each row, for another position.
    pub fn set_max(&mut self, max: Vec<f64>) {
        self.max = max;
    }

    /// Replaces the largest units, for another position.
    pub fn set_argmax(&mut self, argmax: Vec<i64>, classes: &Classes) {
        let classes = classes.of_units(self.shape.last().copied().unwrap_or(1));
        let names: Vec<Option<String>> =
            argmax.iter().map(|unit| classes.name(*unit).map(str::to_string)).collect();
        let has_names = self.labels.is_empty() && names.iter().any(Option::is_some);
        self.argmax_names = if has_names { names } else { vec![] };
        self.argmax = argmax;
    }

    /// Describes the largest unit of each row, or its class; empty for an output without units.
    pub fn text(&self) -> String {
        let listed = |items: Vec<String>, count: usize| {
            format!("{}{}", items.join(", "), if count > LISTED { ", .." } else { "" })
        };
        let with = |n: &i64, names: &[Option<String>], i: usize| match names.get(i) {
            Some(Some(name)) if *name != n.to_string() => format!("{n} {name}"),
            _ => n.to_string(),
        };
        if !self.labels.is_empty() {
            let labels = self.labels.iter().enumerate().take(LISTED);
            let labels = labels.map(|(i, class)| with(class, &self.label_names, i)).collect();
            return format!("  class {}", listed(labels, self.labels.len()));
        }
        let pair = |(i, (unit, value)): (usize, (&i64, &f64))| {
            let value = match self.probability {
                true => format!("probability {}", probability(*value)),
                false => number(*value, 5),
            };
            format!("{} ({value})", with(unit, &self.argmax_names, i))
        };
        let pairs: Vec<String> =
            self.argmax.iter().zip(&self.max).enumerate().take(LISTED).map(pair).collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("  argmax {}", listed(pairs, self.argmax.len()))
        }
    }
}

/// Formats a probability with enough digits to distinguish it from 1.
pub fn probability(value: f64) -> String {
    let complement = 1.0 - value;
    if !(value > 0.5 && complement > 0.0) {
        return number(value, 4);
    }
    let decimals = (-complement.log10().floor()).clamp(4.0, 16.0) as usize;
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').into()
}

/// Returns whether the values of an output are probabilities: a sigmoid or softmax computes them, or they are within 0 to 1 and
/// each row sums to 1.
pub fn is_probability(info: &Info, name: &str, tensor: &Tensor) -> bool {
    let dims = tensor.dims();
    if !tensor.dtype().is_float() || tensor.elems() == 0 || !(1..=3).contains(&dims.len()) {
        return false;
    }
    let values = tensor.to_f64();
    if values.iter().any(|v| !(-ROUNDING..=1.0 + ROUNDING).contains(v)) {
        return false;
    }
    let units = dims[dims.len() - 1];
    let sums = || values.chunks(units).all(|row| (row.iter().sum::<f64>() - 1.0).abs() <= ROUNDING);
    info.probabilities.iter().any(|p| p == name) || (units > 1 && sums())
}

/// Returns whether an output of this type holds class indices.
fn is_label(dtype: DType) -> bool {
    !dtype.is_float() && dtype != DType::Bool
}

/// Returns the index and the value of the largest unit of each row.
fn largest(tensor: &Tensor) -> (Vec<i64>, Vec<f64>) {
    if tensor.dims().len() > 3 {
        return (vec![], vec![]);
    }
    let values = tensor.to_f64();
    let rows = unit_rows(tensor.dims(), &values).into_iter();
    rows.map(|row| (argmax(row), row)).map(|(best, row)| (best as i64, row[best])).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::named;

    /// Returns the description of an output whose classes have these names.
    fn text(tensor: &Tensor, names: &[&str]) -> String {
        Answer::new(&Info::default(), "y", tensor, &named(names)).text()
    }

    #[test]
    fn the_largest_unit_of_each_row() {
        let units = |dims: &[usize], values: &[f32]| largest(&Tensor::from_f32(dims, values)).0;
        assert_eq!(units(&[2, 3], &[0.0, 2.0, 1.0, 5.0, 5.0, 4.0]), [1, 0]);
        assert_eq!(units(&[1, 2, 2], &[9.0, 0.0, 0.0, 1.0]), [1]);
        assert_eq!(units(&[3], &[0.0, 0.0, 1.0]), [2]);
        assert_eq!(units(&[], &[4.0]), [0]);
        assert!(units(&[1, 1, 1, 1], &[4.0]).is_empty());
        assert!(units(&[0, 3], &[]).is_empty());
    }

    #[test]
    fn answers_name_units_classes_and_probabilities() {
        let logits = Tensor::from_f32(&[2, 2], &[-1.0, 2.0, 3.0, 0.5]);
        assert_eq!(text(&logits, &["no", "yes"]), "  argmax 1 yes (2), 0 no (3)");
        assert_eq!(text(&logits, &[]), "  argmax 1 (2), 0 (3)");
        // Three names are not those of two units.
        assert_eq!(text(&logits, &["a", "b", "c"]), "  argmax 1 (2), 0 (3)");
        let sure = Tensor::from_f32(&[1, 2], &[1e-6, 0.999999]);
        assert_eq!(text(&sure, &["no", "yes"]), "  argmax 1 yes (probability 0.999999)");
        assert_eq!(text(&Tensor::from_i64(&[2], &[1, 0]), &["no", "yes"]), "  class 1 yes, 0 no");
        assert_eq!(text(&Tensor::from_i64(&[1, 1], &[3]), &[]), "  class 3");
        let info = Info { probabilities: vec!["p".into()], ..Info::default() };
        let answer = Answer::new(&info, "p", &Tensor::from_f32(&[1, 1], &[0.25]), &named(&["no", "yes"]));
        assert_eq!(answer.text(), "  argmax 0 yes (probability 0.25)");
    }

    #[test]
    fn probabilities_are_never_rounded_to_one() {
        for (value, text) in [
            (0.999999, "0.999999"),
            (f64::from(0.999_999_9f32), "0.9999999"),
            (0.93, "0.93"),
            (1.0, "1"),
            (0.0, "0"),
            (0.000_012_34, "1.234e-5"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(probability(value), text);
        }
    }
}
