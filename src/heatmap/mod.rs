//! Heat maps: the relevance of an input as a picture.

pub mod bars;
pub mod canvas;
mod caption;
pub mod experts;
pub mod font;
pub mod format;
pub mod marks;
pub mod overlay;
pub mod overview;
mod palette;
mod run;
mod spatial;
mod strip;
mod svg;
mod table;
mod waterfall;
mod words;

use dlbc_ops::tensor::Tensor;
use image::RgbImage;

use crate::input::Layout;
use crate::tokens::Piece;
use canvas::Canvas;
use marks::Mark;

pub use caption::{HeatmapOptions, caption, sum_text};
pub use palette::Colors;
pub use run::{heatmap, render};

/// Number of floats without names from which an input is drawn as a curve, such as a sound.
const SIGNAL: usize = 256;

/// Largest number of samples of a batch that are drawn.
pub const MAX_SAMPLES: usize = 8;

/// Largest number of texts that are drawn.
pub const MAX_TEXTS: usize = 64;

/// Input with its relevance, as a heat map shows it.
pub struct Subject<'a> {
    /// Value of the input.
    pub value: &'a Tensor,
    /// Relevance of the input, in the same shape.
    pub relevance: &'a Tensor,
    /// Caption above each sample of the batch.
    pub captions: &'a [String],
    /// Picture that all samples were read from, and its layout in the input.
    pub picture: Option<(&'a RgbImage, Layout)>,
    /// Marks over each sample, and their legend.
    pub marks: Option<(&'a [Vec<Mark>], &'a str)>,
    /// True if relevance is a magnitude: its sign does not tell support from opposition.
    pub unsigned: bool,
    /// Texts that the input was read from, in pieces.
    pub texts: Option<&'a [Vec<Piece>]>,
    /// Number of samples that are left out.
    pub omitted: usize,
    /// Colours of relevance.
    pub colors: Colors,
}

/// Returns the colour of a relevance; `scale` gets the strongest colour.
pub fn tint(colors: Colors, relevance: f64, scale: f64) -> image::Rgb<u8> {
    palette::color(colors, palette::relative(relevance, scale))
}

/// Returns whether each sample of an input is a curve, such as a sound: many floats along one axis.
pub fn is_signal(value: &Tensor) -> bool {
    matches!(value.dims(), [_, n] if *n >= SIGNAL) && value.dtype().is_float()
}

/// Returns rows and positions of an input whose samples are curves, such as sounds: floats along one axis, with all other
/// axes of length 1 except a batch in front. An input with one answer is one curve, its steps one after the other.
pub fn curves(value: &Tensor, answers: usize) -> Option<[usize; 2]> {
    let dims = value.dims();
    let alone = |at: usize| dims.iter().enumerate().skip(1).all(|(axis, n)| axis == at || *n == 1);
    let long = |at: &usize| dims[*at] >= SIGNAL && alone(*at);
    let at = (0..dims.len()).rev().find(long).filter(|_| value.dtype().is_float())?;
    match (at, answers) {
        (_, 1) => Some([1, value.elems()]),
        (0, _) => None,
        _ => Some([dims[0], dims[at]]),
    }
}

/// Draws the relevance of an input: texts as texts, pictures as pictures, few features as bars, all else as strips.
pub fn draw(subject: &Subject) -> Canvas {
    if let Some(texts) = subject.texts {
        return text_samples(subject, texts);
    }
    let dims = subject.value.dims();
    let axes = if dims.len() == 4 { Axes::of(dims, subject.picture.map(|p| p.1)) } else { None };
    if let Some(axes) = axes {
        return pictures(subject, axes);
    }
    let few = matches!(dims.len(), 1 | 2) && !is_signal(subject.value);
    let tabular = few && subject.value.dtype().is_float();
    if tabular { bar_charts(subject) } else { strips(subject) }
}

/// Order and lengths of the axes of a picture in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    /// Position of the channel axis.
    pub layout: Layout,
    channels: usize,
    /// Number of rows of pixels.
    pub height: usize,
    /// Number of pixels in a row.
    pub width: usize,
}

