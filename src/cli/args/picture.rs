//! Flags of pictures and their conversion into inputs.

use std::path::PathBuf;

use clap::Args;

use super::values::{finite, nonzero};
use super::words::word;
use dlbc::input::{Channels, Layout, PictureOptions, Preset, Resize};

/// Pictures and their conversion into inputs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Picture")]
pub struct PictureArgs {
    /// A picture (png, jpeg, bmp, gif, tiff, webp) for the model's only picture input, resized to its size. Several, or a
    /// folder, have a result each.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub image: Vec<PathBuf>,
    /// Preset for a family of models: mean, deviation, pixel range, channel order and resizing; the flags below override it
    /// [default: imagenet].
    #[arg(long, value_parser = word::<Preset>(), value_name = "NAME", requires = "image")]
    pub preset: Option<Preset>,
    /// Mean to subtract from each channel [default: the preset's; 0 for a picture of one channel].
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', value_parser = finite, allow_hyphen_values = true,
          requires = "image")]
    pub mean: Option<Vec<f64>>,
    /// Deviation to divide each channel by afterwards [default: the preset's; 1 for a picture of one channel].
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', value_parser = nonzero, allow_hyphen_values = true,
          requires = "image")]
    pub std: Option<Vec<f64>>,
    /// Value of white before the mean is subtracted: 1, or 255 for models that take bytes [default: the preset's; 255 for an input
    /// of whole numbers].
    #[arg(long, value_name = "F", value_parser = nonzero, requires = "image")]
    pub pixel_range: Option<f64>,
    /// Order of the channels; `--mean` and `--std` follow it [default: the preset's, rgb for all but caffe].
    #[arg(long, value_parser = word::<Channels>(), requires = "image")]
    pub channels: Option<Channels>,
    /// Position of the channel axis [default: the axis of size 1 or 3 of the input's shape, nchw if both ends have one].
    #[arg(long, value_parser = word::<Layout>(), requires = "image")]
    pub layout: Option<Layout>,
    /// Resize the shorter side and cut out the centre, stretch both sides, or resize the longer side and pad with grey
    /// [default: the preset's, crop for imagenet]. Where the model leaves the size open, a picture keeps its size and is
    /// padded to a size that the model can halve.
    #[arg(long, value_parser = word::<Resize>(), requires = "image")]
    pub resize: Option<Resize>,
}

impl PictureArgs {
    /// Returns whether `--image` names a picture.
    pub fn is_given(&self) -> bool {
        !self.image.is_empty()
    }

    /// Returns the options for converting pictures.
    pub fn options(&self) -> PictureOptions {
        PictureOptions {
            preset: self.preset,
            mean: self.mean.clone(),
            std: self.std.clone(),
            pixel_range: self.pixel_range,
            channels: self.channels,
            layout: self.layout,
            resize: self.resize,
        }
    }
}
