//! A picture and how it becomes an input.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::{finite, nonzero};

/// A picture and how it becomes an input.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Picture")]
pub struct PictureArgs {
    /// A picture (png, jpeg, bmp, gif, tiff, webp) for the model's only picture input, resized to its size. Several, or a
    /// folder, have a result each.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub image: Vec<PathBuf>,
    /// Mean, deviation, pixel range, channel order and resizing of a family of models; the flags below override parts of it
    /// [default: imagenet].
    #[arg(long, value_enum, value_name = "NAME", requires = "image")]
    pub preset: Option<Preset>,
    /// Subtracted from each channel [default: the preset's; 0 for a picture of one channel].
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', value_parser = finite, allow_hyphen_values = true,
          requires = "image")]
    pub mean: Option<Vec<f64>>,
    /// Divides each channel afterwards [default: the preset's; 1 for a picture of one channel].
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', value_parser = nonzero, allow_hyphen_values = true,
          requires = "image")]
    pub std: Option<Vec<f64>>,
    /// White, before the mean is subtracted: 1, or 255 for models that take bytes [default: the preset's; 255 for an input
    /// of whole numbers].
    #[arg(long, value_name = "F", value_parser = nonzero, requires = "image")]
    pub pixel_range: Option<f64>,
    /// Order of the channels; `--mean` and `--std` follow it [default: the preset's, rgb but for caffe].
    #[arg(long, value_enum, requires = "image")]
    pub channels: Option<Channels>,
    /// Position of the channel axis [default: where the input's shape has 1 or 3, nchw if both ends do].
    #[arg(long, value_enum, requires = "image")]
    pub layout: Option<Layout>,
    /// Resize the shorter side and cut out the centre, stretch both sides, or resize the longer side and pad with grey
    /// [default: the preset's, crop for imagenet]. Where the model leaves the size open, a picture keeps its size and is
    /// padded to what the model can halve.
    #[arg(long, value_enum, requires = "image")]
    pub resize: Option<Resize>,
}

impl PictureArgs {
    /// Order of the channels.
    pub fn channels(&self) -> Channels {
        self.channels.unwrap_or(self.preset().channels)
    }

    /// Returns the resizing of a picture to the input.
    pub fn resize(&self) -> Resize {
        self.resize.unwrap_or(self.preset().resize)
    }

    /// The preset that fills what no flag says.
    pub fn preset(&self) -> Preprocessing {
        self.preset.unwrap_or(Preset::Imagenet).preprocessing()
    }
}

/// Order of a picture's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Position of a picture's channel axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Channels before rows.
    Nchw,
    /// Channels last.
    Nhwc,
}

/// Resizing of a picture to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resize {
    /// The shorter side fits, the centre stays.
    Crop,
    /// Both sides fit.
    Stretch,
    /// The longer side fits, grey (114 of 255) is added at both sides, as YOLO models are trained.
    Pad,
}

/// Preprocessing that a family of models expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// ImageNet's mean and deviation over 0..1, RGB, the centre: torchvision, timm.
    Imagenet,
    /// Pixels in 0..1 as they are, RGB, padded: ultralytics' YOLO.
    Yolo,
    /// Pixels in 0..255 less ImageNet's mean, BGR, stretched: Caffe's models and their conversions, Keras' VGG and ResNet.
    Caffe,
    /// CLIP's mean and deviation over 0..1, RGB, the centre.
    Clip,
    /// Pixels in -1..1, RGB, stretched: Keras' MobileNet and Inception, ViT.
    MinusOneOne,
}

/// Map from pixels to values; mean and deviation as shares of white, red first.
#[derive(Clone, Copy, Debug)]
pub struct Preprocessing {
    /// Mean of each channel.
    pub mean: [f64; 3],
    /// Deviation of each channel.
    pub std: [f64; 3],
    /// Value of white before the mean is subtracted: 1 or 255.
    pub pixel_range: f64,
    /// Order of the channels.
    pub channels: Channels,
    /// Resizing of a picture to the input.
    pub resize: Resize,
}

impl Preset {
    /// Name of the preset on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default()
    }

    /// Returns the values that the preset stands for.
    pub fn preprocessing(self) -> Preprocessing {
        let unchanged = Preprocessing {
            mean: [0.0; 3],
            std: [1.0; 3],
            pixel_range: 1.0,
            channels: Channels::Rgb,
            resize: Resize::Crop,
        };
        match self {
            Preset::Imagenet => {
                Preprocessing { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], ..unchanged }
            }
            Preset::Yolo => Preprocessing { resize: Resize::Pad, ..unchanged },
            Preset::Caffe => Preprocessing {
                mean: [123.68 / 255.0, 116.779 / 255.0, 103.939 / 255.0],
                std: [1.0 / 255.0; 3],
                pixel_range: 255.0,
                channels: Channels::Bgr,
                resize: Resize::Stretch,
            },
            Preset::Clip => Preprocessing {
                mean: [0.48145466, 0.4578275, 0.40821073],
                std: [0.26862954, 0.26130258, 0.27577711],
                ..unchanged
            },
            Preset::MinusOneOne => {
                Preprocessing { mean: [0.5; 3], std: [0.5; 3], resize: Resize::Stretch, ..unchanged }
            }
        }
    }
}
