//! Canvas for rectangles, pictures and text, drawn in pixels and recorded as a list of shapes for vector formats.

use image::{DynamicImage, Pixel, Rgb, RgbImage, RgbaImage};

use super::font;
use super::palette::blend;

/// Height of a line of text.
pub const LINE: u32 = 20;
/// Near-black for text.
pub const INK: Rgb<u8> = Rgb([32, 32, 32]);
/// Grey for secondary text.
pub const FAINT: Rgb<u8> = Rgb([120, 120, 120]);

/// White picture to draw on. Shapes beyond its edges are cut off.
pub struct Canvas {
    /// Picture in pixels.
    pub image: RgbImage,
    /// All shapes in the order in which they were drawn.
    shapes: Vec<Shape>,
}

/// Shape of a drawing, in pixels of the canvas.
pub enum Shape {
    /// A filled rectangle: left edge, upper edge, width, height.
    Rectangle([u32; 4], Rgb<u8>),
    /// A straight line, two pixels wide, given by the upper left pixels of its ends.
    Line([(u32, u32); 2], Rgb<u8>),
    /// A picture at its upper left corner, each of its pixels a square of `zoom`.
    Picture {
        /// Left edge.
        x: u32,
        /// Upper edge.
        y: u32,
        /// The pixels.
        picture: DynamicImage,
        /// Side of the square that a pixel becomes.
        zoom: u32,
    },
    /// A line of text at its upper left corner.
    Text {
        /// Left edge.
        x: u32,
        /// Upper edge.
        y: u32,
        /// The text.
        text: String,
        /// Colour of the text.
        color: Rgb<u8>,
    },
}

/// Returns the width of a text, in pixels.
pub fn text_width(text: &str) -> u32 {
    text.chars().map(font::width).sum()
}

/// Returns `text`, cut in the middle so that it has at most `chars` characters.
pub fn shortened(text: &str, chars: usize) -> String {
    let count = text.chars().count();
    if count <= chars {
        return text.into();
    }
    let room = chars.saturating_sub(2);
    let head: String = text.chars().take(room / 2).collect();
    let tail: String = text.chars().skip(count - (room - room / 2)).collect();
    format!("{head}..{tail}")
}

impl Canvas {
    /// Creates a white picture.
    pub fn new(width: u32, height: u32) -> Canvas {
        Canvas { image: RgbImage::from_pixel(width, height, Rgb([255; 3])), shapes: vec![] }
    }

    /// Returns all shapes in the order in which they were drawn, including those beyond the edges.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, color: Rgb<u8>) {
        if width > 0 && height > 0 {
            self.shapes.push(Shape::Rectangle([x, y, width, height], color));
            self.paint(x, y, width, height, color);
        }
    }

    fn paint(&mut self, x: u32, y: u32, width: u32, height: u32, color: Rgb<u8>) {
        for y in y..y.saturating_add(height).min(self.image.height()) {
            for x in x..x.saturating_add(width).min(self.image.width()) {
                self.image.put_pixel(x, y, color);
            }
        }
    }

    /// Draws a line of two pixels' width.
    pub fn line(&mut self, from: (u32, u32), to: (u32, u32), color: Rgb<u8>) {
        self.shapes.push(Shape::Line([from, to], color));
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let along = |a: u32, b: u32, i: u32| {
            (f64::from(a) + (f64::from(b) - f64::from(a)) * f64::from(i) / f64::from(steps)).round() as u32
        };
        for i in 0..=steps {
            self.paint(along(from.0, to.0, i), along(from.1, to.1, i), 2, 2, color);
        }
    }

    /// Draws the border of a rectangle, just outside it.
    pub fn frame(&mut self, x: u32, y: u32, width: u32, height: u32, color: Rgb<u8>) {
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill(left, top, width + 2, 1, color);
        self.fill(left, y + height, width + 2, 1, color);
        self.fill(left, top, 1, height + 2, color);
        self.fill(x + width, top, 1, height + 2, color);
    }

    /// Draws a picture, each of its pixels as a square of `zoom`.
    pub fn picture(&mut self, x: u32, y: u32, picture: &RgbImage, zoom: u32) {
        self.shapes.push(Shape::Picture { x, y, picture: picture.clone().into(), zoom });
        for (px, py, color) in picture.enumerate_pixels() {
            self.paint(x + px * zoom, y + py * zoom, zoom, zoom, *color);
        }
    }

    /// Draws a partly transparent picture over what is there.
    pub fn overlay(&mut self, x: u32, y: u32, picture: RgbaImage) {
        for (px, py, color) in picture.enumerate_pixels() {
            if let Some(pixel) = self.image.get_pixel_mut_checked(x + px, y + py) {
                *pixel = blend(*pixel, color.to_rgb(), f64::from(color.0[3]) / 255.0);
            }
        }
        self.shapes.push(Shape::Picture { x, y, picture: picture.into(), zoom: 1 });
    }

    /// Writes a line of text, its top left corner at (x, y). Characters that no font has become boxes.
    pub fn text(&mut self, x: u32, y: u32, text: &str, color: Rgb<u8>) {
        self.shapes.push(Shape::Text { x, y, text: text.into(), color });
        let mut left = x;
        for c in text.chars() {
            for (dx, dy, ink, covered) in font::glyph(c).pixels(color) {
                let position = left.checked_add_signed(dx).zip(y.checked_add_signed(dy));
                if let Some(pixel) = position.and_then(|(x, y)| self.image.get_pixel_mut_checked(x, y)) {
                    *pixel = blend(*pixel, ink, covered);
                }
            }
            left += font::width(c);
        }
    }

    /// Writes a line of text that ends at `right`.
    pub fn text_right(&mut self, right: u32, y: u32, text: &str, color: Rgb<u8>) {
        self.text(right.saturating_sub(text_width(text)), y, text, color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_outside_is_cut_off() {
        let mut canvas = Canvas::new(10, 10);
        canvas.fill(5, 5, 100, 100, INK);
        canvas.text(8, 8, "wide \u{4e2d}", INK);
        canvas.frame(0, 0, 20, 20, INK);
        canvas.line((2, 9), (40, 3), INK);
        assert_eq!(canvas.image.dimensions(), (10, 10));
        assert_eq!(canvas.image.get_pixel(9, 9), &INK);
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("abcdefghij", 10), "abcdefghij");
        assert_eq!(shortened("abcdefghijk", 8), "abc..ijk");
    }
}