impl Axes {
    /// Finds the axes of a batch of pictures, or of one picture. Without a layout, the channels are on the first axis if its
    /// length is 1, 3 or 4, else on the last if its length is. `None` without several rows and columns.
    pub fn of(dims: &[usize], layout: Option<Layout>) -> Option<Axes> {
        let (a, b, c) = match *dims {
            [n, a, b, c] if n > 0 => (a, b, c),
            [a, b, c] => (a, b, c),
            _ => return None,
        };
        let layout = layout.unwrap_or(match (a, c) {
            (1 | 3 | 4, _) => Layout::Nchw,
            (_, 1 | 3 | 4) => Layout::Nhwc,
            _ => Layout::Nchw,
        });
        let (channels, height, width) = match layout {
            Layout::Nchw => (a, b, c),
            Layout::Nhwc => (c, a, b),
        };
        (channels > 0 && height > 1 && width > 1).then_some(Axes { layout, channels, height, width })
    }

    /// Returns the flat index of a value in its sample.
    fn index(self, channel: usize, pixel: usize) -> usize {
        match self.layout {
            Layout::Nchw => channel * self.height * self.width + pixel,
            Layout::Nhwc => pixel * self.channels + channel,
        }
    }

    /// Sums each pixel of a sample over its channels, row by row.
    pub fn per_pixel(self, values: &[f64]) -> Vec<f64> {
        let channels = |pixel| (0..self.channels).map(move |c| self.index(c, pixel));
        let sum = |pixel| channels(pixel).map(|at| values.get(at).copied().unwrap_or(f64::NAN)).sum();
        (0..self.height * self.width).map(sum).collect()
    }
}

fn sample_caption(subject: &Subject, sample: usize) -> String {
    subject.captions.get(sample).cloned().unwrap_or_else(|| format!("sample {sample}"))
}

/// Returns the values of each drawn sample, with their relevance.
fn samples(subject: &Subject) -> Vec<(Vec<f64>, Vec<f64>)> {
    let dims = subject.value.dims();
    let size: usize = if dims.len() < 2 { subject.value.elems() } else { dims[1..].iter().product() };
    let (values, relevance) = (subject.value.to_f64(), subject.relevance.to_f64());
    let both = values.chunks(size.max(1)).zip(relevance.chunks(size.max(1)));
    both.take(MAX_SAMPLES).map(|(v, r)| (v.to_vec(), r.to_vec())).collect()
}

fn pictures(subject: &Subject, axes: Axes) -> Canvas {
    let sample = |(i, (values, relevance)): (usize, (Vec<f64>, Vec<f64>))| {
        let picture = match subject.picture {
            Some((crop, _)) if crop.dimensions() == (axes.width as u32, axes.height as u32) => crop.clone(),
            _ => rescaled(&values, axes),
        };
        let relevance = axes.per_pixel(&relevance);
        let marks = subject.marks.and_then(|(marks, _)| marks.get(i)).cloned().unwrap_or_default();
        spatial::Sample { caption: sample_caption(subject, i), picture, relevance, marks }
    };
    let all: Vec<_> = samples(subject).into_iter().enumerate().map(sample).collect();
    spatial::draw(&all, subject.marks.map(|(_, legend)| legend), subject.colors)
}

/// Converts a normalised picture to bytes: its smallest value is black, its largest white.
fn rescaled(values: &[f64], axes: Axes) -> RgbImage {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let byte = |v: f64| if high > low { ((v - low) / (high - low) * 255.0).round() as u8 } else { 128 };
    RgbImage::from_fn(axes.width as u32, axes.height as u32, |x, y| {
        let pixel = y as usize * axes.width + x as usize;
        let channel = |c: usize| values.get(axes.index(c, pixel)).copied().unwrap_or(0.0);
        match axes.channels {
            3 | 4 => [byte(channel(0)), byte(channel(1)), byte(channel(2))].into(),
            n => [byte((0..n).map(channel).sum::<f64>() / n as f64); 3].into(),
        }
    })
}

