//! A picture as a model input: decoded, resized, normalised.

use std::path::Path;

use anyhow::Context;
use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{DType, Tensor};
use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Luma, RgbImage};

use super::crop::Fit;
use super::fit::from_f64;
use crate::args::{Channels, Layout, PictureArgs, Resize};
use crate::exit::{invalid, unsupported, usage};
use crate::terminal::{Console, number, size, visible};

/// Mean and standard deviation of ImageNet's channels, for pixels in 0..1.
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// The grey beside a padded picture, as YOLO models are trained with.
const PADDING: u8 = 114;

/// The largest picture in memory before it is resized.
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// The picture as the model sees it.
pub struct Picture {
    /// The tensor.
    pub tensor: Tensor,
    /// The part that became the input, at the input's size.
    pub crop: RgbImage,
    /// Where a pixel of the file is in the input.
    pub fit: Fit,
}

/// Where a picture's axes stand in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Site {
    channels: usize,
    height: Option<usize>,
    width: Option<usize>,
}

/// Reads a picture for `input`, and says what was done to it.
///
/// # Errors
/// For an input that takes no picture, a file that is none, and flags that do not fit.
pub fn read(
    path: &Path,
    input: &InputInfo,
    args: &PictureArgs,
    max_bytes: u64,
    console: Console,
) -> anyhow::Result<Picture> {
    let site = site(input, args)?;
    let picture = decode(path, max_bytes)?;
    let (height, width) =
        (site.height.unwrap_or(picture.height() as usize), site.width.unwrap_or(picture.width() as usize));
    let out_bytes = [site.channels, height, width, 4].iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
    if out_bytes.is_none_or(|b| b > max_bytes) {
        return Err(crate::exit::limit(format!(
            "a picture of {height}×{width} is above `--max-tensor-bytes`"
        )));
    }
    let (crop, how, fit) = if site.channels == 1 {
        let (grey, how, fit) = resize(&grey(&picture), width, height, args.resize);
        let crop =
            RgbImage::from_fn(grey.width(), grey.height(), |x, y| [grey.get_pixel(x, y).0[0]; 3].into());
        (crop, how, fit)
    } else {
        resize(&picture.to_rgb8(), width, height, args.resize)
    };
    let (mean, std) = normalisation(site.channels, input, args)?;
    let values = normalised(&crop, site.channels, args, &mean, &std);
    let dims = match args.layout {
        Layout::Nchw => [1, site.channels, height, width],
        Layout::Nhwc => [1, height, width, site.channels],
    };
    let dims = &dims[4 - input.ty.rank().clamp(3, 4)..];
    let tensor = from_f64(input.ty.dtype, dims, &values).context("the picture does not fill its tensor")?;
    console.note(format!(
        "picture {}×{} {how}{width}×{height}, {} in 0..{}, mean {}, std {}, {}",
        picture.width(),
        picture.height(),
        match (site.channels, args.channels) {
            (1, _) => "grey",
            (_, Channels::Rgb) => "RGB",
            (_, Channels::Bgr) => "BGR",
        },
        number(args.pixel_range, 6),
        list(&mean),
        list(&std),
        match args.layout {
            Layout::Nchw => "NCHW",
            Layout::Nhwc => "NHWC",
        }
    ));
    Ok(Picture { tensor, crop, fit })
}

fn list(values: &[f64]) -> String {
    values.iter().map(|v| number(*v, 6)).collect::<Vec<_>>().join(",")
}

/// Whether an input may be a picture: four axes, or three where none has four and the channels' is known.
pub fn takes_picture<'a>(infos: &'a [InputInfo], layout: Layout) -> impl Fn(&InputInfo) -> bool + use<'a> {
    let fits = |input: &InputInfo, rank| input.ty.rank() == rank && input.ty.dtype != DType::Bool;
    let batched = infos.iter().any(|i| fits(i, 4));
    move |input| {
        let channels = if layout == Layout::Nchw { 0 } else { 2 };
        let alone = || fits(input, 3) && matches!(input.ty.dim(channels).as_known(), Some(1 | 3));
        fits(input, 4) || (!batched && alone())
    }
}

