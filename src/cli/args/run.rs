//! `dlbc run`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::picture::PictureArgs;
use super::values::positive;
use super::words::word;
use super::{DeviceArgs, ExplainArgs, Keep, LimitArgs, TargetArgs, TextArgs};
use crate::cli::exit::{Code, advised};
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
    /// A table with a header: columns match by position for a model of one float input, by name if each input is a column.
    #[arg(long, value_name = "FILE", help_heading = "Inputs")]
    pub csv: Option<PathBuf>,
    /// Rows of the table, from 0 below the header: 3, 0-49,60 or all; several are one batch [default: 0].
    #[arg(long, value_name = "ROWS", allow_hyphen_values = true, requires = "csv", help_heading = "Inputs")]
    pub row: Option<Rows>,
    /// Pictures and their conversion into inputs.
    #[command(flatten)]
    pub picture: PictureArgs,
    /// Texts and their conversion into inputs.
    #[command(flatten)]
    pub text: TextArgs,

    /// Target and its starting relevance.
    #[command(flatten)]
    pub target: TargetArgs,

    /// Composite, mode and inputs of the relevance; an artifact has them already.
    #[command(flatten)]
    pub explain: ExplainArgs,
    /// Baseline of integrated gradients: a .npy, a .npz by input name, a .csv of one row, a picture, or the mean or
    /// median of the rows of `--csv`, of the pictures or of the batch [default: the input that the model's own
    /// normalisation maps to 0, else 0].
    #[arg(long, value_name = "FILE|mean|median", help_heading = "Relevance")]
    pub baseline: Option<BaselineSource>,
    /// Rows that the Shapley values of trees are taken against: a .npz by input name, a .npy or a .csv [default: the other
    /// rows of `--csv` or `--inputs`, if there are 20].
    #[arg(long, value_name = "FILE", help_heading = "Relevance")]
    pub background: Option<PathBuf>,
    /// Shapley values of trees where a feature that is not known goes every way, each with the share of the rows of the background
    /// that went there; without `--background`, of the rows of the training if the model counts them (`nodes_hitrates`).
    #[arg(long, help_heading = "Relevance")]
    pub tree_path_dependent: bool,

    /// Device that runs the model.
    #[command(flatten)]
    pub on: DeviceArgs,
    /// Run N times after a warm-up; the seconds are medians [default: once, no warm-up].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Execution")]
    pub repeat: Option<usize>,

    /// Run the model and explain nothing: the result holds its outputs.
    #[arg(long, help_heading = "Results")]
    pub forward_only: bool,

    /// Tensors whose relevance is written: inputs, all, or names separated by commas.
    #[arg(long, value_name = "WHAT", default_value = "inputs", help_heading = "Results")]
    pub keep: Keep,
    /// Result file with outputs and relevance, as .npz, .safetensors or .json; for a table also .csv, the relevance of each
    /// feature, one line a row.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// Draw the relevance of the input: .png, .jpg or .svg; several pictures have one file each, FILE-NAME.png or
    /// FOLDER/NAME.png.
    #[arg(long, value_name = "FILE.png|FOLDER", help_heading = "Results")]
    pub heatmap: Option<PathBuf>,
    /// Draw the relevance over each picture of `--image` at its original size, .png or .jpg; several pictures or targets have
    /// one file each, FILE-NAME.png or FOLDER/NAME.png.
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
    /// Add up the tokens of a text to words, by their position in the text.
    #[arg(long, requires = "texts", help_heading = "Results")]
    pub words: bool,
    /// Colour tokens by their relevance: on a terminal, always, or never (also with NO_COLOR set).
    #[arg(long, value_enum, default_value = "auto", help_heading = "Results")]
    pub color: Color,
    /// Print the conservation ledger, one row for each node with a rule.
    #[arg(long = "ledger", visible_alias = "audit", help_heading = "Results")]
    pub ledger: bool,
    /// Print the ledger by module, using the module names that the exporter left in the model.
    #[arg(long, help_heading = "Results")]
    pub layers: bool,
    /// Print the relevance of each attention head.
    #[arg(long, help_heading = "Results")]
    pub heads: bool,
    /// Print tokens, relevance and share of its layer for each expert of a mixture of experts.
    #[arg(long, help_heading = "Results")]
    pub experts: bool,
    /// Draw the relevance of the experts by layer: .png, .jpg or .svg.
    #[arg(long, value_name = "FILE.png", help_heading = "Results")]
    pub expert_map: Option<PathBuf>,

    /// Limits on the size of the model.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Reserved; refused for now.
    #[arg(long, hide = true)]
    report: Option<PathBuf>,
    /// True if no summary is printed, because another command reads the result.
    #[arg(skip)]
    pub silent: bool,
}

/// Condition under which tokens are coloured.
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
    /// Returns whether any flag names an input.
    pub fn has_inputs(&self) -> bool {
        let named = !self.input.is_empty() || self.inputs.is_some() || self.csv.is_some();
        named || self.picture.is_given() || self.text.is_given()
    }

    /// Returns the name of the first flag that concerns relevance.
    pub fn relevance_flag(&self) -> Option<&'static str> {
        let of_start = self.target.start_flag();
        let flags = [
            ("--baseline", self.baseline.is_some()),
            ("--background", self.background.is_some()),
            ("--tree-path-dependent", self.tree_path_dependent),
            ("--keep", self.keep != Keep::Inputs),
            ("--heatmap", self.heatmap.is_some()),
            ("--overlay", self.overlay.is_some()),
            ("--expert-map", self.expert_map.is_some()),
            ("--words", self.words),
            ("--ledger", self.ledger),
            ("--layers", self.layers),
            ("--heads", self.heads),
            ("--experts", self.experts),
        ];
        let set = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag);
        let of_target = || self.target.first_flag();
        self.explain.relevance_flag().or(of_start).or_else(of_target).or_else(|| set.into_iter().next())
    }

    /// Returns the options of masks and boxes that flags set.
    pub fn scene(&self) -> SceneOptions {
        let scene = &self.target.scene;
        SceneOptions { layout: self.picture.layout, mask_layout: scene.mask_layout, score: scene.box_score }
    }

    /// Returns the files and values that become the inputs.
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
            words: Default::default(),
            max_tensor_bytes: self.limits.tensor_bytes(),
        }
    }

    /// Refuses flags that are not supported.
    ///
    /// # Errors
    /// Returns an error that names the flag.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.report.is_some() {
            return Err(advised(
                Code::Unsupported,
                "`--report` is not available yet",
                "`--heatmap` draws the relevance, `--out` writes it",
            ));
        }
        self.on.check()
    }
}
