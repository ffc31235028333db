//! Marks drawn over a picture: boxes, the outline of a mask, a region.

use image::{Pixel, Rgb, Rgba, RgbaImage};

use super::canvas::{Canvas, INK, LINE, text_width};

/// Colour of the explained box, mask or region; distinct from the colours of relevance.
const EXPLAINED: Rgb<u8> = Rgb([0, 132, 61]);
const WHITE: Rgb<u8> = Rgb([255; 3]);

/// Line width of the explained box, in pixels.
const EXPLAINED_LINE: i64 = 3;
/// Line width of other boxes, in pixels.
const OTHER_LINE: i64 = 1;

/// Opacity of the green over a mask's area, of 255.
const TINT: u8 = 64;

/// Length of a dash of a region's edge, and of the gap after it, in pixels.
const DASH: i64 = 6;

/// Mark drawn over a picture. Edges are left, top, right and bottom, in pixels of the picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// Box with a label.
    Box {
        /// Left, top, right and bottom edge.
        edges: [f64; 4],
        /// Label with class and score.
        label: String,
        /// True for the explained box.
        explained: bool,
    },
    /// Explained pixels of a mask.
    Mask {
        /// True for each explained pixel, row by row.
        inside: Vec<bool>,
        /// Number of pixels in a row.
        width: usize,
    },
    /// Rectangle that contains all explained pixels.
    Region([f64; 4]),
}

/// Panel of the canvas that shows a picture.
#[derive(Clone, Copy)]
pub struct Panel {
    /// Left edge on the canvas.
    pub x: u32,
    /// Upper edge on the canvas.
    pub y: u32,
    /// Width on the canvas, in pixels.
    pub width: u32,
    /// Height on the canvas, in pixels.
    pub height: u32,
    /// Side of a pixel of the picture, in pixels of the canvas.
    pub zoom: u32,
}

/// Draws marks over a picture: the explained box, the outline of the mask and the region. With `shows_all` also other
/// boxes, labels and the area of the mask.
pub fn draw(canvas: &mut Canvas, panel: Panel, marks: &[Mark], shows_all: bool) {
    for mark in marks {
        if let Mark::Mask { inside, width } = mark {
            mask(canvas, panel, inside, *width, shows_all);
        }
    }
    for mark in marks {
        if let Mark::Region(edges) = mark {
            rectangle(canvas, panel, *edges, 2, EXPLAINED, Some(DASH));
        }
    }
    let boxes = || {
        marks.iter().filter_map(|mark| match mark {
            Mark::Box { edges, label, explained } if *explained || shows_all => {
                Some((*edges, label, *explained))
            }
            _ => None,
        })
    };
    // The explained box lies above the others.
    for (edges, _, explained) in boxes().filter(|b| !b.2).chain(boxes().filter(|b| b.2)) {
        let (thickness, color) = if explained { (EXPLAINED_LINE, EXPLAINED) } else { (OTHER_LINE, INK) };
        rectangle(canvas, panel, edges, thickness, color, None);
    }
    if !shows_all {
        return;
    }
    let mut taken: Vec<[i64; 4]> = vec![];
    for (edges, text, explained) in boxes().filter(|b| b.2).chain(boxes().filter(|b| !b.2)) {
        label(canvas, panel, edges, text, explained, &mut taken);
    }
}

impl Panel {
    /// Fills the part of a rectangle that lies within the panel.
    fn fill(self, canvas: &mut Canvas, [left, top, right, bottom]: [i64; 4], color: Rgb<u8>) {
        let (w, h) = (i64::from(self.width), i64::from(self.height));
        let (left, top) = (left.clamp(0, w), top.clamp(0, h));
        let (right, bottom) = (right.clamp(left, w), bottom.clamp(top, h));
        let (x, y) = (self.x + left as u32, self.y + top as u32);
        canvas.fill(x, y, (right - left) as u32, (bottom - top) as u32, color);
    }

    /// Converts a rectangle of the picture to pixels of the canvas, relative to the panel's corner.
    fn place(self, edges: [f64; 4]) -> [i64; 4] {
        // Clamping edges far outside, and NaN, keeps the arithmetic below from overflowing.
        let far = f64::from(self.width.max(self.height)) * 2.0;
        edges.map(|e| (e * f64::from(self.zoom)).clamp(-far, far).round() as i64)
    }
}

