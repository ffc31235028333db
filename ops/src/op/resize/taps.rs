//! Which elements make an element of a resized axis, and with what weights, for sizes that are known.

use std::collections::BTreeMap;

use super::unsupported;
use crate::OpError;

/// How elements between positions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// The attributes of a resampling.
pub(super) struct Filter {
    pub mode: Mode,
    /// How an index of the result becomes a position in the operand.
    pub coordinates: String,
    /// Of a position between elements, in mode nearest.
    pub rounding: String,
    /// The coefficient of the cubic.
    pub cubic: f32,
    /// Elements outside of the operand have no weight; else the edge stands for them.
    pub exclude_outside: bool,
    /// The filter is as wide as the elements that make way for one.
    pub antialias: bool,
    /// What lies outside of a cropped operand.
    pub extrapolation: f32,
}

/// One axis.
pub(super) struct Sampling {
    pub from: usize,
    pub to: usize,
    pub scale: f32,
    pub roi: (f32, f32),
}

/// For each element of the result `count` indices and weights.
pub(super) struct Taps {
    pub count: usize,
    pub indices: Vec<i64>,
    pub weights: Vec<f32>,
    /// Whether the element lies in the operand.
    pub inside: Vec<bool>,
}

impl Filter {
    /// The position of an index. In single precision, as ONNX Runtime does: at a tie, a wider type would round to the other
    /// neighbour.
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
            other => return Err(unsupported("coordinate_transformation_mode", other)),
        })
    }

    /// The index of the nearest element.
    pub fn nearest(&self, s: &Sampling) -> Result<Vec<i64>, OpError> {
        let crops = self.coordinates == "tf_crop_and_resize";
        let one = |i: usize| {
            let at = self.position(s, i)?;
            if crops && !(0.0..=(s.from - 1) as f32).contains(&at) {
                return Err(OpError::Unsupported(
                    "a crop beyond the operand in mode nearest is not supported".into(),
                ));
            }
            let nearest = match self.rounding.as_str() {
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                other => return Err(OpError::mismatch("nearest_mode", "a rounding", other)),
            };
            Ok((nearest as i64).clamp(0, s.from as i64 - 1))
        };
        (0..s.to).map(one).collect()
    }

    /// Indices and weights; an index comes once, so that weights of unlike sign on the edge do not count apart.
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

    /// The taps at a position, those beyond the edges included.
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

    /// The cubic convolution kernel.
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
