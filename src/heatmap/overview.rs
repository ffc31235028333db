//! Overview of features over several rows: each feature has a bar with its mean magnitude, and beside it one dot per row,
//! placed by the relevance and coloured by the value of the feature.

use image::Rgb;

use super::bars::{GAP, MARGIN, NAME_CHARS, NEUTRAL, SHOWN, meaning};
use super::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};
use super::palette::{blend, relative};
use crate::wording::number;

/// Largest number of drawn rows; of more rows, this many evenly spaced ones are drawn.
pub const MOST_ROWS: usize = 1000;

/// Features over several rows.
pub struct Overview {
    /// Caption above the features.
    pub caption: String,
    /// Features of the rows, in any order.
    pub features: Vec<Swarm>,
    /// True if relevance is a magnitude: its sign does not tell support from opposition.
    pub unsigned: bool,
}

/// Feature over several rows.
pub struct Swarm {
    /// Name of the feature.
    pub name: String,
    /// Mean magnitude of its relevance over all rows.
    pub magnitude: f64,
    /// Value and relevance of the feature in each row.
    pub rows: Vec<(f64, f64)>,
}

const ROW: u32 = 28;
const BARS: u32 = 240;
const STRIP: u32 = 520;
/// Radius of a dot, in pixels.
const DOT: i64 = 3;
/// Height of the colour bar, in pixels.
const LEGEND: u32 = 160;

/// Colours from low to high values, distinct from those of relevance.
const LOW_TO_HIGH: [Rgb<u8>; 3] = [Rgb([62, 26, 120]), Rgb([196, 56, 108]), Rgb([250, 176, 50])];

/// Draws the overviews, one below the other.
pub fn draw(overviews: &[Overview]) -> Canvas {
    let charts: Vec<Chart> = overviews.iter().map(Chart::new).collect();
    let names = charts.iter().flat_map(|c| &c.shown).map(|f| text_width(&name(f)));
    let others = charts.iter().filter_map(|c| Some(text_width(c.others.as_ref()?)));
    let names = names.chain(others).max().unwrap_or(0);
    let values = charts.iter().flat_map(|c| &c.shown).map(|f| text_width(&number(f.magnitude, 3)));
    let values = values.max().unwrap_or(0) + 6;
    let left = MARGIN + names + GAP;
    let strip = left + BARS + values + 2 * GAP;
    let legend = strip + STRIP + 3 * GAP;
    let captions = overviews.iter().map(|o| text_width(&o.caption)).max().unwrap_or(0);
    let width = (legend + text_width("feature value")).max(MARGIN + captions) + MARGIN;
    let height: u32 = charts.iter().map(|c| c.height()).sum();
    let mut canvas = Canvas::new(width, height + MARGIN);
    let mut top = MARGIN;
    for (overview, chart) in overviews.iter().zip(&charts) {
        canvas.text(MARGIN, top, &overview.caption, INK);
        let mut y = top + LINE;
        canvas.text(left, y, "mean magnitude", FAINT);
        canvas.text(strip, y, meaning(overview.unsigned), FAINT);
        y += LINE + 8;
        let first = y;
        for feature in &chart.shown {
            canvas.text_right(MARGIN + names, y + 5, &name(feature), INK);
            let length = (relative(feature.magnitude, chart.longest) * f64::from(BARS)).round() as u32;
            canvas.fill(left, y + 6, length, ROW - 12, NEUTRAL);
            canvas.text(left + length + 6, y + 5, &number(feature.magnitude, 3), INK);
            y += ROW;
        }
        canvas.fill(left, first, 1, y - first, FAINT);
        canvas.fill(strip + chart.x(0.0), first, 1, y - first, FAINT);
        for (i, feature) in chart.shown.iter().enumerate() {
            swarm(&mut canvas, strip, first + ROW * i as u32 + ROW / 2, feature, chart);
        }
        if let Some(others) = &chart.others {
            canvas.text_right(MARGIN + names, y + 3, others, FAINT);
        }
        axis(&mut canvas, strip, y + 3, chart);
        colours(&mut canvas, legend, first);
        top += chart.height();
    }
    canvas
}

/// Rows of an overview, and the scales of its axes.
struct Chart<'a> {
    shown: Vec<&'a Swarm>,
    others: Option<String>,
    longest: f64,
    /// Smallest and largest relevance; the range includes 0.
    range: (f64, f64),
}

impl Chart<'_> {
    fn new(overview: &Overview) -> Chart<'_> {
        let mut order: Vec<&Swarm> = overview.features.iter().collect();
        order.sort_by(|a, b| b.magnitude.total_cmp(&a.magnitude));
        let count = if order.len() == SHOWN + 1 { SHOWN + 1 } else { SHOWN.min(order.len()) };
        let others: f64 = order[count..].iter().map(|f| f.magnitude).sum();
        let left_out = order.len() - count;
        order.truncate(count);
        let finite = || order.iter().flat_map(|f| &f.rows).map(|(_, r)| *r).filter(|r| r.is_finite());
        Chart {
            others: (left_out > 0).then(|| format!("{left_out} others, sum of means {}", number(others, 3))),
            longest: order.iter().map(|f| f.magnitude).filter(|m| m.is_finite()).fold(0.0, f64::max),
            range: (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max)),
            shown: order,
        }
    }

    /// Returns the distance of a relevance from the left edge of the strip, in pixels.
    fn x(&self, relevance: f64) -> u32 {
        let (low, high) = self.range;
        let t = relative(relevance - low, high - low);
        if t.is_finite() { (t.clamp(0.0, 1.0) * f64::from(STRIP)).round() as u32 } else { 0 }
    }

    fn height(&self) -> u32 {
        let rows = ROW * self.shown.len() as u32;
        2 * LINE + 8 + rows.max(LEGEND + 2 * LINE) + LINE + MARGIN
    }
}

