//! Bar chart of the relevance of features, largest magnitude first.

use image::Rgb;

use super::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};
use super::palette::Colors;
use super::palette::{color, relative};
use crate::wording::number;

/// Feature with its value and relevance.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Name of the feature.
    pub name: String,
    /// Value of the feature in the input.
    pub value: f64,
    /// Relevance of the feature.
    pub relevance: f64,
}

/// Sample of a batch.
pub struct Sample {
    /// Caption above the sample.
    pub caption: String,
    /// Features of the sample, in any order.
    pub features: Vec<Feature>,
    /// True if relevance is a magnitude: its sign does not tell support from opposition.
    pub unsigned: bool,
}

/// Largest number of features with a bar; the others are summed.
pub const SHOWN: usize = 20;
/// Largest number of characters of a feature's name and value.
pub const NAME_CHARS: usize = 44;
/// Margin around everything, in pixels.
pub const MARGIN: u32 = 16;
/// Height of a row, in pixels.
pub const ROW: u32 = 24;
/// Length of all bars together, in pixels.
pub const BARS: u32 = 480;
/// Gap between names and bars, in pixels.
pub const GAP: u32 = 12;

/// Colour of bars that speak neither for nor against the target.
pub const NEUTRAL: Rgb<u8> = Rgb([92, 108, 128]);

/// Returns the legend of the bars to the right and to the left.
pub fn meaning(unsigned: bool) -> &'static str {
    if unsigned { "relevance (magnitude)" } else { "relevance: + speaks for the target, - against it" }
}

/// Draws the samples, one below the other.
pub fn draw(samples: &[Sample], colors: Colors) -> Canvas {
    let charts: Vec<Chart> = samples.iter().map(|s| Chart::new(&s.features)).collect();
    let rows = || charts.iter().flat_map(|c| c.bars.iter().chain(&c.others));
    let names = rows().map(|(name, _)| text_width(name)).max().unwrap_or(0);
    let values = rows().map(|(_, r)| text_width(&signed(*r, false))).max().unwrap_or(0) + 6;
    let captions = samples.iter().map(|s| text_width(&s.caption).max(text_width(meaning(s.unsigned))));
    let captions = captions.max().unwrap_or(0);
    let width = (names + GAP + values + BARS + values).max(captions) + 2 * MARGIN;
    let height: u32 = charts.iter().map(|c| 2 * LINE + 8 + c.height() + MARGIN).sum::<u32>() + MARGIN;
    let mut canvas = Canvas::new(width, height);
    let mut y = MARGIN;
    for (sample, chart) in samples.iter().zip(&charts) {
        canvas.text(MARGIN, y, &sample.caption, INK);
        canvas.text(MARGIN, y + LINE, meaning(sample.unsigned), FAINT);
        y += 2 * LINE + 8;
        let zero = MARGIN + names + GAP + if chart.down > 0 { values } else { 0 } + chart.down;
        let top = y;
        for (name, relevance) in &chart.bars {
            canvas.text_right(MARGIN + names, y + 3, name, INK);
            let length = chart.length(*relevance);
            if sample.unsigned {
                canvas.fill(zero, y + 3, length, ROW - 6, NEUTRAL);
                canvas.text(zero + length + 6, y + 3, &signed(*relevance, true), INK);
            } else {
                bar(&mut canvas, zero, y, *relevance, length, colors);
            }
            y += ROW;
        }
        canvas.fill(zero, top, 1, y - top, FAINT);
        // The others have no bar: together they may be longer than the largest.
        if let Some((name, sum)) = &chart.others {
            canvas.text_right(MARGIN + names, y + 3, name, FAINT);
            canvas.text(zero + 6, y + 3, &signed(*sum, sample.unsigned), FAINT);
            y += ROW;
        }
        y += MARGIN;
    }
    canvas
}

/// Names and relevance of the rows of a chart.
pub struct Rows {
    /// Features of largest magnitude, with their values, in the order of their magnitude.
    pub bars: Vec<(String, f64)>,
    /// Sum of the other features.
    pub others: Option<(String, f64)>,
}

