use dlbc_ops::tensor::{DType, Dim, TensorType};
use image::{GrayImage, Luma};

use super::*;
use crate::error::Result;
use crate::input::picture_options::{Channels, Preset, Resize};
use crate::notes::Silent;
use crate::remedy::Remedy;

const QUIET: &dyn Notes = &Silent;

fn args() -> PictureOptions {
    PictureOptions {
        mean: Some(vec![0.0]),
        std: Some(vec![1.0]),
        pixel_range: Some(255.0),
        ..PictureOptions::default()
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

fn read_with(size: (u32, u32), dims: [i64; 4], args: &PictureOptions) -> Result<Picture> {
    read(file(size.0, size.1).path(), &input(dims), args, 1 << 20, QUIET)
}

#[test]
fn layouts_and_channel_orders() {
    let picture = read_with((2, 1), [1, 3, 1, 2], &args()).unwrap();
    assert_eq!(picture.tensor.to_f32(), [0.0, 10.0, 0.0, 0.0, 7.0, 7.0]);
    let last = PictureOptions { layout: Some(Layout::Nhwc), channels: Some(Channels::Bgr), ..args() };
    let picture = read_with((2, 1), [1, 1, 2, 3], &last).unwrap();
    assert_eq!(picture.tensor.to_f32(), [7.0, 0.0, 0.0, 7.0, 0.0, 10.0]);
}

#[test]
fn mean_and_std_follow_the_channel_order() {
    let bgr = PictureOptions {
        channels: Some(Channels::Bgr),
        mean: Some(vec![7.0, 0.0, 5.0]),
        std: Some(vec![2.0]),
        ..args()
    };
    let picture = read_with((2, 1), [1, 3, 1, 2], &bgr).unwrap();
    assert_eq!(picture.tensor.to_f32(), [0.0, 0.0, 0.0, 0.0, -2.5, 2.5]);
    let bad = PictureOptions { mean: Some(vec![1.0, 2.0]), ..args() };
    assert!(read_with((2, 1), [1, 3, 1, 2], &bad).is_err());
}

#[test]
fn the_centre_is_cut_out() {
    let picture = read_with((10, 4), [1, 3, 4, 4], &args()).unwrap();
    assert_eq!(picture.crop.get_pixel(0, 0).0, [30, 0, 7]);
    assert_eq!(picture.crop.dimensions(), (4, 4));
    assert_eq!(picture.fit.to_input([3.0, 0.0, 7.0, 4.0]), [0.0, 0.0, 4.0, 4.0]);
    assert_eq!(picture.fit.to_picture([0.0, 0.0, 4.0, 4.0]), [3.0, 0.0, 7.0, 4.0]);
    let stretched = PictureOptions { resize: Some(Resize::Stretch), ..args() };
    let picture = read_with((10, 4), [1, 3, 4, 4], &stretched).unwrap();
    assert!(picture.crop.get_pixel(3, 0).0[0] > 70);
    assert_eq!(picture.fit.to_input([5.0, 2.0, 10.0, 4.0]), [2.0, 2.0, 4.0, 4.0]);
}

#[test]
fn the_whole_picture_is_padded_with_grey() {
    let pad = PictureOptions { resize: Some(Resize::Pad), ..args() };
    let picture = read_with((8, 4), [1, 3, 4, 4], &pad).unwrap();
    let row = |y| picture.crop.get_pixel(2, y).0;
    assert_eq!((row(0), row(3)), ([114; 3], [114; 3]));
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
        takes_picture(&infos, Some(Layout::Nchw))(&infos[0])
            && !takes_picture(&infos, Some(Layout::Nhwc))(&infos[0])
    );
    let picture = read(file(2, 1).path(), &infos[0], &args(), 1 << 20, QUIET).unwrap();
    assert_eq!(picture.tensor.dims(), [3, 1, 2]);
    let both = [infos[0].clone(), input([1, 3, 1, 2])];
    assert!(
        !takes_picture(&both, Some(Layout::Nchw))(&both[0])
            && takes_picture(&both, Some(Layout::Nchw))(&both[1])
    );
}

#[test]
fn open_sizes_take_the_picture_as_it_is() {
    assert_eq!(read_with((5, 3), [-1, 3, -1, -1], &args()).unwrap().tensor.dims(), [1, 3, 3, 5]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let first = PictureOptions { layout: Some(Layout::Nchw), ..args() };
    let other = read_with((5, 3), [1, 4, 4, 3], &first).err().unwrap().remedy();
    assert_eq!(other, Some(Remedy::PictureLayout(Layout::Nhwc)));
    assert!(read_with((5, 3), [2, 3, 4, 4], &args()).is_err());
    assert!(read_with((5, 3), [1, 7, 4, 4], &args()).is_err());
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), "no picture").unwrap();
    assert!(read(text.path(), &input([1, 3, 4, 4]), &args(), 1 << 20, QUIET).is_err());
}

