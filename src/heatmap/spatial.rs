//! Heat map of pictures: each row shows the picture of a sample, the relevance over it and the relevance alone.

use image::{Rgb, RgbImage};

use super::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};
use super::marks::{self, Mark, Panel};
use super::palette::Colors;
use super::palette::{blend, color, relative, scale};
use crate::wording::number;

/// Sample of a batch.
pub struct Sample {
    /// Caption above the sample.
    pub caption: String,
    /// Picture of the sample.
    pub picture: RgbImage,
    /// Relevance of each pixel, row by row.
    pub relevance: Vec<f64>,
    /// Marks drawn over the picture.
    pub marks: Vec<Mark>,
}

const MARGIN: u32 = 16;
const GAP: u32 = 12;
const BAR: u32 = 16;
/// Smallest side of a panel, in pixels; small pictures are magnified to it.
const PANEL: u32 = 224;
/// Largest side of a panel that magnifying may reach, in pixels.
const MAX_PANEL: u32 = 1120;
const BORDER: Rgb<u8> = Rgb([200; 3]);

/// Draws the samples, all of one size; `legend` describes the marks.
pub fn draw(samples: &[Sample], legend: Option<&str>, colors: Colors) -> Canvas {
    let (width, height) = samples.first().map_or((1, 1), |s| s.picture.dimensions());
    let zoom = (PANEL.div_ceil(width.min(height))).min(MAX_PANEL / width.max(height)).max(1);
    let (panel_w, panel_h) = (width * zoom, height * zoom);
    let scales: Vec<f64> = samples.iter().map(|s| scale(&s.relevance)).collect();
    let labels = text_width(LOWEST);
    let captions: Vec<String> =
        samples.iter().zip(&scales).map(|(s, scale)| format!("{}{}", s.caption, unit(*scale))).collect();
    let panels_w = 3 * panel_w + 2 * GAP;
    let longest = captions.iter().map(|c| text_width(c)).max().unwrap_or(0);
    let row_h = LINE + 4 + panel_h + GAP;
    let wide = (panels_w + GAP + BAR + 6 + labels).max(longest);
    let mut canvas =
        Canvas::new(2 * MARGIN + wide, MARGIN + LINE + row_h * samples.len() as u32 + MARGIN / 2);
    let panel_x = |i: u32| MARGIN + i * (panel_w + GAP);
    let room = (panel_w / text_width("x")) as usize;
    let input = legend.map_or("input".into(), |legend| shortened(&format!("input, {legend}"), room));
    for (i, title) in [input.as_str(), "relevance on input", "relevance"].into_iter().enumerate() {
        canvas.text(panel_x(i as u32), MARGIN, title, FAINT);
    }
    for ((i, sample), scale) in samples.iter().enumerate().zip(scales) {
        let top = MARGIN + LINE + row_h * i as u32;
        canvas.text(MARGIN, top, &sample.caption, INK);
        canvas.text(MARGIN + text_width(&sample.caption), top, &unit(scale), FAINT);
        let y = top + LINE + 4;
        let map = RgbImage::from_fn(width, height, |x, y| color(colors, at(sample, x, y, scale)));
        let over = RgbImage::from_fn(width, height, |x, y| overlaid(sample, x, y, scale, colors));
        for (i, panel) in [&sample.picture, &over, &map].into_iter().enumerate() {
            let x = panel_x(i as u32);
            canvas.picture(x, y, panel, zoom);
            let area = Panel { x, y, width: panel_w, height: panel_h, zoom };
            marks::draw(&mut canvas, area, &sample.marks, i == 0);
            canvas.frame(panel_x(i as u32), y, panel_w, panel_h, BORDER);
        }
        color_bar(&mut canvas, MARGIN + panels_w + GAP, y, panel_h, scale, colors);
    }
    canvas
}

fn at(sample: &Sample, x: u32, y: u32, scale: f64) -> f64 {
    let index = (y * sample.picture.width() + x) as usize;
    relative(sample.relevance.get(index).copied().unwrap_or(f64::NAN), scale)
}

/// Returns the pixel of the overlay: its colour over the grey, lightened picture, with opacity by relevance.
fn overlaid(sample: &Sample, x: u32, y: u32, scale: f64, colors: Colors) -> Rgb<u8> {
    let t = at(sample, x, y, scale);
    let [r, g, b] = sample.picture.get_pixel(x, y).0.map(f64::from);
    let grey = Rgb([(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]);
    let base = blend(grey, Rgb([255; 3]), 0.5);
    if t.is_nan() {
        return color(colors, t);
    }
    let strength = t.abs().min(1.0).sqrt();
    blend(base, color(colors, t.signum() * strength), 0.85 * strength)
}

/// Returns the caption with the relevance at 100 % of the colour bar.
fn unit(scale: f64) -> String {
    if scale > 0.0 { format!("   100 % = relevance {} of a pixel", number(scale, 3)) } else { String::new() }
}

/// Labels of the colour bar's ends.
const HIGHEST: &str = "+100 %";
const LOWEST: &str = "-100 %";

fn color_bar(canvas: &mut Canvas, x: u32, y: u32, height: u32, scale: f64, colors: Colors) {
    for dy in 0..height {
        let t = 1.0 - 2.0 * f64::from(dy) / f64::from(height.max(2) - 1);
        canvas.fill(x, y + dy, BAR, 1, color(colors, t));
    }
    canvas.frame(x, y, BAR, height, BORDER);
    let text_x = x + BAR + 6;
    canvas.text(text_x, y, if scale > 0.0 { HIGHEST } else { "0" }, INK);
    if scale > 0.0 && height >= 3 * LINE {
        canvas.text(text_x, y + height / 2 - LINE / 2, "0", INK);
        canvas.text(text_x, y + height - LINE + 4, LOWEST, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(relevance: Vec<f64>) -> Sample {
        let picture = RgbImage::from_pixel(2, 1, Rgb([0; 3]));
        Sample { caption: "0".into(), picture, relevance, marks: vec![] }
    }

    #[test]
    fn no_relevance_leaves_the_map_white() {
        let image = draw(&[sample(vec![0.0, 5.0])], None, Colors::BlueRed).image;
        // Two pixels of 224 each, three panels.
        let y = MARGIN + LINE + LINE + 4 + 100;
        let map_x = MARGIN + 2 * (448 + GAP);
        assert_eq!(image.get_pixel(map_x + 100, y).0, [255; 3]);
        assert_eq!(image.get_pixel(map_x + 300, y), &color(Colors::BlueRed, 1.0));
        assert_eq!(image.get_pixel(MARGIN + 448 + GAP + 100, y).0, [128; 3]);
    }

    #[test]
    fn opposite_relevance_gets_opposite_colors() {
        let s = sample(vec![-5.0, 5.0]);
        assert_eq!(color(Colors::BlueRed, at(&s, 0, 0, 5.0)), color(Colors::BlueRed, -1.0));
        assert_eq!(color(Colors::BlueRed, at(&s, 1, 0, 5.0)), color(Colors::BlueRed, 1.0));
        assert_eq!(overlaid(&s, 0, 0, 0.0, Colors::BlueRed).0, [128; 3]);
    }

    #[test]
    fn strange_sizes_draw() {
        for (w, h) in [(1, 1), (1, 3000), (700, 2)] {
            let picture = RgbImage::new(w, h);
            let relevance = vec![f64::NAN; (w * h) as usize];
            let marks = vec![Mark::Region([0.0, 0.0, 1.0, 1.0])];
            let sample = Sample { caption: String::new(), picture, relevance, marks };
            draw(&[sample], Some("a region"), Colors::PurpleOrange);
        }
    }
}
