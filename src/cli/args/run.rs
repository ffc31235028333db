//! `dlbc run`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::picture::PictureArgs;
use super::values::positive;
use super::words::word;
use super::{DeviceArgs, ExplainArgs, Keep, LimitArgs, TargetArgs, TextArgs};
use crate::cli::exit::unsupported;
use dlbc::heatmap::Colors;
use dlbc::input::{BaselineSource, Pair, Rows, Sources};
use dlbc::scene::SceneOptions;

/// `dlbc run`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("pictures").args(["heatmap", "overlay", "expert_map"]).multiple(true)))]
pub struct RunArgs {
    /// The model, an ONNX file or an artifact of `dlbc compile`.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,

    /// One model input from a .npy file (repeatable).
    #[arg(long, value_name = "NAME=FILE.npy", help_heading = "Inputs")]
    pub input: Vec<Pair>,
    /// Model inputs by name from a .npz file.
    #[arg(long, value_name = "FILE.npz", help_heading = "Inputs")]
    pub inputs: Option<PathBuf>,
    /// A table under a header: its columns by position for a model of one float input, by name where each input is a column.
    #[arg(long, value_name = "FILE", help_heading = "Inputs")]
    pub csv: Option<PathBuf>,
    /// Rows of the table, from 0 below the header: 3, 0-49,60 or all; several are one batch [default: 0].
    #[arg(long, value_name = "ROWS", allow_hyphen_values = true, requires = "csv", help_heading = "Inputs")]
    pub row: Option<Rows>,
    /// A picture and how it becomes an input.
    #[command(flatten)]
    pub picture: PictureArgs,
    /// Texts and how they become inputs.
    #[command(flatten)]
    pub text: TextArgs,

    /// What is explained, and what it starts with.
    #[command(flatten)]
    pub target: TargetArgs,

    /// How the relevance is made; an artifact knows it already.
    #[command(flatten)]
    pub explain: ExplainArgs,
    /// Baseline of integrated gradients: a .npy, a .npz by input name, a .csv of one row, a picture, or the mean or
    /// median of the rows of `--csv`, of the pictures or of the batch [default: what the model's own normalisation maps
    /// to 0, else 0].
    #[arg(long, value_name = "FILE|mean|median", help_heading = "Relevance")]
    pub baseline: Option<BaselineSource>,

    /// Where it runs.
    #[command(flatten)]
    pub on: DeviceArgs,
    /// Run N times after a warm-up; the seconds are medians [default: once, no warm-up].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Execution")]
    pub repeat: Option<usize>,

    /// Which tensors' relevance is written: inputs, all, or names separated by commas.
    #[arg(long, value_name = "WHAT", default_value = "inputs", help_heading = "Results")]
    pub keep: Keep,
    /// The result: outputs and relevance, as .npz, .safetensors or .json; of a table as .csv the relevance of each feature, a
    /// line a row.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// The relevance of the input as a picture: .png, .jpg or .svg; of several pictures a file each, FILE-NAME.png or
    /// FOLDER/NAME.png.
    #[arg(long, value_name = "FILE.png|FOLDER", help_heading = "Results")]
    pub heatmap: Option<PathBuf>,
    /// The relevance over each picture of `--image` at its own size, .png or .jpg; with several pictures or targets a file
    /// each, FILE-NAME.png or FOLDER/NAME.png.
    #[arg(long, value_name = "FILE.png|FOLDER", requires = "image", help_heading = "Results")]
    pub overlay: Option<PathBuf>,
    /// Title above the picture [default: sample, target, probability and sum].
    #[arg(long, value_name = "TEXT", requires = "heatmap", help_heading = "Results")]
    pub title: Option<String>,
    /// Colours of the picture, negative to positive.
    #[arg(long, value_parser = word::<Colors>(), default_value = "blue-red", requires = "pictures", help_heading = "Results")]
    pub colors: Colors,
    /// Print the summary as one JSON object instead of tables.
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// Add the tokens of a text up to words, by where they stand in it.
    #[arg(long, requires = "texts", help_heading = "Results")]
    pub words: bool,
    /// Colour tokens by their relevance: on a terminal, always, or never (also with NO_COLOR set).
    #[arg(long, value_enum, default_value = "auto", help_heading = "Results")]
    pub color: Color,
    /// Print the conservation ledger: a row a rule node.
    #[arg(long = "ledger", visible_alias = "audit", help_heading = "Results")]
    pub audit: bool,
    /// Print the ledger by module, as the exporter left them in the model.
    #[arg(long, help_heading = "Results")]
    pub layers: bool,
    /// Print the relevance of each head of the attentions.
    #[arg(long, help_heading = "Results")]
    pub heads: bool,
    /// Print what each expert of a mixture of experts was given: tokens, relevance, share of its layer.
    #[arg(long, help_heading = "Results")]
    pub experts: bool,
    /// The same as a picture, .png, .jpg or .svg: experts by layers.
    #[arg(long, value_name = "FILE.png", help_heading = "Results")]
    pub expert_map: Option<PathBuf>,

    /// What the model may cost.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Has no effect yet and is refused.
    #[arg(long, hide = true)]
    report: Option<PathBuf>,
    /// Prints no summary: another command reads the result.
    #[arg(skip)]
    pub silent: bool,
}

/// When tokens are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl RunArgs {
    /// Returns whether any flag gives an input.
    pub fn has_inputs(&self) -> bool {
        let named = !self.input.is_empty() || self.inputs.is_some() || self.csv.is_some();
        named || self.picture.is_given() || self.text.is_given()
    }

    /// Places of channels, classes and boxes, as far as flags say it.
    pub fn scene(&self) -> SceneOptions {
        let scene = &self.target.scene;
        SceneOptions { layout: self.picture.layout, mask_layout: scene.mask_layout, score: scene.box_score }
    }

    /// Files and values that become the inputs.
    pub fn sources(&self) -> Sources {
        Sources {
            arrays: self.input.clone(),
            archive: self.inputs.clone(),
            table: self.csv.clone(),
            rows: self.row.clone().unwrap_or_default(),
            pictures: self.picture.image.clone(),
            picture: self.picture.options(),
            texts: self.text.sources(),
            text: self.text.options(&self.model),
            max_tensor_bytes: self.limits.tensor_bytes(),
        }
    }

    /// Refuses what is not supported yet.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.report.is_some() {
            return Err(unsupported("`--report` is not supported yet"));
        }
        self.on.check()
    }
}