/// Draws the border of a rectangle, just outside of it, with a white line on both sides.
fn rectangle(
    canvas: &mut Canvas,
    panel: Panel,
    edges: [f64; 4],
    thickness: i64,
    color: Rgb<u8>,
    dash: Option<i64>,
) {
    let [left, top, right, bottom] = panel.place(edges);
    let grown = |by: i64| [left - by, top - by, right + by, bottom + by];
    border(canvas, panel, grown(thickness + 1), thickness + 2, WHITE, None);
    border(canvas, panel, grown(thickness), thickness, color, dash);
}

fn border(
    canvas: &mut Canvas,
    panel: Panel,
    [left, top, right, bottom]: [i64; 4],
    thickness: i64,
    color: Rgb<u8>,
    dash: Option<i64>,
) {
    let pieces = |from: i64, to: i64| {
        let step = dash.map_or((to - from).max(1), |d| 2 * d) as usize;
        let length = dash.unwrap_or((to - from).max(1));
        (from..to).step_by(step).map(move |at| (at, (at + length).min(to)))
    };
    for (a, b) in pieces(left, right) {
        panel.fill(canvas, [a, top, b, (top + thickness).min(bottom)], color);
        panel.fill(canvas, [a, (bottom - thickness).max(top), b, bottom], color);
    }
    for (a, b) in pieces(top, bottom) {
        panel.fill(canvas, [left, a, (left + thickness).min(right), b], color);
        panel.fill(canvas, [(right - thickness).max(left), a, right, b], color);
    }
}

/// Draws a label on a plate above a box, or inside the picture where there is not enough room; leaves it out where it
/// would cover another label.
fn label(
    canvas: &mut Canvas,
    panel: Panel,
    edges: [f64; 4],
    text: &str,
    explained: bool,
    taken: &mut Vec<[i64; 4]>,
) {
    let [left, top, _, bottom] = panel.place(edges);
    let (width, height) = (i64::from(text_width(text)) + 6, i64::from(LINE) - 2);
    let room = i64::from(panel.width) - width;
    let thickness = if explained { EXPLAINED_LINE } else { OTHER_LINE };
    let left = (left - thickness).min(room).max(0);
    let above = top - thickness - height;
    let lowest = i64::from(panel.height) - height;
    let top = if above >= 0 { above } else { (bottom + thickness).min(lowest).max(0) };
    let plate = [left, top, left + width, top + height];
    let meets = |other: &[i64; 4]| {
        plate[0] < other[2] && other[0] < plate[2] && plate[1] < other[3] && other[1] < plate[3]
    };
    if room < 0 || lowest < 0 || taken.iter().any(meets) {
        return;
    }
    taken.push(plate);
    let (ground, ink) = if explained { (EXPLAINED, WHITE) } else { (WHITE, INK) };
    panel.fill(canvas, plate, ground);
    canvas.text(panel.x + left as u32 + 3, panel.y + top as u32 + 1, text, ink);
}

