//! Indices and weights of resized axes of known sizes.

use std::collections::BTreeMap;

use crate::OpError;

/// Values of `nearest_mode`, for messages.
pub(super) const ROUNDINGS: &str = "round_prefer_floor, round_prefer_ceil, floor or ceil";
/// Values of `coordinate_transformation_mode`, for messages.
const COORDINATES: &str = "half_pixel, pytorch_half_pixel, half_pixel_symmetric, asymmetric, align_corners, \
                           tf_half_pixel_for_nn or tf_crop_and_resize";

/// Interpolation between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// Attributes of a resampling.
pub(super) struct Filter {
    pub mode: Mode,
    /// Transformation from an index of the result to a position in the operand: `coordinate_transformation_mode`.
    pub coordinates: String,
    /// Rounding of positions in mode nearest: `nearest_mode`.
    pub rounding: String,
    /// Coefficient of the cubic convolution kernel.
    pub cubic: f32,
    /// True if elements outside of the operand have no weight; otherwise the edge is repeated.
    pub exclude_outside: bool,
    /// True if the filter is widened by the inverse scale when the axis shrinks.
    pub antialias: bool,
    /// Value of elements outside of a cropped operand.
    pub extrapolation: f32,
}

/// Sizes of a resized axis: operand, result, scale, and cropped region.
pub(super) struct Sampling {
    pub from: usize,
    pub to: usize,
    pub scale: f32,
    pub roi: (f32, f32),
}

/// Elements of the operand that each element of the result combines: `count` indices and weights per element,
/// row-major.
pub(super) struct Taps {
    pub count: usize,
    pub indices: Vec<i64>,
    pub weights: Vec<f32>,
    /// For each element of the result, whether its position lies inside the operand.
    pub inside: Vec<bool>,
}

impl Filter {
    /// Returns the position in the operand of element `i` of the result. Computed in single precision like ONNX
    /// Runtime: at ties a wider type would round to the other neighbour.
    fn position(&self, s: &Sampling, i: usize) -> Result<f32, OpError> {
        let (i, from, to) = (i as f32, s.from as f32, s.to as f32);
        Ok(match self.coordinates.as_str() {
            "pytorch_half_pixel" if s.to == 1 => 0.0,
            "half_pixel" | "pytorch_half_pixel" => (i + 0.5) / s.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = to / (s.scale * from);
                let center = from / 2.0;
                center * (1.0 - adjustment) + (i + 0.5) / s.scale - 0.5
            }
            "asymmetric" => i / s.scale,
            "align_corners" if s.to == 1 => 0.0,
            "align_corners" => i * (from - 1.0) / (to - 1.0),
            "tf_half_pixel_for_nn" => (i + 0.5) / s.scale,
            "tf_crop_and_resize" if s.to == 1 => 0.5 * (s.roi.0 + s.roi.1) * (from - 1.0),
            "tf_crop_and_resize" => {
                s.roi.0 * (from - 1.0) + i * (s.roi.1 - s.roi.0) * (from - 1.0) / (to - 1.0)
            }
            other => return Err(OpError::unsupported("coordinate_transformation_mode", COORDINATES, other)),
        })
    }

    /// Returns the index of the nearest element for each element of the result.
    pub fn nearest(&self, s: &Sampling) -> Result<Vec<i64>, OpError> {
        let crops = self.coordinates == "tf_crop_and_resize";
        let index_of = |i: usize| {
            let at = self.position(s, i)?;
            if crops && !(0.0..=(s.from - 1) as f32).contains(&at) {
                return Err(OpError::unsupported(
                    "roi in mode nearest",
                    "a crop within the operand",
                    "one beyond",
                ));
            }
            let nearest = match self.rounding.as_str() {
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                other => return Err(OpError::mismatch("nearest_mode", ROUNDINGS, other)),
            };
            Ok((nearest as i64).clamp(0, s.from as i64 - 1))
        };
        (0..s.to).map(index_of).collect()
    }

    /// Returns the indices and weights of each element of the result. Weights of a repeated index, such as the edge,
    /// are added up.
    pub fn taps(&self, s: &Sampling) -> Result<Taps, OpError> {
        let mut rows: Vec<BTreeMap<i64, f32>> = vec![];
        let mut inside = vec![];
        let last = s.from as i64 - 1;
        for i in 0..s.to {
            let at = self.position(s, i)?;
            inside.push(self.coordinates != "tf_crop_and_resize" || (0.0..=last as f32).contains(&at));
            let mut row = BTreeMap::new();
            for (index, weight) in self.row(s, at) {
                if (0..=last).contains(&index) || !self.exclude_outside {
                    *row.entry(index.clamp(0, last)).or_insert(0.0) += weight;
                }
            }
            let sum: f32 = row.values().sum();
            if (self.exclude_outside || self.antialias) && sum != 0.0 {
                row.values_mut().for_each(|w| *w /= sum);
            }
            rows.push(row);
        }
        let count = rows.iter().map(BTreeMap::len).max().unwrap_or(1).max(1);
        let (mut indices, mut weights) = (vec![], vec![]);
        for row in rows {
            let rest = count - row.len();
            // A tap without weight reads an element that is read anyway.
            let spare = row.keys().next().copied().unwrap_or(0);
            indices.extend(row.keys().copied().chain(std::iter::repeat_n(spare, rest)));
            weights.extend(row.values().copied().chain(std::iter::repeat_n(0.0, rest)));
        }
        Ok(Taps { count, indices, weights, inside })
    }

    /// Returns `(index, weight)` of each tap at a position, including taps beyond the edges.
    fn row(&self, s: &Sampling, at: f32) -> Vec<(i64, f32)> {
        let cubic = self.mode == Mode::Cubic;
        if self.antialias && s.scale < 1.0 {
            let reach = if cubic { 2.0 } else { 1.0 } / s.scale;
            let (low, high) = ((at - reach).ceil() as i64, (at + reach).floor() as i64);
            let weight = |i: i64| {
                let d = (i as f32 - at) * s.scale;
                if cubic { self.kernel(d) } else { (1.0 - d.abs()).max(0.0) }
            };
            return (low..=high).map(|i| (i, weight(i))).collect();
        }
        if cubic {
            let floor = at.floor();
            return (-1..=2).map(|k| (floor as i64 + k, self.kernel(at - floor - k as f32))).collect();
        }
        // Between the outermost elements, which is where the edge stands for what lies beyond.
        let at = at.clamp(0.0, (s.from - 1) as f32);
        let floor = at.floor();
        vec![(floor as i64, 1.0 - (at - floor)), (floor as i64 + 1, at - floor)]
    }

    /// Returns the cubic convolution kernel at distance `d`.
    fn kernel(&self, d: f32) -> f32 {
        let (a, d) = (self.cubic, d.abs());
        if d <= 1.0 {
            ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
        } else if d < 2.0 {
            ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
        } else {
            0.0
        }
    }
}
