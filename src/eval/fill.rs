//! Replacement values for features, and inputs with some features replaced.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use dlbc_ops::tensor::Tensor;
use dlbc_runtime::Tensors;

use super::features::Features;
use crate::input::from_f64;

/// Replacement for a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Smallest value of the input.
    Black,
    /// Largest value of the input.
    White,
    /// Mean of the input.
    Mean,
    /// Mean of each element over all samples.
    FeatureMean,
    /// Gaussian blur of the picture.
    Blur,
    /// Constant value.
    Value(f64),
    /// Masked token; texts only.
    Drop,
    /// Padding token; texts only.
    Pad,
}

impl FromStr for Fill {
    type Err = String;
    fn from_str(text: &str) -> Result<Fill, String> {
        Ok(match text {
            "black" => Fill::Black,
            "white" => Fill::White,
            "mean" => Fill::Mean,
            "feature-mean" => Fill::FeatureMean,
            "blur" => Fill::Blur,
            "drop" => Fill::Drop,
            "pad" => Fill::Pad,
            _ => Fill::Value(text.trim().parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(|| {
                let known = ["black", "white", "mean", "feature-mean", "blur", "drop", "pad"];
                crate::nearest::suggested(&format!("expected {} or a number", known.join(", ")), text, known)
            })?),
        })
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fill::Black => "black",
            Fill::White => "white",
            Fill::Mean => "mean",
            Fill::FeatureMean => "feature-mean",
            Fill::Blur => "blur",
            Fill::Drop => "drop",
            Fill::Pad => "pad",
            Fill::Value(value) => return write!(f, "{value}"),
        })
    }
}

impl Fill {
    /// Returns whether the replacement is one of tokens.
    pub fn is_for_texts(self) -> bool {
        matches!(self, Fill::Drop | Fill::Pad)
    }
}

/// Tensor of a sample with every feature replaced.
#[derive(Clone, Debug)]
pub struct Blank {
    /// Name of the input whose elements are replaced: that of the features, or the mask of the same shape.
    pub input: String,
    /// Replacement values, in the shape of the input.
    pub tensor: Tensor,
}

/// Yields the inputs after each group of features is replaced; groups replaced before stay replaced.
pub fn replaced<'a>(
    from: &'a Tensors,
    blank: &'a Blank,
    features: &'a Features,
    groups: impl Iterator<Item = Vec<usize>> + 'a,
) -> impl Iterator<Item = Tensors> + 'a {
    let source = blank.tensor.bytes();
    let width = blank.tensor.dtype().size_bytes();
    let mut bytes = from.get(&blank.input).map(|t| t.bytes().to_vec()).unwrap_or_default();
    groups.map(move |group| {
        for element in group.iter().flat_map(|f| &features.elements[*f]) {
            let at = element * width..(element + 1) * width;
            bytes[at.clone()].copy_from_slice(&source[at]);
        }
        let mut inputs = from.clone();
        let dims = blank.tensor.dims().to_vec();
        let tensor = Tensor::from_bytes(blank.tensor.dtype(), dims, Arc::new(bytes.clone()));
        inputs.extend(tensor.map(|t| (blank.input.clone(), t)));
        inputs
    })
}

