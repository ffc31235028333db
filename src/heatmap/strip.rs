//! Chart of the relevance along a sequence: one thin bar per position, up for positive, down for negative. Inputs with one
//! value per position, such as sounds, have their curve above.

use super::canvas::{Canvas, FAINT, INK, LINE, text_width};
use super::palette::Colors;
use super::palette::{color, relative};
use crate::wording::number;

/// Sample of a batch.
pub struct Sample {
    /// Caption above the sample.
    pub caption: String,
    /// Value of each position; empty if a position has several.
    pub values: Vec<f64>,
    /// Relevance of each position.
    pub relevance: Vec<f64>,
}

const MARGIN: u32 = 16;
const WIDTH: u32 = 960;
const HEIGHT: u32 = 160;
/// Height of the curve of the values, in pixels.
const CURVE: u32 = 80;

/// Draws the samples, one below the other.
pub fn draw(samples: &[Sample], colors: Colors) -> Canvas {
    let labels = 12 * text_width("0");
    let captions = samples.iter().map(|s| text_width(&s.caption)).max().unwrap_or(0);
    let curve = if samples.iter().any(|s| !s.values.is_empty()) { CURVE + MARGIN / 2 } else { 0 };
    let row = LINE + curve + HEIGHT + LINE + MARGIN;
    let mut canvas =
        Canvas::new(2 * MARGIN + (labels + WIDTH).max(captions), MARGIN + row * samples.len() as u32);
    let left = MARGIN + labels;
    for (i, sample) in samples.iter().enumerate() {
        let top = MARGIN + row * i as u32;
        canvas.text(MARGIN, top, &sample.caption, INK);
        let bins = binned(&sample.relevance, WIDTH as usize);
        let scale = bins.iter().map(|r| r.abs()).filter(|r| r.is_finite()).fold(0.0, f64::max);
        let y = top + LINE + curve;
        let zero = y + HEIGHT / 2;
        let step = (WIDTH / bins.len().max(1) as u32).clamp(1, 48);
        for (i, value) in bins.iter().enumerate() {
            let t = relative(*value, scale);
            let length = if t.is_finite() { (t.abs() * f64::from(HEIGHT / 2)).round() as u32 } else { 0 };
            let thick = if step > 3 { step - 1 } else { step };
            let bar_y = if t < 0.0 { zero + 1 } else { zero - length };
            canvas.fill(left + i as u32 * step, bar_y, thick, length, color(colors, 0.75 * t.signum()));
        }
        canvas.fill(left, zero, step * bins.len() as u32, 1, FAINT);
        draw_curve(&mut canvas, left, top + LINE, step, &sample.values);
        canvas.text_right(left - 8, y, &format!("+{}", number(scale, 3)), INK);
        canvas.text_right(left - 8, zero - LINE / 2, "0", INK);
        canvas.text_right(left - 8, y + HEIGHT - LINE + 4, &number(-scale, 3), INK);
        canvas.text(left, y + HEIGHT + 2, "0", FAINT);
        let last = sample.relevance.len().saturating_sub(1).to_string();
        canvas.text_right(
            left + (step * bins.len() as u32).max(text_width(&last) + 24),
            y + HEIGHT + 2,
            &last,
            FAINT,
        );
    }
    canvas
}

/// Draws the curve of the values: a line from the smallest to the largest value of each bin.
fn draw_curve(canvas: &mut Canvas, left: u32, top: u32, step: u32, values: &[f64]) {
    let size = values.len().div_ceil(WIDTH as usize).max(1);
    let scale = values.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let height = |v: f64| {
        let t = relative(v, scale).clamp(-1.0, 1.0);
        (f64::from(CURVE / 2) * (1.0 - if t.is_finite() { t } else { 0.0 })).round() as u32
    };
    for (i, bin) in values.chunks(size).enumerate() {
        let (low, high) =
            bin.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let (from, to) = (height(high), height(low));
        canvas.fill(left + i as u32 * step, top + from, step, to.saturating_sub(from) + 1, INK);
    }
}

/// Adds up neighbours, so that at most `count` values remain.
fn binned(values: &[f64], count: usize) -> Vec<f64> {
    let size = values.len().div_ceil(count).max(1);
    values.chunks(size).map(|c| c.iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_keep_the_sum() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let bins = binned(&values, 300);
        assert_eq!((bins.len(), bins.iter().sum::<f64>()), (250, 499_500.0));
        assert_eq!(binned(&[1.0, 2.0], 10), [1.0, 2.0]);
    }

    #[test]
    fn anything_draws() {
        for relevance in [vec![], vec![0.0], vec![f64::NAN, -1.0], vec![1.0; 5000]] {
            for values in [vec![], relevance.clone()] {
                let sample = Sample { caption: String::new(), values, relevance: relevance.clone() };
                draw(&[sample], Colors::BlueRed);
            }
        }
    }

    #[test]
    fn a_curve_stands_above_the_bars() {
        let sample = |values: Vec<f64>| Sample { caption: String::new(), values, relevance: vec![1.0; 4] };
        let with = draw(&[sample(vec![0.0, 1.0, -1.0, 0.0])], Colors::BlueRed).image;
        let without = draw(&[sample(vec![])], Colors::BlueRed).image;
        assert_eq!(with.height() - without.height(), CURVE + MARGIN / 2);
        let (left, top) = (MARGIN + 12 * text_width("0"), MARGIN + LINE);
        assert_eq!(with.get_pixel(left + 48 + 2, top), &INK);
        assert_eq!(with.get_pixel(left + 96 + 2, top + CURVE), &INK);
        assert_ne!(with.get_pixel(left + 2, top), &INK);
    }
}
