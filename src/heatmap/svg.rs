//! SVG writer for drawings: rectangles, lines and texts become elements, pictures are embedded as PNG.

use std::fmt::Write;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, Rgb};

use super::canvas::{Canvas, LINE, Shape, text_width};

use crate::error::{Result, ResultExt};

/// Font size of a line of text, in pixels.
const FONT_SIZE: u32 = LINE * 7 / 10;
/// Distance of a line's baseline from its upper edge, in pixels.
const BASELINE: u32 = LINE * 13 / 20;

/// Writes a drawing as an SVG document.
///
/// # Errors
/// When an embedded picture cannot be encoded.
pub fn document(canvas: &Canvas) -> Result<String> {
    let (width, height) = canvas.image.dimensions();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n\
         <style>text{{font:{FONT_SIZE}px 'Noto Sans Mono','DejaVu Sans Mono',monospace;white-space:pre}}\
         rect{{shape-rendering:crispEdges}}image{{image-rendering:pixelated}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for shape in canvas.shapes() {
        element(&mut out, shape)?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn element(out: &mut String, shape: &Shape) -> Result<()> {
    match shape {
        Shape::Rectangle([x, y, width, height], color) => {
            let color = hex(*color);
            writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{color}\"/>"
            )?;
        }
        // The middle of a line of two pixels is a pixel from its upper left corner.
        Shape::Line([(x0, y0), (x1, y1)], color) => {
            let (color, ends) = (hex(*color), [x0, y0, x1, y1].map(|v| v + 1));
            let [x0, y0, x1, y1] = ends;
            writeln!(
                out,
                "<line x1=\"{x0}\" y1=\"{y0}\" x2=\"{x1}\" y2=\"{y1}\" stroke=\"{color}\" stroke-width=\"2\" \
                 stroke-linecap=\"round\"/>"
            )?;
        }
        Shape::Picture { x, y, picture, zoom } => {
            let (width, height) = (picture.width() * zoom, picture.height() * zoom);
            let data = STANDARD.encode(png(picture)?);
            writeln!(
                out,
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                 preserveAspectRatio=\"none\" href=\"data:image/png;base64,{data}\"/>"
            )?;
        }
        Shape::Text { text, .. } if text.trim().is_empty() => {}
        // The width is that of the layout, whatever font the reader has.
        Shape::Text { x, y, text, color } => {
            let (color, width, y) = (hex(*color), text_width(text), y + BASELINE);
            let text = escaped(text);
            writeln!(
                out,
                "<text x=\"{x}\" y=\"{y}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" \
                 fill=\"{color}\">{text}</text>"
            )?;
        }
    }
    Ok(())
}

fn hex(Rgb([r, g, b]): Rgb<u8>) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(vec![]);
    picture.write_to(&mut bytes, ImageFormat::Png).context("a picture of the drawing cannot be encoded")?;
    Ok(bytes.into_inner())
}

/// Escapes a text for an XML element; characters that XML does not allow become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use image::{RgbImage, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn every_shape_is_an_element() {
        let mut canvas = Canvas::new(100, 50);
        canvas.fill(1, 2, 3, 4, Rgb([255, 0, 16]));
        canvas.line((5, 6), (7, 8), Rgb([0; 3]));
        canvas.picture(10, 20, &RgbImage::new(2, 3), 4);
        canvas.overlay(0, 0, RgbaImage::from_pixel(1, 1, Rgba([9, 9, 9, 128])));
        canvas.text(3, 4, "a < b & \u{1}", Rgb([32; 3]));
        canvas.text(3, 4, "  ", Rgb([32; 3]));
        let svg = document(&canvas).unwrap();
        assert!(svg.contains("<rect x=\"1\" y=\"2\" width=\"3\" height=\"4\" fill=\"#ff0010\"/>"));
        assert!(svg.contains("x1=\"6\" y1=\"7\" x2=\"8\" y2=\"9\""));
        assert!(svg.contains("<image x=\"10\" y=\"20\" width=\"8\" height=\"12\""));
        assert_eq!(svg.matches("href=\"data:image/png;base64,iVBOR").count(), 2);
        assert_eq!(svg.matches("<text ").count(), 1);
        assert!(svg.contains(">a &lt; b &amp; \u{fffd}</text>"));
    }
}
