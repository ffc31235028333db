//! `dlbc diff`.

use std::path::PathBuf;

use clap::Args;

use super::RunArgs;

/// Flags of a run that say where its result goes: a comparison has its own.
const HIDDEN: [&str; 12] = [
    "out",
    "heatmap",
    "colors",
    "color",
    "audit",
    "layers",
    "heads",
    "experts",
    "expert_map",
    "repeat",
    "keep",
    "report",
];

/// `dlbc diff`.
#[derive(Debug, Args)]
#[command(
    mut_arg("model", |a| {
        a.index(1).value_name("A").help("The first result of `dlbc run`: .npz, .safetensors or .json; or the first of two models")
    }),
    mut_args(|a| if HIDDEN.contains(&a.get_id().as_str()) { a.hide(true) } else { a })
)]
pub struct DiffArgs {
    /// The first of two models is run with these flags; of a result only the path is taken.
    #[command(flatten)]
    pub run: RunArgs,
    /// The second result, in any of the formats; or the second model, to run on the same inputs.
    #[arg(value_name = "B", index = 2)]
    pub second: PathBuf,
    /// How many of the largest elements are looked for among those of the other.
    #[arg(long, value_name = "K", default_value_t = 10, help_heading = "Comparison")]
    pub top: usize,
    /// How many of the elements that differ most are listed of each tensor.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Comparison")]
    pub moves: usize,
    /// Fail with exit code 6 below this rank correlation.
    #[arg(long, value_name = "R", allow_negative_numbers = true, help_heading = "Comparison")]
    pub min_rank: Option<f64>,
    /// Fail with exit code 6 below this cosine.
    #[arg(long, value_name = "C", allow_negative_numbers = true, help_heading = "Comparison")]
    pub min_cosine: Option<f64>,
    /// Fail with exit code 6 below this share of common largest elements.
    #[arg(long, value_name = "SHARE", help_heading = "Comparison")]
    pub min_overlap: Option<f64>,
    /// Fail with exit code 6 above this relative L1 difference.
    #[arg(long, value_name = "X", help_heading = "Comparison")]
    pub max_l1: Option<f64>,
}

impl DiffArgs {
    /// Whether there is something to run models on.
    pub fn has_inputs(&self) -> bool {
        self.run.has_inputs()
    }
}
