//! A picture as a model input: decoded, resized, normalised.

mod crop;
mod decode;
mod pixels;
mod resize;
mod site;

#[cfg(test)]
mod tests;

use std::path::Path;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::Tensor;
use image::{DynamicImage, GrayImage, Luma, RgbImage};

pub use crop::Fit;
pub use decode::files;
pub use site::takes_picture;

use super::fit::from_f64;
use super::picture_options::{Layout, PictureOptions};
use crate::error::{Error, Result, ResultExt};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::size;
use decode::{Decoded, decode};
use pixels::Values;
use resize::{Resized, fitted};
use site::Site;

/// The picture as the model sees it.
pub struct Picture {
    /// The tensor.
    pub tensor: Tensor,
    /// The picture of the file, opaque.
    pub original: RgbImage,
    /// The part that became the input, at the input's size.
    pub crop: RgbImage,
    /// Map from pixels of the file to those of the input.
    pub fit: Fit,
    /// Position of the channel axis.
    pub layout: Layout,
    /// Notes on what a viewer of the file would not expect; mostly empty.
    pub notes: Vec<&'static str>,
}

/// Reads a picture for `input`, and says what was done to it.
///
/// # Errors
/// For an input that takes no picture, a file that is none, and flags that do not fit.
pub fn read(
    path: &Path,
    input: &InputInfo,
    options: &PictureOptions,
    max_bytes: u64,
    listener: &dyn Notes,
) -> Result<Picture> {
    let site = Site::new(input, options.layout)?;
    let Decoded { picture, notes } = decode(path, max_bytes)?;
    let (height, width) =
        (site.height.fitted(picture.height() as usize), site.width.fitted(picture.width() as usize));
    let out_bytes = [site.channels, height, width, 4].iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
    if out_bytes.is_none_or(|b| b > max_bytes) {
        let message =
            format!("a picture of {width}×{height} is larger than the limit of {}", size(max_bytes));
        return Err(Error::limit(message).with_remedy(Remedy::MaxTensorBytes));
    }
    let original = picture.to_rgb8();
    let Resized { picture: crop, how, fit } = if site.channels == 1 {
        let grey = fitted(&grey(&picture), &site, options.resize());
        let crop = RgbImage::from_fn(grey.picture.width(), grey.picture.height(), |x, y| {
            [grey.picture.get_pixel(x, y).0[0]; 3].into()
        });
        Resized { picture: crop, how: grey.how, fit: grey.fit }
    } else {
        fitted(&original, &site, options.resize())
    };
    let values = Values::new(input, site.channels, options)?;
    let dims = match site.layout {
        Layout::Nchw => [1, site.channels, height, width],
        Layout::Nhwc => [1, height, width, site.channels],
    };
    let dims = &dims[4 - input.ty.rank().clamp(3, 4)..];
    let tensor = from_f64(input.ty.dtype, dims, &values.of(&crop, site.layout))
        .context("the picture does not fill its tensor")?;
    listener.note(format!(
        "picture {}×{} {how}{width}×{height}, {}, {}",
        picture.width(),
        picture.height(),
        values.text(),
        match site.layout {
            Layout::Nchw => "NCHW",
            Layout::Nhwc => "NHWC",
        }
    ));
    Ok(Picture { tensor, original, crop, fit, layout: site.layout, notes })
}

/// Grey as ITU-R 601 weighs it, which is what most training pipelines use.
fn grey(picture: &DynamicImage) -> GrayImage {
    if !picture.color().has_color() {
        return picture.to_luma8();
    }
    let rgb = picture.to_rgb8();
    GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0.map(u32::from);
        Luma([((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8])
    })
}