fn site(input: &InputInfo, args: &PictureArgs) -> anyhow::Result<Site> {
    let dim = |axis: usize| input.ty.dim(axis).as_known().and_then(|d| usize::try_from(d).ok());
    let at = input.ty.rank().saturating_sub(3);
    let (channels, height, width, other) = match args.layout {
        Layout::Nchw => (dim(at), dim(at + 1), dim(at + 2), dim(at + 2)),
        Layout::Nhwc => (dim(at + 2), dim(at), dim(at + 1), dim(at)),
    };
    let name = visible(&input.name);
    if at == 1 && dim(0).is_some_and(|n| n != 1) {
        return Err(unsupported(format!(
            "input `{name}`: {} takes more than one picture; give it with `--inputs`",
            input.ty
        )));
    }
    match channels {
        Some(channels @ (1 | 3)) => Ok(Site { channels, height, width }),
        None if other.is_none_or(|n| !matches!(n, 1 | 3)) => Ok(Site { channels: 3, height, width }),
        _ if other.is_some_and(|n| matches!(n, 1 | 3)) => {
            let flag = if args.layout == Layout::Nchw { "nhwc" } else { "nchw" };
            Err(usage(format!(
                "input `{name}` is {}: its channels stand elsewhere, give `--layout {flag}`",
                input.ty
            )))
        }
        _ => Err(unsupported(format!(
            "input `{name}`: {} has not 1 or 3 channels, as a picture has",
            input.ty
        ))),
    }
}

