//! Options of a picture: how its pixels become values of an input.

/// Map from a picture to an input; what is `None` comes from the preset or from the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PictureOptions {
    /// Mean, deviation, range, channel order and resizing of a family of models; [`Preset::Imagenet`] where there is none.
    pub preset: Option<Preset>,
    /// Subtracted from each channel; 0 for a picture of one channel.
    pub mean: Option<Vec<f64>>,
    /// Divides each channel afterwards; 1 for a picture of one channel.
    pub std: Option<Vec<f64>>,
    /// Value of white before the mean is subtracted: 1, or 255 for an input of whole numbers.
    pub pixel_range: Option<f64>,
    /// Order of the channels; mean and deviation follow it.
    pub channels: Option<Channels>,
    /// Position of the channel axis; by default where the input's shape has 1 or 3.
    pub layout: Option<Layout>,
    /// Resizing of the picture to the input.
    pub resize: Option<Resize>,
}

impl PictureOptions {
    /// Options of a preset.
    pub fn preset(preset: Preset) -> PictureOptions {
        PictureOptions { preset: Some(preset), ..PictureOptions::default() }
    }

    /// Order of the channels.
    #[cfg(feature = "images")]
    pub(super) fn channels(&self) -> Channels {
        self.channels.unwrap_or(self.preprocessing().channels)
    }

    /// Returns the resizing of a picture to the input.
    #[cfg(feature = "images")]
    pub(super) fn resize(&self) -> Resize {
        self.resize.unwrap_or(self.preprocessing().resize)
    }

    /// The preset's values, for what no field says.
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
    /// The shorter side fits, the centre stays.
    Crop,
    /// Both sides fit.
    Stretch,
    /// The longer side fits, grey (114 of 255) is added at both sides, as YOLO models are trained.
    Pad,
}

/// Preprocessing that a family of models expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Name of the preset, as `minus-one-one`.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Imagenet => "imagenet",
            Preset::Yolo => "yolo",
            Preset::Caffe => "caffe",
            Preset::Clip => "clip",
            Preset::MinusOneOne => "minus-one-one",
        }
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
