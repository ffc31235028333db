//! The relevance of features: a bar each, the largest first.

use image::RgbImage;

use super::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};
use super::palette::{color, relative};
use crate::args::Colors;
use crate::terminal::number;

/// A feature.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its relevance.
    pub relevance: f64,
}

/// A sample of a batch.
pub struct Sample {
    /// What stands above it.
    pub caption: String,
    /// Its features.
    pub features: Vec<Feature>,
}

/// How many features get a bar of their own.
const SHOWN: usize = 20;
const NAME_CHARS: usize = 44;
const MARGIN: u32 = 16;
const ROW: u32 = 24;
const BARS: u32 = 480;
const GAP: u32 = 12;

/// Draws the samples, one below the other.
pub fn draw(samples: &[Sample], colors: Colors) -> RgbImage {
    let charts: Vec<Vec<(String, f64)>> = samples.iter().map(|s| rows(&s.features)).collect();
    let rows = || charts.iter().flatten();
    let names = rows().map(|(name, _)| text_width(name)).max().unwrap_or(0);
    let values = rows().map(|(_, r)| text_width(&signed(*r))).max().unwrap_or(0);
    let captions = samples.iter().map(|s| text_width(&s.caption)).max().unwrap_or(0);
    let width = (names + GAP + values + BARS + values).max(captions) + 2 * MARGIN;
    let height: u32 = charts.iter().map(|c| LINE + 8 + ROW * c.len() as u32 + MARGIN).sum::<u32>() + MARGIN;
    let mut canvas = Canvas::new(width, height);
    let mut y = MARGIN;
    let zero = MARGIN + names + GAP + values + BARS / 2;
    for (sample, chart) in samples.iter().zip(&charts) {
        canvas.text(MARGIN, y, &sample.caption, INK);
        y += LINE + 8;
        let scale = chart.iter().map(|(_, r)| r.abs()).filter(|r| r.is_finite()).fold(0.0, f64::max);
        let top = y;
        for (i, (name, relevance)) in chart.iter().enumerate() {
            let ink = if i >= SHOWN { FAINT } else { INK };
            canvas.text_right(MARGIN + names, y + 3, name, ink);
            bar(&mut canvas, zero, y, *relevance, scale, colors);
            y += ROW;
        }
        canvas.fill(zero, top, 1, y - top, FAINT);
        y += MARGIN;
    }
    canvas.image
}

fn bar(canvas: &mut Canvas, zero: u32, y: u32, relevance: f64, scale: f64, colors: Colors) {
    let share = relative(relevance, scale);
    let length = if share.is_finite() { (share.abs() * f64::from(BARS / 2)).round() as u32 } else { 0 };
    // Length shows the size; the colour only the sign.
    let fill = color(colors, 0.75 * if share < 0.0 { -1.0 } else { 1.0 });
    if share < 0.0 {
        canvas.fill(zero - length, y + 3, length, ROW - 6, fill);
        canvas.text_right(zero - length - 6, y + 3, &signed(relevance), INK);
    } else {
        canvas.fill(zero, y + 3, length, ROW - 6, fill);
        canvas.text(zero + length + 6, y + 3, &signed(relevance), INK);
    }
}

fn signed(value: f64) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, number(value, 3))
}

/// The largest features and, in one row, the sum of the others.
fn rows(features: &[Feature]) -> Vec<(String, f64)> {
    let mut order: Vec<&Feature> = features.iter().collect();
    order.sort_by(|a, b| b.relevance.abs().total_cmp(&a.relevance.abs()));
    let shown = if order.len() == SHOWN + 1 { SHOWN + 1 } else { SHOWN.min(order.len()) };
    let (first, others) = order.split_at(shown);
    let name = |f: &Feature| {
        let value = format!(" = {}", number(f.value, 4));
        format!("{}{value}", shortened(&f.name, NAME_CHARS.saturating_sub(value.len())))
    };
    let mut rows: Vec<(String, f64)> = first.iter().map(|f| (name(f), f.relevance)).collect();
    if !others.is_empty() {
        rows.push((format!("{} others, sum", others.len()), others.iter().map(|f| f.relevance).sum()));
    }
    rows
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
        let rows = rows(&features(&(0..30).map(|i| if i % 2 == 0 { f64::from(i) } else { -f64::from(i) }).collect::<Vec<_>>()));
        assert_eq!(rows.len(), 21);
        assert_eq!((rows[0].0.as_str(), rows[0].1), ("f29 = 1", -29.0));
        assert_eq!((rows[20].0.as_str(), rows[20].1), ("10 others, sum", -5.0));
    }

    #[test]
    fn anything_draws() {
        for relevance in [&[][..], &[0.0, 0.0], &[f64::NAN, 1.0], &[-1e30, 1e-30]] {
            draw(&[Sample { caption: "x".repeat(200), features: features(relevance) }], Colors::BlueRed);
        }
    }
}
