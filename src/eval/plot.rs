//! Plot of the curves of an evaluation.

use image::Rgb;

use super::outcome::Outcome;
use crate::heatmap::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};

/// Number of points at which curves of different lengths are averaged.
const POINTS: usize = 65;

const SIDE: u32 = 320;
const MARGIN: u32 = 24;
/// Width of the labels of the axis, in pixels.
const AXIS: u32 = 40;

/// Colours of the curves, distinguishable by every kind of colour vision [okabe2008]; they repeat after the last.
const COLORS: [[u8; 3]; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [0, 0, 0],
    [148, 103, 39],
];

/// Draws a panel for each kind of curve.
pub fn draw(outcomes: &[Outcome]) -> Canvas {
    let kinds = [
        ("morf", "most relevant replaced first"),
        ("lerf", "least relevant replaced first"),
        ("insertion", "most relevant inserted first"),
        ("region-perturbation", "drop, patches replaced"),
    ];
    let panels: Vec<(&str, &str)> =
        kinds.into_iter().filter(|(k, _)| outcomes.iter().any(|o| o.curves.contains_key(k))).collect();
    let names: Vec<String> = outcomes.iter().map(|o| shortened(&o.rules, 32)).collect();
    let legend = names.iter().map(|n| text_width(n)).max().unwrap_or(0) + 40;
    let width = MARGIN + panels.len() as u32 * (AXIS + SIDE + MARGIN) + legend;
    let height = (2 * MARGIN + SIDE + 3 * LINE).max(2 * MARGIN + LINE * (names.len() as u32 + 1));
    let mut canvas = Canvas::new(width, height);
    for (i, (kind, title)) in panels.iter().enumerate() {
        let left = MARGIN + i as u32 * (AXIS + SIDE + MARGIN) + AXIS;
        panel(&mut canvas, left, MARGIN, kind, title, outcomes);
    }
    let left = width - legend;
    for (i, name) in names.iter().enumerate() {
        let y = MARGIN + LINE * (i as u32 + 1);
        canvas.fill(left, y + LINE / 2 - 1, 24, 3, color(outcomes, i));
        canvas.text(left + 32, y, name, INK);
    }
    canvas
}

/// Returns the colour of a curve. Controls stand last and are grey.
fn color(outcomes: &[Outcome], at: usize) -> Rgb<u8> {
    match outcomes.len() - at {
        1 => Rgb([190; 3]),
        2 => Rgb([130; 3]),
        _ => Rgb(COLORS[at % COLORS.len()]),
    }
}

fn panel(canvas: &mut Canvas, left: u32, top: u32, kind: &str, title: &str, outcomes: &[Outcome]) {
    canvas.text(left, top, title, INK);
    let top = top + LINE + 4;
    let curves: Vec<Option<Vec<f64>>> =
        outcomes.iter().map(|o| o.curves.get(kind).and_then(|c| mean(c))).collect();
    let finite = || curves.iter().flatten().flatten().copied().filter(|v| v.is_finite());
    // Probabilities have the whole axis; values have what they need.
    let (low, high) = (finite().fold(0.0, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let high = if high <= 1.0 && low >= 0.0 { 1.0 } else { high.max(low + 1e-9) };
    let row = |v: f64| top + ((high - v) / (high - low) * f64::from(SIDE)).round() as u32;
    for (share, label) in [(0.0, low), (0.5, (low + high) / 2.0), (1.0, high)] {
        let y = top + ((1.0 - share) * f64::from(SIDE)) as u32;
        canvas.fill(left, y, SIDE, 1, Rgb([225; 3]));
        canvas.text_right(left - 4, y.saturating_sub(LINE / 2), &crate::wording::number(label, 2), FAINT);
    }
    canvas.frame(left, top, SIDE, SIDE, FAINT);
    canvas.text(left, top + SIDE + 4, "0", FAINT);
    canvas.text_right(left + SIDE, top + SIDE + 4, "all features", FAINT);
    for (i, curve) in curves.iter().enumerate() {
        let Some(curve) = curve else { continue };
        let x = |i: usize| left + (i as u32 * SIDE) / (POINTS as u32 - 1);
        for (p, pair) in curve.windows(2).enumerate() {
            if pair.iter().all(|v| v.is_finite()) {
                canvas.line((x(p), row(pair[0])), (x(p + 1), row(pair[1])), color(outcomes, i));
            }
        }
    }
}

/// Returns the mean of curves at the same shares of their lengths; `None` if all are empty.
fn mean(curves: &[Vec<f64>]) -> Option<Vec<f64>> {
    let curves: Vec<&Vec<f64>> = curves.iter().filter(|c| !c.is_empty()).collect();
    if curves.is_empty() {
        return None;
    }
    let at = |curve: &[f64], share: f64| {
        let index = share * (curve.len() - 1) as f64;
        let (before, rest) = (index.floor() as usize, index.fract());
        let after = (before + 1).min(curve.len() - 1);
        curve[before] * (1.0 - rest) + curve[after] * rest
    };
    let share = |p: usize| p as f64 / (POINTS - 1) as f64;
    let point = |p| curves.iter().map(|c| at(c, share(p))).sum::<f64>() / curves.len() as f64;
    Some((0..POINTS).map(point).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_different_lengths_have_a_mean() {
        let mean = mean(&[vec![1.0, 0.0], vec![1.0, 0.5, 0.0], vec![]]).unwrap();
        assert_eq!((mean.len(), mean[0], mean[POINTS / 2], mean[POINTS - 1]), (POINTS, 1.0, 0.5, 0.0));
    }
}