fn bar_charts(subject: &Subject) -> Canvas {
    let sample = |(i, (values, relevance)): (usize, (Vec<f64>, Vec<f64>))| {
        let features = values.iter().zip(&relevance).enumerate();
        let features = features.map(|(f, (value, relevance))| bars::Feature {
            name: format!("feature {f}"),
            value: *value,
            relevance: *relevance,
        });
        bars::Sample {
            caption: sample_caption(subject, i),
            features: features.collect(),
            unsigned: subject.unsigned,
        }
    };
    let all: Vec<_> = samples(subject).into_iter().enumerate().map(sample).collect();
    bars::draw(&all, subject.colors)
}

fn text_samples(subject: &Subject, texts: &[Vec<Piece>]) -> Canvas {
    let sample = |(i, pieces): (usize, &Vec<Piece>)| {
        let tokens = pieces.iter().filter_map(|p| Some((p.relevance?, p.special)));
        words::Sample {
            caption: sample_caption(subject, i),
            pieces: pieces.clone(),
            scale: crate::tokens::scale(tokens),
        }
    };
    let all: Vec<_> = texts.iter().enumerate().map(sample).collect();
    words::draw(&all, subject.omitted, subject.colors)
}

fn strips(subject: &Subject) -> Canvas {
    // Relevance per position of the first axis after the batch; what is inside a position adds up.
    let inner: usize = subject.value.dims().iter().skip(2).product();
    let signal = is_signal(subject.value);
    let sample = |(i, (values, relevance)): (usize, (Vec<f64>, Vec<f64>))| strip::Sample {
        caption: sample_caption(subject, i),
        values: if signal { values } else { vec![] },
        relevance: relevance.chunks(inner.max(1)).map(|c| c.iter().sum()).collect(),
    };
    let all: Vec<_> = samples(subject).into_iter().enumerate().map(sample).collect();
    strip::draw(&all, subject.colors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dims: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|i| i as f32 - 3.0).collect();
        Tensor::from_f32(dims, &values)
    }

    #[test]
    fn every_rank_draws() {
        for dims in [
            &[][..],
            &[5],
            &[2, 5],
            &[2, 300],
            &[2, 5, 3],
            &[2, 3, 4, 4],
            &[1, 4, 4, 3],
            &[1, 2, 2, 2, 2],
            &[0, 3, 4, 4],
        ] {
            let value = tensor(dims);
            let subject = Subject {
                value: &value,
                relevance: &value,
                captions: &[],
                picture: None,
                marks: None,
                unsigned: false,
                texts: None,
                omitted: 0,
                colors: Colors::BlueRed,
            };
            let image = draw(&subject).image;
            assert!(image.width() > 16 && image.height() >= 16, "{dims:?}: {:?}", image.dimensions());
        }
    }

    #[test]
    fn sounds_are_curves_whatever_their_axes() {
        for dims in [&[1, 300][..], &[1, 300, 1], &[1, 1, 300], &[300, 1], &[300], &[1, 1, 1, 300]] {
            assert_eq!(curves(&tensor(dims), 1), Some([1, 300]), "{dims:?}");
        }
        assert_eq!(
            (curves(&tensor(&[2, 300]), 1), curves(&tensor(&[2, 300, 1]), 2)),
            (Some([1, 600]), Some([2, 300]))
        );
        for dims in [&[300, 2][..], &[1, 200], &[1, 300, 2], &[1, 3, 300, 300]] {
            assert_eq!(curves(&tensor(dims), 1), None, "{dims:?}");
        }
        assert_eq!(curves(&tensor(&[300, 1]), 300), None);
    }

    #[test]
    fn relevance_adds_up_over_channels_in_both_layouts() {
        let axes = |layout| Axes { layout, channels: 3, height: 4, width: 5 };
        assert_eq!(axes(Layout::Nchw).index(2, 7), 47);
        assert_eq!(axes(Layout::Nhwc).index(2, 7), 23);
    }
}
