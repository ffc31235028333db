//! File formats of drawings.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};

use super::canvas::Canvas;
use super::svg;
use crate::results::write;

use crate::error::{Error, Result, ResultExt};

/// JPEG quality, from 0 to 100, at which text stays sharp.
const QUALITY: u8 = 95;

/// File format of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawingFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// SVG: shapes and text as such, pictures embedded.
    Svg,
}

impl DrawingFormat {
    /// Returns the format that the extension of a file name asks for; `flag` names the file in messages.
    ///
    /// # Errors
    /// For an extension of another format, and for none.
    pub fn of_drawing(flag: &str, path: &Path) -> Result<DrawingFormat> {
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("png") => Ok(DrawingFormat::Png),
            Some("jpg" | "jpeg") => Ok(DrawingFormat::Jpeg),
            Some("svg") => Ok(DrawingFormat::Svg),
            _ => Err(refused(flag, path, ".png, .jpg, .jpeg or .svg")),
        }
    }

    /// Returns the format that the extension of a file of pixels alone asks for: PNG or JPEG, not SVG.
    ///
    /// # Errors
    /// For an extension of another format, and for none.
    pub fn of_pixels(flag: &str, path: &Path) -> Result<DrawingFormat> {
        match DrawingFormat::of_drawing(flag, path) {
            Ok(format @ (DrawingFormat::Png | DrawingFormat::Jpeg)) => Ok(format),
            _ => Err(refused(flag, path, ".png, .jpg or .jpeg")),
        }
    }

    /// Returns the bytes of a drawing's file.
    ///
    /// # Errors
    /// When the drawing is too large for the format.
    pub fn drawing(self, canvas: &Canvas) -> Result<Vec<u8>> {
        match self {
            DrawingFormat::Png | DrawingFormat::Jpeg => self.pixels(&canvas.image),
            DrawingFormat::Svg => Ok(svg::document(canvas)?.into_bytes()),
        }
    }

    /// Returns the bytes of a picture's file; SVG embeds the picture.
    ///
    /// # Errors
    /// When the picture is too large for the format.
    pub fn pixels(self, image: &RgbImage) -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(vec![]);
        let written = match self {
            DrawingFormat::Png => image.write_to(&mut bytes, ImageFormat::Png),
            DrawingFormat::Jpeg => {
                image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))
            }
            DrawingFormat::Svg => {
                let mut canvas = Canvas::new(image.width(), image.height());
                canvas.picture(0, 0, image, 1);
                return Ok(svg::document(&canvas)?.into_bytes());
            }
        };
        written.context("the picture cannot be encoded")?;
        Ok(bytes.into_inner())
    }
}

impl Canvas {
    /// Writes the drawing into a file: .png, .jpg or .svg.
    ///
    /// # Errors
    /// For an extension of another format, and when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = DrawingFormat::of_drawing("Canvas::save", path)?.drawing(self)?;
        write(path, |out| Ok(out.write_all(&bytes)?))
    }
}

fn refused(flag: &str, path: &Path, expected: &str) -> Error {
    let extension = path.extension().map(|e| format!(", found .{}", e.to_string_lossy())).unwrap_or_default();
    Error::usage(format!("invalid file for `{flag}`, `{}`: expected {expected}{extension}", path.display()))
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb};

    use super::*;

    #[test]
    fn the_extension_decides() {
        let format = |name: &str| DrawingFormat::of_drawing("drawing", name.as_ref()).ok();
        assert_eq!(format("a/b.PNG"), Some(DrawingFormat::Png));
        assert_eq!(
            (format("b.jpg"), format("b.jpeg")),
            (Some(DrawingFormat::Jpeg), Some(DrawingFormat::Jpeg))
        );
        assert_eq!((format("b.svg"), format("b.html"), format("b")), (Some(DrawingFormat::Svg), None, None));
        let error = DrawingFormat::of_pixels("overlay", "b.svg".as_ref()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid file for `overlay`, `b.svg`: expected .png, .jpg or .jpeg, found .svg"
        );
    }

    #[test]
    fn the_bytes_are_of_the_format() {
        let mut canvas = Canvas::new(20, 10);
        canvas.fill(0, 0, 20, 10, Rgb([200, 0, 0]));
        let guess = |format: DrawingFormat| image::guess_format(&format.drawing(&canvas).unwrap()).ok();
        assert_eq!(guess(DrawingFormat::Png), Some(ImageFormat::Png));
        assert_eq!(guess(DrawingFormat::Jpeg), Some(ImageFormat::Jpeg));
        assert!(DrawingFormat::Svg.drawing(&canvas).unwrap().starts_with(b"<svg "));
    }
}
