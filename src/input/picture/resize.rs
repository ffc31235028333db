//! Resizing of pictures to the size of an input.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Pixel};

use super::crop::Fit;
use super::site::{Side, Site};
use crate::input::picture_options::Resize;

/// Grey of the padding that YOLO models are trained with.
const PADDING: u8 = 114;

/// Picture at the size of an input.
pub struct Resized<P: Pixel> {
    /// The pixels.
    pub picture: ImageBuffer<P, Vec<u8>>,
    /// Description of the change, such as "resized to "; the size follows it.
    pub how: String,
    /// Map from pixels of the picture to those of the input.
    pub fit: Fit,
}

/// Fits a picture to the size of an input. For an open size, the picture keeps its own and is padded, or stretched, to the
/// multiple that the model needs.
pub fn fitted<P>(picture: &ImageBuffer<P, Vec<u8>>, site: &Site, how: Resize) -> Resized<P>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    let (width, height) = (site.width.fitted(w), site.height.fitted(h));
    let open = matches!((site.width, site.height), (Side::Multiple(_), Side::Multiple(_)));
    if open && how != Resize::Stretch && (w, h) != (width, height) {
        return Resized {
            how: "padded to ".into(),
            ..padded(picture, width, height, Fit::same(picture.width(), picture.height()))
        };
    }
    resize(picture, width, height, how)
}

/// Resizes with a triangle filter that widens when it shrinks, so that nothing aliases.
fn resize<P>(picture: &ImageBuffer<P, Vec<u8>>, width: usize, height: usize, how: Resize) -> Resized<P>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    let input = (width as u32, height as u32);
    let same = Fit::same(picture.width(), picture.height());
    if (w, h) == (width, height) {
        return Resized { picture: picture.clone(), how: "kept at ".into(), fit: same };
    }
    // Sizes of the picture scaled to the width, and to the height, of the input.
    let (by_width, by_height) = ((width, (h * width / w).max(1)), ((w * height / h).max(1), height));
    let wider = width * h < height * w;
    let (to_w, to_h) = match how {
        Resize::Stretch => (width, height),
        // The larger of both scales.
        Resize::Crop if wider => (by_height.0.max(width), height),
        Resize::Crop => (width, by_width.1.max(height)),
        // The smaller.
        Resize::Pad if wider => (width, by_width.1.min(height)),
        Resize::Pad => (by_height.0.min(width), height),
    };
    let resized = imageops::resize(picture, to_w as u32, to_h as u32, FilterType::Triangle);
    let scale = (to_w as f64 / w as f64, to_h as f64 / h as f64);
    let fit = Fit { input, scale, ..same };
    if (to_w, to_h) == (width, height) {
        return Resized { picture: resized, how: "resized to ".into(), fit };
    }
    if how == Resize::Pad {
        let how = format!("resized to {to_w}×{to_h}, padded to ");
        return Resized { how, ..padded(&resized, width, height, fit) };
    }
    let (x, y) = ((to_w - width).div_ceil(2), (to_h - height).div_ceil(2));
    let fit = Fit { shift: (-(x as f64), -(y as f64)), ..fit };
    let picture = imageops::crop_imm(&resized, x as u32, y as u32, width as u32, height as u32).to_image();
    Resized { picture, how: format!("resized to {to_w}×{to_h}, centre "), fit }
}

/// Pads a picture that fits into the size with grey on all sides.
fn padded<P>(picture: &ImageBuffer<P, Vec<u8>>, width: usize, height: usize, fit: Fit) -> Resized<P>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let input = (width as u32, height as u32);
    let (x, y) = ((input.0 - picture.width()) / 2, (input.1 - picture.height()) / 2);
    let mut grey = *picture.get_pixel(0, 0);
    grey.channels_mut().fill(PADDING);
    let mut canvas = ImageBuffer::from_pixel(input.0, input.1, grey);
    imageops::replace(&mut canvas, picture, i64::from(x), i64::from(y));
    let fit = Fit { input, shift: (f64::from(x), f64::from(y)), ..fit };
    Resized { picture: canvas, how: String::new(), fit }
}