#[test]
fn the_layout_is_where_the_channels_are() {
    for (dims, layout) in [
        ([1, 3, 4, 4], Layout::Nchw),
        ([1, 4, 4, 3], Layout::Nhwc),
        ([-1, -1, -1, 3], Layout::Nhwc),
        ([-1, -1, -1, -1], Layout::Nchw),
        ([1, 1, 4, 3], Layout::Nchw),
        ([1, 4, 4, 1], Layout::Nhwc),
    ] {
        assert_eq!(read_with((4, 4), dims, &args()).unwrap().layout, layout, "{dims:?}");
    }
}

/// An open size that must be a multiple of 4.
fn halved() -> InputInfo {
    let mut info = input([1, 3, -1, -1]);
    info.ty.shape.0[2] = "4*h".parse().unwrap();
    info.ty.shape.0[3] = "4*w".parse().unwrap();
    info
}

#[test]
fn open_sizes_are_padded_to_their_multiple() {
    for resize in [None, Some(Resize::Pad), Some(Resize::Crop)] {
        let picture =
            read(file(6, 4).path(), &halved(), &PictureOptions { resize, ..args() }, 1 << 20, QUIET).unwrap();
        assert_eq!(picture.tensor.dims(), [1, 3, 4, 8]);
        assert_eq!((picture.fit.scale, picture.fit.shift), ((1.0, 1.0), (1.0, 0.0)));
        assert_eq!(picture.crop.get_pixel(0, 0).0, [114; 3]);
        assert_eq!(picture.crop.get_pixel(2, 1).0, [10, 10, 7]);
    }
    let stretch = PictureOptions { resize: Some(Resize::Stretch), ..args() };
    let picture = read(file(6, 4).path(), &halved(), &stretch, 1 << 20, QUIET).unwrap();
    assert_eq!((picture.tensor.dims(), picture.fit.scale), (&[1, 3, 4, 8][..], (8.0 / 6.0, 1.0)));
}

#[test]
fn presets_say_what_values_pixels_become() {
    // The pixel at (1, 0) is 10, 0, 7.
    let values = |preset, flags: PictureOptions| {
        let args = PictureOptions { preset: Some(preset), ..flags };
        let values = read_with((2, 1), [1, 3, 1, 2], &args).unwrap().tensor.to_f32();
        [values[1], values[3], values[5]]
    };
    let near = |values: [f32; 3], expected: [f64; 3]| {
        assert!(
            values.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4),
            "{values:?} {expected:?}"
        );
    };
    let none = PictureOptions::default;
    let (r, g, b) = (10.0 / 255.0, 0.0, 7.0 / 255.0);
    near(values(Preset::Imagenet, none()), [(r - 0.485) / 0.229, (g - 0.456) / 0.224, (b - 0.406) / 0.225]);
    near(values(Preset::Yolo, none()), [r, g, b]);
    near(values(Preset::Caffe, none()), [7.0 - 103.939, 0.0 - 116.779, 10.0 - 123.68]);
    near(values(Preset::MinusOneOne, none()), [2.0 * r - 1.0, 2.0 * g - 1.0, 2.0 * b - 1.0]);
    // Flags override parts.
    let rgb = PictureOptions { channels: Some(Channels::Rgb), ..none() };
    near(values(Preset::Caffe, rgb), [10.0 - 123.68, 0.0 - 116.779, 7.0 - 103.939]);
    let bytes = PictureOptions { pixel_range: Some(255.0), ..none() };
    near(values(Preset::Yolo, bytes), [10.0, 0.0, 7.0]);
    assert_eq!(PictureOptions { preset: Some(Preset::Yolo), ..none() }.resize(), Resize::Pad);
    let grey = PictureOptions { preset: Some(Preset::Caffe), ..none() };
    assert!(read_with((2, 1), [1, 1, 1, 2], &grey).is_err());
}

#[test]
fn a_mean_beyond_white_is_refused() {
    let args = PictureOptions { mean: Some(vec![123.7, 116.8, 103.9]), ..PictureOptions::default() };
    let error = read_with((2, 1), [1, 3, 1, 2], &args).err().unwrap();
    assert!(
        error.to_string().contains("found 123.7") && error.remedy() == Some(Remedy::PixelRange),
        "{error}"
    );
    let bytes = PictureOptions { pixel_range: Some(255.0), ..args };
    assert!(read_with((2, 1), [1, 3, 1, 2], &bytes).is_ok());
}
