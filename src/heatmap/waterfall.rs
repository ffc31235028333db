//! Waterfall of a score: the mean of the background, a step for each feature, and the score.

use super::bars::{BARS, Feature, GAP, MARGIN, ROW, Rows, signed};
use super::canvas::{Canvas, FAINT, INK, LINE, text_width};
use super::palette::{Colors, color, relative};
use crate::wording::number;

/// Score of a row as a sum.
pub struct Waterfall {
    /// Caption above the chart.
    pub caption: String,
    /// Score at which the steps begin.
    pub base: f64,
    /// Features of the row, in any order.
    pub features: Vec<Feature>,
}

/// Legend below the caption.
const MEANING: &str =
    "from the mean score of the background to the score: + speaks for the target, - against it";

/// Names of the first and the last line of a chart.
const ENDS: [&str; 2] = ["mean of the background", "score"];

/// Draws waterfalls, one below the other.
pub fn draw(waterfalls: &[Waterfall], colors: Colors) -> Canvas {
    let charts: Vec<Chart> = waterfalls.iter().map(Chart::new).collect();
    let steps = || charts.iter().flat_map(|c| &c.steps);
    let names = steps().map(|s| s.name.as_str()).chain(ENDS).map(text_width).max().unwrap_or(0);
    let ends = charts.iter().flat_map(|c| [c.base, c.score]).map(|v| text_width(&number(v, 4)));
    let values = steps().map(|s| text_width(&signed(s.size, false))).chain(ends).max().unwrap_or(0) + 6;
    let captions = waterfalls.iter().map(|w| text_width(&w.caption).max(text_width(MEANING)));
    let width = (names + GAP + values + BARS + values).max(captions.max().unwrap_or(0)) + 2 * MARGIN;
    let height: u32 = charts.iter().map(|c| 2 * LINE + 8 + c.height() + MARGIN).sum::<u32>() + MARGIN;
    let mut canvas = Canvas::new(width, height);
    let (right, left) = (MARGIN + names, MARGIN + names + GAP + values);
    let mut y = MARGIN;
    for (waterfall, chart) in waterfalls.iter().zip(&charts) {
        canvas.text(MARGIN, y, &waterfall.caption, INK);
        canvas.text(MARGIN, y + LINE, MEANING, FAINT);
        y += 2 * LINE + 8;
        let end = |canvas: &mut Canvas, y: u32, name: &str, value: f64| {
            canvas.text_right(right, y + 3, name, INK);
            let x = left + chart.place(value);
            canvas.fill(x, y + 3, 2, ROW - 6, INK);
            canvas.text(x + 8, y + 3, &number(value, 4), INK);
        };
        end(&mut canvas, y, ENDS[0], chart.base);
        y += ROW;
        for step in &chart.steps {
            let (from, to) = (left + chart.place(step.from), left + chart.place(step.from + step.size));
            canvas.text_right(right, y + 3, &step.name, if step.is_sum { FAINT } else { INK });
            // A line from the end of the last step, and one on to the next.
            canvas.fill(from, y - 3, 1, 6, FAINT);
            let (start, length) = (from.min(to), from.abs_diff(to).max(1));
            let is_up = step.size >= 0.0;
            let fill = match step.size {
                0.0 => FAINT,
                _ => color(colors, if is_up { 0.75 } else { -0.75 }),
            };
            canvas.fill(start, y + 3, length, ROW - 6, fill);
            let text = signed(step.size, false);
            if is_up {
                canvas.text(start + length + 6, y + 3, &text, INK);
            } else {
                canvas.text_right(start.saturating_sub(6), y + 3, &text, INK);
            }
            y += ROW;
        }
        canvas.fill(left + chart.place(chart.score), y - 3, 1, 6, FAINT);
        end(&mut canvas, y, ENDS[1], chart.score);
        y += ROW + MARGIN;
    }
    canvas
}

/// Step of a waterfall.
struct Step {
    name: String,
    /// Score before the step.
    from: f64,
    /// Change of the score.
    size: f64,
    /// True if several features share the step.
    is_sum: bool,
}

/// Steps of a waterfall and the scale of their scores.
struct Chart {
    base: f64,
    steps: Vec<Step>,
    score: f64,
    /// Smallest score on the way.
    low: f64,
    /// Pixels per unit of the score.
    unit: f64,
}

impl Chart {
    fn new(waterfall: &Waterfall) -> Chart {
        let Rows { bars, others } = Rows::new(&waterfall.features);
        let mut score = waterfall.base;
        let mut step = |(name, size): (String, f64), is_sum: bool| {
            let from = score;
            score += size;
            Step { name, from, size, is_sum }
        };
        let mut steps: Vec<Step> = bars.into_iter().map(|bar| step(bar, false)).collect();
        steps.extend(others.map(|others| step(others, true)));
        let scores = || steps.iter().map(|s| s.from).chain([score]).filter(|s| s.is_finite());
        let (low, high) =
            (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
        let unit = relative(f64::from(BARS), high - low);
        Chart { base: waterfall.base, steps, score, low, unit }
    }

    /// Returns the distance of a score from the left edge of the chart, in pixels.
    fn place(&self, score: f64) -> u32 {
        let place = (score - self.low) * self.unit;
        if place.is_finite() { place.round().clamp(0.0, f64::from(BARS)) as u32 } else { 0 }
    }

    fn height(&self) -> u32 {
        ROW * (self.steps.len() as u32 + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waterfall(base: f64, relevance: &[f64]) -> Waterfall {
        let feature = |(i, r): (usize, &f64)| Feature { name: format!("f{i}"), value: 1.0, relevance: *r };
        let features = relevance.iter().enumerate().map(feature).collect();
        Waterfall { caption: "x".repeat(200), base, features }
    }

    #[test]
    fn steps_lead_from_the_base_to_the_score() {
        let chart = Chart::new(&waterfall(2.0, &[1.0, -3.0, 0.5]));
        let steps: Vec<_> = chart.steps.iter().map(|s| (s.from, s.size)).collect();
        assert_eq!(steps, [(2.0, -3.0), (-1.0, 1.0), (0.0, 0.5)]);
        assert_eq!((chart.score, chart.low), (0.5, -1.0));
        assert_eq!((chart.place(2.0), chart.place(-1.0), chart.place(0.5)), (BARS, 0, BARS / 2));
    }

    #[test]
    fn other_features_share_a_step() {
        let chart = Chart::new(&waterfall(0.0, &[1.0; 30]));
        let last = chart.steps.last().map(|s| (s.is_sum, s.size));
        assert_eq!((chart.steps.len(), last, chart.score), (21, Some((true, 10.0)), 30.0));
    }

    #[test]
    fn anything_draws() {
        for relevance in [&[][..], &[0.0, 0.0], &[f64::NAN, 1.0], &[-1e30, 1e-30], &[f64::INFINITY]] {
            for base in [0.0, -2.0, f64::NAN, f64::MAX] {
                draw(&[waterfall(base, relevance), waterfall(base, relevance)], Colors::BlueRed);
            }
        }
    }
}
