//! Pixels as values of an input: range, mean, deviation, order of the channels.

use dlbc_ops::program::InputInfo;
use image::RgbImage;

use crate::error::{Error, Result};
use crate::input::picture_options::{Channels, Layout, PictureOptions};
use crate::remedy::Remedy;
use crate::wording::{number, visible};

/// Map from pixels to values, channel by channel in the order of the input.
pub struct Values {
    /// Value of white before the mean is subtracted.
    range: f64,
    order: Channels,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Values {
    /// Derives the map from the options, then from the preset, for an input with this number of channels.
    ///
    /// # Errors
    /// For options that do not fit the input or one another.
    pub fn new(input: &InputInfo, channels: usize, options: &PictureOptions) -> Result<Values> {
        let order = options.channels();
        if !input.ty.dtype.is_float() {
            let range = options.pixel_range.unwrap_or(255.0);
            if options.mean.is_some() || options.std.is_some() || options.preset.is_some() || range != 255.0 {
                let name = visible(&input.name);
                return Err(Error::usage(format!(
                    "input `{name}` {} takes whole numbers: a pixel range other than 255, a mean, a std or a preset does \
                     not apply",
                    input.ty
                ))
                .with_remedy(Remedy::RawPixels));
            }
            return Ok(Values { range, order, mean: vec![0.0; channels], std: vec![1.0; channels] });
        }
        let preset = options.preprocessing();
        let range = options.pixel_range.unwrap_or(preset.pixel_range);
        let usual = |values: [f64; 3], neutral: f64| match (channels, options.preset) {
            (3, _) => Ok(values.iter().map(|v| v * range).collect::<Vec<f64>>()),
            (_, None) => Ok(vec![neutral; channels]),
            (_, Some(_)) if values.iter().all(|v| *v == values[0]) => Ok(vec![values[0] * range; channels]),
            (_, Some(preset)) => Err(Error::usage(format!(
                "preset {} does not fit input `{}`: expected 3 channels, found {channels}",
                preset.name(),
                visible(&input.name)
            ))),
        };
        // A deviation of 1 leaves the values as they are, whatever white is.
        let scaled_std = if preset.std == [1.0; 3] { [1.0 / range; 3] } else { preset.std };
        let (mut mean, mut std) = (usual(preset.mean, 0.0)?, usual(scaled_std, 1.0)?);
        if order == Channels::Bgr {
            mean.reverse();
            std.reverse();
        }
        let chosen = |option: &str, values: &Option<Vec<f64>>, usual: Vec<f64>| match values.as_deref() {
            None => Ok(usual),
            Some([value]) => Ok(vec![*value; channels]),
            Some(values) if values.len() == channels => Ok(values.to_vec()),
            Some(values) => Err(Error::usage(format!(
                "invalid {option}: expected 1 or {channels} values, found {}",
                values.len()
            ))),
        };
        let mean = chosen("mean", &options.mean, mean)?;
        let std = chosen("std", &options.std, std)?;
        if let Some(mean) = mean.iter().find(|m| m.abs() > range.abs()) {
            let (mean, range) = (number(*mean, 6), number(range, 6));
            let error =
                Error::usage(format!("invalid mean: expected values within 0 to {range}, found {mean}"));
            return Err(if range == "1" { error.with_remedy(Remedy::PixelRange) } else { error });
        }
        Ok(Values { range, order, mean, std })
    }

    /// Converts a picture to values in the order of a layout.
    pub fn of(&self, crop: &RgbImage, layout: Layout) -> Vec<f64> {
        let channels = self.mean.len();
        let value = |pixel: &image::Rgb<u8>, c: usize| {
            let source = if self.order == Channels::Bgr && channels == 3 { 2 - c } else { c };
            (f64::from(pixel.0[source]) / 255.0 * self.range - self.mean[c]) / self.std[c]
        };
        match layout {
            Layout::Nchw => (0..channels).flat_map(|c| crop.pixels().map(move |p| value(p, c))).collect(),
            Layout::Nhwc => crop.pixels().flat_map(|p| (0..channels).map(move |c| value(p, c))).collect(),
        }
    }

    /// Returns the map in words, for a note.
    pub fn text(&self) -> String {
        let order = match (self.mean.len(), self.order) {
            (1, _) => "grey",
            (_, Channels::Rgb) => "RGB",
            (_, Channels::Bgr) => "BGR",
        };
        let list = |values: &[f64]| values.iter().map(|v| number(*v, 6)).collect::<Vec<_>>().join(",");
        format!("{order} in 0..{}, mean {}, std {}", number(self.range, 6), list(&self.mean), list(&self.std))
    }
}