fn name(feature: &Swarm) -> String {
    shortened(&feature.name, NAME_CHARS)
}

/// Draws the dots of a feature; dots that would overlap are stacked vertically.
fn swarm(canvas: &mut Canvas, left: u32, middle: u32, feature: &Swarm, chart: &Chart) {
    let (low, high) = value_range(feature);
    let mut dots: Vec<(u32, f64)> = feature
        .rows
        .iter()
        .filter(|(_, r)| r.is_finite())
        .map(|(value, r)| (chart.x(*r), relative(value - low, high - low)))
        .collect();
    dots.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let room = i64::from(ROW) / 2 - DOT;
    let column = |x: u32| x / (2 * DOT as u32);
    for group in dots.chunk_by(|a, b| column(a.0) == column(b.0)) {
        let step = (2.0 * DOT as f64).min(2.0 * room as f64 / (group.len() as f64 - 1.0).max(1.0));
        for (i, (x, value)) in group.iter().enumerate() {
            let rank = i.div_ceil(2) as f64 * if i % 2 == 0 { 1.0 } else { -1.0 };
            let y = i64::from(middle) + (rank * step).round() as i64;
            disc(
                canvas,
                i64::from(left + x),
                y.clamp(i64::from(middle) - room, i64::from(middle) + room),
                tint(*value),
            );
        }
    }
}

/// Returns the values of the lowest and the highest colour; a twentieth of the values at either end is clipped.
fn value_range(feature: &Swarm) -> (f64, f64) {
    let mut values: Vec<f64> = feature.rows.iter().map(|(v, _)| *v).filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return (0.0, 0.0) };
    let (low, high) = (values[last / 20], values[last - last / 20]);
    if high > low { (low, high) } else { (values[0], values[last]) }
}

fn tint(value: f64) -> Rgb<u8> {
    let at = if value.is_finite() { value.clamp(0.0, 1.0) * 2.0 } else { 1.0 };
    let below = (at as usize).min(1);
    blend(LOW_TO_HIGH[below], LOW_TO_HIGH[below + 1], at - below as f64)
}

fn disc(canvas: &mut Canvas, x: i64, y: i64, color: Rgb<u8>) {
    for dy in -DOT..=DOT {
        let half = (((DOT * DOT - dy * dy) as f64 + 1.0).sqrt()).round() as i64;
        if let (Ok(left), Ok(row)) = (u32::try_from(x - half), u32::try_from(y + dy)) {
            canvas.fill(left, row, (2 * half + 1) as u32, 1, color);
        }
    }
}

/// Draws the labels of the strip's ends and of its zero, as far as they do not overlap.
fn axis(canvas: &mut Canvas, left: u32, y: u32, chart: &Chart) {
    let zero = chart.x(0.0);
    canvas.text(left + zero.saturating_sub(text_width("0") / 2), y, "0", INK);
    let (low, high) = (number(chart.range.0, 3), number(chart.range.1, 3));
    if zero > text_width(&low) + GAP {
        canvas.text(left, y, &low, INK);
    }
    if STRIP - zero > text_width(&high) + GAP {
        canvas.text_right(left + STRIP, y, &high, INK);
    }
}

fn colours(canvas: &mut Canvas, left: u32, top: u32) {
    canvas.text(left, top, "feature value", FAINT);
    for i in 0..LEGEND {
        let value = 1.0 - f64::from(i) / f64::from(LEGEND - 1);
        canvas.fill(left, top + LINE + i, 14, 1, tint(value));
    }
    canvas.text(left + 14 + 8, top + LINE, "high", FAINT);
    canvas.text(left + 14 + 8, top + LINE + LEGEND - LINE, "low", FAINT);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(rows: &[&[(f64, f64)]]) -> Overview {
        let feature = |(i, rows): (usize, &&[(f64, f64)])| Swarm {
            name: format!("feature {i}"),
            magnitude: rows.iter().map(|(_, r)| r.abs()).sum::<f64>() / rows.len().max(1) as f64,
            rows: rows.to_vec(),
        };
        Overview {
            caption: "rows".into(),
            features: rows.iter().enumerate().map(feature).collect(),
            unsigned: false,
        }
    }

    #[test]
    fn the_strip_has_zero_where_the_signs_part() {
        let overview = overview(&[&[(0.0, -1.0), (1.0, 3.0)], &[(0.0, 0.5), (1.0, 0.5)]]);
        let chart = Chart::new(&overview);
        assert_eq!((chart.x(-1.0), chart.x(0.0), chart.x(3.0)), (0, STRIP / 4, STRIP));
        assert_eq!((chart.shown[0].name.as_str(), chart.longest), ("feature 0", 2.0));
    }

    #[test]
    fn values_colour_from_low_to_high() {
        assert_eq!((tint(0.0), tint(0.5), tint(1.0)), (LOW_TO_HIGH[0], LOW_TO_HIGH[1], LOW_TO_HIGH[2]));
        let rows: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), 0.0)).collect();
        let swarm = Swarm { name: String::new(), magnitude: 0.0, rows };
        assert_eq!(value_range(&swarm), (4.0, 95.0));
    }

    #[test]
    fn anything_draws() {
        let crowd = vec![(1.0, 0.25); 500];
        draw(&[overview(&[])]);
        for rows in [&[][..], &[(f64::NAN, f64::NAN)], &[(1.0, 0.0)], &crowd] {
            draw(&[overview(&[rows])]);
        }
        let many: Vec<&[(f64, f64)]> = vec![&[(0.0, 1.0)]; 40];
        assert!(Chart::new(&overview(&many)).others.is_some());
    }
}