fn decode(path: &Path, max_bytes: u64) -> anyhow::Result<DynamicImage> {
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| invalid(e.to_string()))?;
    let mut limits = image::Limits::default();
    let most = max_bytes.min(MAX_DECODED_BYTES);
    limits.max_alloc = Some(most);
    reader.limits(limits);
    let refuse = |e: image::ImageError| match e {
        image::ImageError::Limits(e) => crate::exit::limit(format!("the picture is too large: {e}")),
        e => invalid(format!("not a picture that can be read: {e}")),
    };
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    // The decoder's own limit does not cover the picture that it fills.
    if decoder.total_bytes() > most {
        let (width, height) = decoder.dimensions();
        return Err(crate::exit::limit(format!(
            "the picture is too large: {width}×{height} pixels take {}, the limit is {}",
            size(decoder.total_bytes()),
            size(most)
        )));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    picture.apply_orientation(orientation);
    if picture.width() == 0 || picture.height() == 0 {
        return Err(invalid("the picture is empty"));
    }
    Ok(picture)
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

/// Resizes with a triangle filter that widens when it shrinks, so that nothing aliases.
fn resize<P>(
    picture: &image::ImageBuffer<P, Vec<u8>>,
    width: usize,
    height: usize,
    how: Resize,
) -> (image::ImageBuffer<P, Vec<u8>>, String, Fit)
where
    P: image::Pixel<Subpixel = u8> + 'static,
{
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    let input = (width as u32, height as u32);
    let same = Fit::same(picture.width(), picture.height());
    if (w, h) == (width, height) {
        return (picture.clone(), "kept at ".into(), same);
    }
    // In whole numbers; the width decides where the picture is no higher than the input is for its width.
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
    if (to_w, to_h) == (width, height) {
        return (resized, "resized to ".into(), Fit { input, scale, ..same });
    }
    if how == Resize::Pad {
        let (x, y) = ((width - to_w) / 2, (height - to_h) / 2);
        let mut grey = *resized.get_pixel(0, 0);
        grey.channels_mut().fill(PADDING);
        let mut padded = image::ImageBuffer::from_pixel(input.0, input.1, grey);
        imageops::replace(&mut padded, &resized, x as i64, y as i64);
        let fit = Fit { input, scale, shift: (x as f64, y as f64), ..same };
        return (padded, format!("resized to {to_w}×{to_h}, padded to "), fit);
    }
    let (x, y) = ((to_w - width).div_ceil(2), (to_h - height).div_ceil(2));
    let fit = Fit { input, scale, shift: (-(x as f64), -(y as f64)), ..same };
    let crop = imageops::crop_imm(&resized, x as u32, y as u32, width as u32, height as u32).to_image();
    (crop, format!("resized to {to_w}×{to_h}, centre "), fit)
}

fn normalisation(
    channels: usize,
    input: &InputInfo,
    args: &PictureArgs,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    if !input.ty.dtype.is_float() {
        if args.mean.is_some() || args.std.is_some() || args.pixel_range != 255.0 {
            let name = visible(&input.name);
            return Err(usage(format!(
                "input `{name}` is {}: give `--pixel-range 255`, no mean and no std",
                input.ty
            )));
        }
        return Ok((vec![0.0; channels], vec![1.0; channels]));
    }
    let range = args.pixel_range;
    let scaled = |values: [f64; 3]| values.iter().map(|v| v * range).collect::<Vec<f64>>();
    let (mut mean, mut std) = if channels == 3 {
        (scaled(IMAGENET.0), scaled(IMAGENET.1))
    } else {
        (vec![0.0; channels], vec![1.0; channels])
    };
    if args.channels == Channels::Bgr {
        mean.reverse();
        std.reverse();
    }
    let given = |flag: &str, values: &Option<Vec<f64>>, usual: Vec<f64>| match values.as_deref() {
        None => Ok(usual),
        Some([one]) => Ok(vec![*one; channels]),
        Some(values) if values.len() == channels => Ok(values.to_vec()),
        Some(values) => {
            Err(usage(format!("`{flag}` has {} values, the picture {channels} channels", values.len())))
        }
    };
    Ok((given("--mean", &args.mean, mean)?, given("--std", &args.std, std)?))
}

fn normalised(crop: &RgbImage, channels: usize, args: &PictureArgs, mean: &[f64], std: &[f64]) -> Vec<f64> {
    let value = |pixel: &image::Rgb<u8>, c: usize| {
        let source = if args.channels == Channels::Bgr && channels == 3 { 2 - c } else { c };
        (f64::from(pixel.0[source]) / 255.0 * args.pixel_range - mean[c]) / std[c]
    };
    match args.layout {
        Layout::Nchw => (0..channels).flat_map(|c| crop.pixels().map(move |p| value(p, c))).collect(),
        Layout::Nhwc => crop.pixels().flat_map(|p| (0..channels).map(move |c| value(p, c))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use dlbc_ops::tensor::{DType, Dim, TensorType};

    use super::*;

    const QUIET: Console = Console { quiet: true };

    fn args() -> PictureArgs {
        PictureArgs {
            image: None,
            mean: Some(vec![0.0]),
            std: Some(vec![1.0]),
            pixel_range: 255.0,
            channels: Channels::Rgb,
            layout: Layout::Nchw,
            resize: Resize::Crop,
        }
    }

    fn input(dims: [i64; 4]) -> InputInfo {
        let shape: Vec<Dim> =
            dims.iter().map(|d| if *d < 0 { Dim::symbol("s") } else { Dim::known(*d) }).collect();
        InputInfo { name: "x".into(), ty: TensorType::new(DType::F32, shape), explained: true }
    }

    /// A picture whose pixel at (x, y) is (10x, 10y, 7).
    fn file(width: u32, height: u32) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
        RgbImage::from_fn(width, height, |x, y| [10 * x as u8, 10 * y as u8, 7].into())
            .save(file.path())
            .unwrap();
        file
    }

    fn read_with(size: (u32, u32), dims: [i64; 4], args: &PictureArgs) -> anyhow::Result<Picture> {
        read(file(size.0, size.1).path(), &input(dims), args, 1 << 20, QUIET)
    }

    #[test]
    fn layouts_and_channel_orders() {
        let picture = read_with((2, 1), [1, 3, 1, 2], &args()).unwrap();
        assert_eq!(picture.tensor.to_f32(), [0.0, 10.0, 0.0, 0.0, 7.0, 7.0]);
        let last = PictureArgs { layout: Layout::Nhwc, channels: Channels::Bgr, ..args() };
        let picture = read_with((2, 1), [1, 1, 2, 3], &last).unwrap();
        assert_eq!(picture.tensor.to_f32(), [7.0, 0.0, 0.0, 7.0, 0.0, 10.0]);
    }

    #[test]
    fn mean_and_std_follow_the_channel_order() {
        let bgr = PictureArgs {
            channels: Channels::Bgr,
            mean: Some(vec![7.0, 0.0, 5.0]),
            std: Some(vec![2.0]),
            ..args()
        };
        let picture = read_with((2, 1), [1, 3, 1, 2], &bgr).unwrap();
        assert_eq!(picture.tensor.to_f32(), [0.0, 0.0, 0.0, 0.0, -2.5, 2.5]);
        let bad = PictureArgs { mean: Some(vec![1.0, 2.0]), ..args() };
        assert!(read_with((2, 1), [1, 3, 1, 2], &bad).is_err());
    }

    #[test]
    fn the_centre_is_cut_out() {
        let picture = read_with((10, 4), [1, 3, 4, 4], &args()).unwrap();
        assert_eq!(picture.crop.get_pixel(0, 0).0, [30, 0, 7]);
        assert_eq!(picture.crop.dimensions(), (4, 4));
        assert_eq!(picture.fit.to_input([3.0, 0.0, 7.0, 4.0]), [0.0, 0.0, 4.0, 4.0]);
        assert_eq!(picture.fit.to_picture([0.0, 0.0, 4.0, 4.0]), [3.0, 0.0, 7.0, 4.0]);
        let stretched = PictureArgs { resize: Resize::Stretch, ..args() };
        let picture = read_with((10, 4), [1, 3, 4, 4], &stretched).unwrap();
        assert!(picture.crop.get_pixel(3, 0).0[0] > 70);
        assert_eq!(picture.fit.to_input([5.0, 2.0, 10.0, 4.0]), [2.0, 2.0, 4.0, 4.0]);
    }

    #[test]
    fn the_whole_picture_is_padded_with_grey() {
        let pad = PictureArgs { resize: Resize::Pad, ..args() };
        let picture = read_with((8, 4), [1, 3, 4, 4], &pad).unwrap();
        let row = |y| picture.crop.get_pixel(2, y).0;
        assert_eq!((row(0), row(3)), ([PADDING; 3], [PADDING; 3]));
        assert!(row(1)[2] == 7 && row(2)[1] > row(1)[1]);
        assert_eq!(picture.fit.to_input([0.0, 0.0, 8.0, 4.0]), [0.0, 1.0, 4.0, 3.0]);
        let higher = read_with((4, 8), [1, 3, 4, 8], &pad).unwrap();
        assert_eq!(higher.fit.to_input([0.0, 0.0, 4.0, 8.0]), [3.0, 0.0, 5.0, 4.0]);
        // No side becomes nothing.
        assert_eq!(read_with((25, 1), [1, 3, 4, 4], &pad).unwrap().crop.get_pixel(0, 1).0[2], 7);
    }

    #[test]
    fn shrinking_averages() {
        let file = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
        let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 0 } else { 200 }]));
        stripes.save(file.path()).unwrap();
        let picture = read(file.path(), &input([1, 1, 8, 8]), &args(), 1 << 20, QUIET).unwrap();
        assert!(
            picture.tensor.to_f32().iter().all(|v| (v - 100.0).abs() < 15.0),
            "{:?}",
            picture.tensor.to_f32()
        );
    }

    #[test]
    fn a_picture_without_a_batch() {
        let mut info = input([1, 3, 1, 2]);
        info.ty.shape.0.remove(0);
        let infos = [info];
        assert!(
            takes_picture(&infos, Layout::Nchw)(&infos[0]) && !takes_picture(&infos, Layout::Nhwc)(&infos[0])
        );
        let picture = read(file(2, 1).path(), &infos[0], &args(), 1 << 20, QUIET).unwrap();
        assert_eq!(picture.tensor.dims(), [3, 1, 2]);
        let both = [infos[0].clone(), input([1, 3, 1, 2])];
        assert!(
            !takes_picture(&both, Layout::Nchw)(&both[0]) && takes_picture(&both, Layout::Nchw)(&both[1])
        );
    }

    #[test]
    fn open_sizes_take_the_picture_as_it_is() {
        assert_eq!(read_with((5, 3), [-1, 3, -1, -1], &args()).unwrap().tensor.dims(), [1, 3, 3, 5]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(
            read_with((5, 3), [1, 4, 4, 3], &args()).err().unwrap().to_string().contains("--layout nhwc")
        );
        assert!(read_with((5, 3), [2, 3, 4, 4], &args()).is_err());
        assert!(read_with((5, 3), [1, 7, 4, 4], &args()).is_err());
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "no picture").unwrap();
        assert!(read(text.path(), &input([1, 3, 4, 4]), &args(), 1 << 20, QUIET).is_err());
    }
}
