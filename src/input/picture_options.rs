//! Options of a picture: the map from its pixels to the values of an input.

/// Map from a picture to an input. Fields that are `None` come from the preset or from the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PictureOptions {
    /// Preprocessing of a family of models; [`Preset::Imagenet`] when `None`.
    pub preset: Option<Preset>,
    /// Mean of each channel, subtracted from the pixels; for a single channel the default is 0.
    pub mean: Option<Vec<f64>>,
    /// Standard deviation of each channel, by which the difference is divided; for a single channel the default is 1.
    pub std: Option<Vec<f64>>,
    /// Value of white before the mean is subtracted: by default 1, or 255 for an input of integers.
    pub pixel_range: Option<f64>,
    /// Order of the channels, also in `mean` and `std`.
    pub channels: Option<Channels>,
    /// Position of the channel axis; by default the axis of the input's shape that has size 1 or 3.
    pub layout: Option<Layout>,
    /// Resizing of the picture to the input.
    pub resize: Option<Resize>,
}

impl PictureOptions {
    /// Returns the options of a preset.
    pub fn preset(preset: Preset) -> PictureOptions {
        PictureOptions { preset: Some(preset), ..PictureOptions::default() }
    }

    /// Returns the order of the channels.
    #[cfg(feature = "images")]
    pub(super) fn channels(&self) -> Channels {
        self.channels.unwrap_or(self.preprocessing().channels)
    }

    /// Returns the resizing of a picture to the input.
    #[cfg(feature = "images")]
    pub(super) fn resize(&self) -> Resize {
        self.resize.unwrap_or(self.preprocessing().resize)
    }

    /// Returns the values of the preset, for fields that are `None`.
    #[cfg(feature = "images")]
    pub(super) fn preprocessing(&self) -> Preprocessing {
        self.preset.unwrap_or(Preset::Imagenet).preprocessing()
    }
}

/// Order of a picture's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Position of a picture's channel axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channels before rows.
    Nchw,
    /// Channels last.
    Nhwc,
}

/// Resizing of a picture to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Scales the shorter side to the input and crops the longer side around the centre.
    Crop,
    /// Scales both sides to the input, which may change the aspect ratio.
    Stretch,
    /// Scales the longer side to the input and pads the shorter side with grey (114 of 255), as for YOLO models.
    Pad,
}

/// The preprocessing of a family of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Pixels in 0..1, normalized by ImageNet's mean and deviation, RGB, cropped: torchvision, timm.
    Imagenet,
    /// Pixels in 0..1, RGB, padded: YOLO by ultralytics.
    Yolo,
    /// Pixels in 0..255 minus ImageNet's mean, BGR, stretched: Caffe models and their conversions, VGG and ResNet of Keras.
    Caffe,
    /// Pixels in 0..1, normalized by CLIP's mean and deviation, RGB, cropped.
    Clip,
    /// Pixels in -1..1, RGB, stretched: MobileNet and Inception of Keras, ViT.
    MinusOneOne,
}

/// Map from pixels to values. Mean and deviation are fractions of white, in the order red, green, blue.
#[derive(Clone, Copy, Debug)]
pub struct Preprocessing {
    /// Mean of each channel.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
    /// Value of white before the mean is subtracted: 1 or 255.
    pub pixel_range: f64,
    /// Order of the channels.
    pub channels: Channels,
    /// Resizing of a picture to the input.
    pub resize: Resize,
}

impl Preset {
    /// Returns the name of the preset on the command line, such as `minus-one-one`.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Imagenet => "imagenet",
            Preset::Yolo => "yolo",
            Preset::Caffe => "caffe",
            Preset::Clip => "clip",
            Preset::MinusOneOne => "minus-one-one",
        }
    }

    /// Returns the values of the preset.
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