/// Returns the blank of a sample whose features are numbers; `None` for a fill that does not apply to it.
pub fn blank(
    fill: Fill,
    sample: &BTreeMap<String, Tensor>,
    features: &Features,
    means: &[f64],
) -> Option<Blank> {
    let tensor = sample.get(&features.input)?;
    let values = tensor.to_f64();
    let all = |value: f64| vec![value; values.len()];
    let filled = match fill {
        Fill::Black => all(values.iter().copied().fold(f64::INFINITY, f64::min)),
        Fill::White => all(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        Fill::Mean => all(values.iter().sum::<f64>() / values.len().max(1) as f64),
        Fill::Value(value) => all(value),
        Fill::FeatureMean => means.to_vec(),
        Fill::Blur => blurred(&values, features, deviation(features.grid?)),
        Fill::Drop | Fill::Pad => return None,
    };
    let tensor = from_f64(tensor.dtype(), tensor.dims(), &filled)?;
    Some(Blank { input: features.input.clone(), tensor })
}

/// Returns the standard deviation of the Gaussian blur of a picture, in pixels.
pub fn deviation((height, width): (usize, usize)) -> f64 {
    (height.min(width) as f64 / 20.0).max(1.0)
}

/// Blurs a picture with a Gaussian; pixels beyond its border repeat the border.
fn blurred(values: &[f64], features: &Features, deviation: f64) -> Vec<f64> {
    let Some((height, width)) = features.grid else { return values.to_vec() };
    let reach = (3.0 * deviation).ceil() as i64;
    let weights: Vec<f64> = (-reach..=reach).map(|d| (-0.5 * (d as f64 / deviation).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let channels = features.elements.first().map_or(0, Vec::len);
    let mut out = values.to_vec();
    for channel in 0..channels {
        let plane: Vec<f64> = features.elements.iter().map(|e| values[e[channel]]).collect();
        let along = |from: &[f64], vertical: bool| -> Vec<f64> {
            let at = |y: i64, x: i64| {
                let y = y.clamp(0, height as i64 - 1) as usize;
                from[y * width + x.clamp(0, width as i64 - 1) as usize]
            };
            let pixel = |p: usize| {
                let (y, x) = ((p / width) as i64, (p % width) as i64);
                let near = weights.iter().zip(-reach..=reach);
                let sum: f64 =
                    near.map(|(w, d)| w * if vertical { at(y + d, x) } else { at(y, x + d) }).sum();
                sum / total
            };
            (0..from.len()).map(pixel).collect()
        };
        let soft = along(&along(&plane, true), false);
        features.elements.iter().zip(soft).for_each(|(e, v)| out[e[channel]] = v);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Layout, Source};

    fn sample(values: &[f32]) -> (Tensors, Features) {
        let side = (values.len() as f64).sqrt() as usize;
        let tensor = Tensor::from_f32(&[1, 1, side, side], values);
        let features = Features::of("x", &tensor, &Source::Pictures("x".into(), Layout::Nchw), 0);
        (Tensors::from([("x".to_string(), tensor)]), features)
    }

    #[test]
    fn fills() {
        let (tensors, features) = sample(&[1.0, 2.0, 3.0, 6.0]);
        let filled = |fill| blank(fill, &tensors, &features, &[9.0; 4]).unwrap().tensor.to_f32();
        assert_eq!(filled(Fill::Black), [1.0; 4]);
        assert_eq!(filled(Fill::White), [6.0; 4]);
        assert_eq!(filled(Fill::Mean), [3.0; 4]);
        assert_eq!(filled(Fill::FeatureMean), [9.0; 4]);
        assert_eq!(filled("-0.5".parse().unwrap()), [-0.5; 4]);
        assert!("grey".parse::<Fill>().is_err() && "nan".parse::<Fill>().is_err());
        assert_eq!(filled(Fill::Blur).iter().sum::<f32>().round(), 12.0);
        let (flat, features) = sample(&[4.0; 9]);
        assert!(
            blank(Fill::Blur, &flat, &features, &[])
                .unwrap()
                .tensor
                .to_f32()
                .iter()
                .all(|v| (v - 4.0).abs() < 1e-6)
        );
    }

    #[test]
    fn features_are_replaced_one_group_after_the_other() {
        let (tensors, features) = sample(&[1.0, 2.0, 3.0, 6.0]);
        let blank = blank(Fill::Value(0.0), &tensors, &features, &[]).unwrap();
        let groups = [vec![3], vec![0, 1]].into_iter();
        let inputs: Vec<Vec<f32>> =
            replaced(&tensors, &blank, &features, groups).map(|t| t["x"].to_f32()).collect();
        assert_eq!(inputs, [[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 3.0, 0.0]]);
    }
}
