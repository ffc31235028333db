//! `dlbc diff`.

use std::path::PathBuf;

use clap::Args;

use super::RunArgs;
use dlbc::diff::DiffOptions;

/// `dlbc diff`.
#[derive(Debug, Args)]
#[command(
    mut_arg("model", |a| {
        a.index(1).value_name("A").help("The first result of `dlbc run`: .npz, .safetensors or .json; or the first of two models")
    }),
    // The result flags of `run` do not apply to a comparison.
    mut_args(|a| match a.get_help_heading() == Some("Results") && a.get_id() != "json" {
        true => a.hide(true),
        false => a,
    })
)]
pub struct DiffArgs {
    /// Flags for running both models; for a result file only the path is used.
    #[command(flatten)]
    pub run: RunArgs,
    /// The second result, in any of the formats; or the second model, to run on the same inputs.
    #[arg(value_name = "B", index = 2)]
    pub second: PathBuf,
    /// Number of largest elements whose overlap is measured.
    #[arg(long, value_name = "K", default_value_t = 10, help_heading = "Comparison")]
    pub top: usize,
    /// Number of elements to list for each tensor, those that differ most first.
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
    /// Returns the numbers of elements and the bounds of the comparison.
    pub fn options(&self) -> DiffOptions {
        DiffOptions {
            top: self.top,
            moves: self.moves,
            min_rank: self.min_rank,
            min_cosine: self.min_cosine,
            min_overlap: self.min_overlap,
            max_l1: self.max_l1,
        }
    }

    /// Returns the first flag that has no effect: a file that a run would write or, for two results, any flag of a run.
    /// `models` is true if models are compared.
    pub fn idle(&self, models: bool) -> Option<&'static str> {
        let run = &self.run;
        let files = [
            ("--out", run.out.is_some()),
            ("--heatmap", run.heatmap.is_some()),
            ("--overlay", run.overlay.is_some()),
            ("--expert-map", run.expert_map.is_some()),
        ];
        let settings =
            [("--target", run.target.target.is_some()), ("--output", run.explain.output().is_some())];
        let late = run.explain.compile_time();
        let idle = files.into_iter().chain(settings.into_iter().filter(|_| !models));
        let named = idle.filter(|(_, is_set)| *is_set).map(|(flag, _)| flag);
        named.chain(late.into_iter().filter(|_| !models)).next()
    }

    /// Returns whether any flag gives an input to run models on.
    pub fn has_inputs(&self) -> bool {
        self.run.has_inputs()
    }
}