impl Rows {
    /// Names the features of largest magnitude and sums the others.
    pub fn new(features: &[Feature]) -> Rows {
        let mut order: Vec<&Feature> = features.iter().collect();
        order.sort_by(|a, b| b.relevance.abs().total_cmp(&a.relevance.abs()));
        let shown = if order.len() == SHOWN + 1 { SHOWN + 1 } else { SHOWN.min(order.len()) };
        let (first, others) = order.split_at(shown);
        let name = |f: &Feature| {
            let value = format!(" = {}", number(f.value, 4));
            format!("{}{value}", shortened(&f.name, NAME_CHARS.saturating_sub(value.len())))
        };
        Rows {
            bars: first.iter().map(|f| (name(f), f.relevance)).collect(),
            others: (!others.is_empty())
                .then(|| (format!("{} others, sum", others.len()), others.iter().map(|f| f.relevance).sum())),
        }
    }
}

/// Rows of a sample's chart.
struct Chart {
    bars: Vec<(String, f64)>,
    others: Option<(String, f64)>,
    /// Pixels per unit of relevance.
    unit: f64,
    /// Length of the longest negative bar, in pixels.
    down: u32,
}

impl Chart {
    /// Gives the features of largest magnitude a bar each and sums the others.
    fn new(features: &[Feature]) -> Chart {
        let Rows { bars, others } = Rows::new(features);
        let finite = || bars.iter().map(|(_, r)| *r).filter(|r| r.is_finite());
        let (down, up) = (finite().fold(0.0, |m, r| f64::max(m, -r)), finite().fold(0.0, f64::max));
        let unit = relative(f64::from(BARS), down + up);
        Chart { bars, others, unit, down: (down * unit).round() as u32 }
    }

    fn length(&self, relevance: f64) -> u32 {
        let length = relevance.abs() * self.unit;
        if length.is_finite() { length.round() as u32 } else { 0 }
    }

    fn height(&self) -> u32 {
        ROW * (self.bars.len() + usize::from(self.others.is_some())) as u32
    }
}

/// Draws a signed bar: its length shows the magnitude, its colour only the sign.
fn bar(canvas: &mut Canvas, zero: u32, y: u32, relevance: f64, length: u32, colors: Colors) {
    if relevance < 0.0 {
        let left = zero.saturating_sub(length);
        canvas.fill(left, y + 3, zero - left, ROW - 6, color(colors, -0.75));
        canvas.text_right(left.saturating_sub(6), y + 3, &signed(relevance, false), INK);
    } else {
        canvas.fill(zero, y + 3, length, ROW - 6, color(colors, 0.75));
        canvas.text(zero + length + 6, y + 3, &signed(relevance, false), INK);
    }
}

/// Formats a relevance, with a plus sign if it is positive and signed.
pub fn signed(value: f64, unsigned: bool) -> String {
    format!("{}{}", if value > 0.0 && !unsigned { "+" } else { "" }, number(value, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(relevance: &[f64]) -> Vec<Feature> {
        let feature = |(i, r): (usize, &f64)| Feature { name: format!("f{i}"), value: 1.0, relevance: *r };
        relevance.iter().enumerate().map(feature).collect()
    }

    #[test]
    fn the_largest_stand_first_and_the_rest_is_summed() {
        let relevance: Vec<f64> = (0..30).map(|i| f64::from(if i % 2 == 0 { i } else { -i })).collect();
        let chart = Chart::new(&features(&relevance));
        assert_eq!(chart.bars.len(), SHOWN);
        assert_eq!(chart.bars[0], ("f29 = 1".into(), -29.0));
        assert_eq!(chart.others, Some(("10 others, sum".into(), -5.0)));
    }

    #[test]
    fn lengths_are_in_proportion_and_fill_the_width() {
        let chart = Chart::new(&features(&[3.0, -1.0]));
        assert_eq!((chart.length(3.0), chart.length(-1.0), chart.down), (BARS * 3 / 4, BARS / 4, BARS / 4));
        assert_eq!(Chart::new(&features(&[5.0, 1.0])).down, 0);
        assert_eq!(Chart::new(&features(&[0.0])).length(0.0), 0);
    }

    #[test]
    fn anything_draws() {
        for relevance in [&[][..], &[0.0, 0.0], &[f64::NAN, 1.0], &[-1e30, 1e-30]] {
            for unsigned in [false, true] {
                let features = features(relevance);
                draw(&[Sample { caption: "x".repeat(200), features, unsigned }], Colors::BlueRed);
            }
        }
    }
}