/// Draws the outline of a mask of any resolution, and tints its area if `tinted`.
fn mask(canvas: &mut Canvas, panel: Panel, inside: &[bool], width: usize, tinted: bool) {
    let rows = inside.len().checked_div(width).unwrap_or(0);
    if rows == 0 {
        return;
    }
    let (w, h) = (panel.width as usize, panel.height as usize);
    let is_inside = |x: usize, y: usize| inside[(y * rows / h) * width + x * width / w];
    // Pixels beyond the edge of the picture repeat the edge.
    let near = |x: usize, y: usize, by: usize, wanted: bool| {
        let (left, right) = (x.saturating_sub(by), (x + by).min(w - 1));
        let (top, bottom) = (y.saturating_sub(by), (y + by).min(h - 1));
        [
            (left, y),
            (right, y),
            (x, top),
            (x, bottom),
            (left, top),
            (right, top),
            (left, bottom),
            (right, bottom),
        ]
        .into_iter()
        .any(|(x, y)| is_inside(x, y) == wanted)
    };
    let opaque = |color: Rgb<u8>| color.to_rgba();
    let pixel = |x: u32, y: u32| {
        let (x, y) = (x as usize, y as usize);
        match is_inside(x, y) {
            true if near(x, y, 2, false) => opaque(EXPLAINED),
            false if near(x, y, 1, true) => opaque(WHITE),
            true if tinted => Rgba([EXPLAINED.0[0], EXPLAINED.0[1], EXPLAINED.0[2], TINT]),
            _ => Rgba([0; 4]),
        }
    };
    canvas.overlay(panel.x, panel.y, RgbaImage::from_fn(panel.width, panel.height, pixel));
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: Panel = Panel { x: 5, y: 5, width: 200, height: 100, zoom: 10 };
    const GREY: Rgb<u8> = Rgb([100; 3]);
    /// Grey under the tint of a mask.
    const TINTED: Rgb<u8> = Rgb([75, 108, 90]);

    fn canvas() -> Canvas {
        let mut canvas = Canvas::new(210, 110);
        canvas.fill(0, 0, 210, 110, GREY);
        canvas
    }

    fn at(canvas: &Canvas, x: u32, y: u32) -> Rgb<u8> {
        *canvas.image.get_pixel(PANEL.x + x, PANEL.y + y)
    }

    #[test]
    fn a_box_is_where_its_edges_are() {
        let mut canvas = canvas();
        let mark = |explained| Mark::Box { edges: [4.0, 3.0, 12.0, 8.0], label: "1: 0.9".into(), explained };
        draw(&mut canvas, PANEL, &[mark(true)], false);
        for (x, y) in [(39, 50), (37, 50), (120, 50), (60, 29), (60, 80)] {
            assert_eq!(at(&canvas, x, y), EXPLAINED, "{x} {y}");
        }
        for (x, y) in [(36, 50), (40, 50), (119, 50), (123, 50), (60, 30), (60, 79)] {
            assert_eq!(at(&canvas, x, y), WHITE, "{x} {y}");
        }
        assert_eq!((at(&canvas, 60, 50), at(&canvas, 60, 20)), (GREY, GREY));
        // The label above it, and other boxes, on the panel that shows all.
        draw(&mut canvas, PANEL, &[mark(true)], true);
        assert_eq!(at(&canvas, 38, 12), EXPLAINED);
        let mut other = super::tests::canvas();
        draw(&mut other, PANEL, &[mark(false)], false);
        assert_eq!(at(&other, 39, 50), GREY);
        draw(&mut other, PANEL, &[mark(false)], true);
        assert_eq!((at(&other, 39, 50), at(&other, 41, 50)), (INK, GREY));
    }

    #[test]
    fn a_mask_of_another_resolution_is_outlined() {
        let mut canvas = canvas();
        // Four by two: the right upper quarter but for its corner.
        let inside = vec![false, false, true, false, false, false, false, false];
        draw(&mut canvas, PANEL, &[Mark::Mask { inside, width: 4 }], true);
        assert_eq!((at(&canvas, 100, 20), at(&canvas, 99, 20)), (EXPLAINED, WHITE));
        assert_eq!((at(&canvas, 120, 48), at(&canvas, 120, 50)), (EXPLAINED, WHITE));
        assert_eq!(at(&canvas, 120, 20), TINTED);
        // No line at the edge of the picture.
        assert_eq!(at(&canvas, 120, 0), TINTED);
        assert_eq!(at(&canvas, 20, 80), GREY);
    }

    #[test]
    fn nothing_is_drawn_outside_of_the_panel() {
        let mut canvas = canvas();
        let nan = [f64::NAN, -1e30, 1e30, f64::INFINITY];
        let marks = [
            Mark::Region([-5.0, -5.0, 100.0, 100.0]),
            Mark::Region(nan),
            Mark::Box { edges: [18.0, 0.0, 40.0, 1.0], label: "a long label".repeat(9), explained: false },
            Mark::Box { edges: nan, label: "x".into(), explained: true },
            Mark::Box { edges: [3.0, 3.0, 2.0, 2.0], label: "x".into(), explained: true },
            Mark::Mask { inside: vec![], width: 0 },
        ];
        for all in [false, true] {
            draw(&mut canvas, PANEL, &marks, all);
        }
        for i in 0..210 {
            assert_eq!(canvas.image.get_pixel(i, 0), &GREY);
            assert_eq!(canvas.image.get_pixel(i, 109), &GREY);
        }
    }
}
