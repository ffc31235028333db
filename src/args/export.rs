//! `dlbc export`.

use std::path::PathBuf;

use clap::Args;
use dlbc_artifact::{ExportOptions, ExportStart, ExportTarget};
use dlbc_runtime::Target;

use super::units::units;
use super::values::finite;
use super::{ExplainArgs, LimitArgs, Start};
use crate::classes::Classes;
use crate::exit::unsupported;

/// `dlbc export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The model, an ONNX file or an artifact of `dlbc compile`.
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// The file to write.
    #[arg(long, short, value_name = "EXPLAINED.onnx")]
    pub out: PathBuf,

    /// Explained unit, fixed in the file: argmax, top1, an index (-1 is the last), a class name, a difference A-B, or all
    /// [default: the exported model has an optional input `dlbc_target`].
    #[arg(long, value_name = "TARGET", allow_hyphen_values = true, help_heading = "Target")]
    target: Option<String>,
    /// Starting relevance of the target: one times the multiplier, or its own value.
    #[arg(long, value_enum, default_value = "one", help_heading = "Target")]
    start: Start,
    /// Starting relevance.
    #[arg(long, value_name = "F", default_value = "100", value_parser = finite, allow_hyphen_values = true,
          help_heading = "Target")]
    multiplier: f64,

    /// How the relevance is made.
    #[command(flatten)]
    pub explain: ExplainArgs,
    /// What the model may cost.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl ExportArgs {
    /// What the exported model explains, and what it starts with.
    ///
    /// # Errors
    /// For several targets, and one that there is not.
    pub fn options(&self, classes: &Classes) -> anyhow::Result<ExportOptions> {
        let named = self.target.as_ref().map(|text| units(text, Some(classes))).transpose()?;
        let target = match named.as_deref() {
            None => None,
            Some([one]) => fixed(one.target),
            Some(several) => {
                return Err(unsupported(format!(
                    "an exported model explains one target, {} are given: leave `--target` out and call it with `dlbc_target`",
                    several.len()
                )));
            }
        };
        let start = match self.start {
            Start::One => ExportStart::One,
            Start::Value => ExportStart::Value,
        };
        Ok(ExportOptions { target, start, multiplier: self.multiplier as f32 })
    }
}

/// The target as an export spells it; `None` of pixels and boxes, which `--target` cannot name.
fn fixed(target: Target) -> Option<ExportTarget> {
    Some(match target {
        Target::Argmax => ExportTarget::Argmax,
        Target::Rank(rank) => ExportTarget::Rank(rank),
        Target::Index(i) => ExportTarget::Index(i),
        Target::Difference(a, b) => ExportTarget::Difference(a, b),
        Target::All => ExportTarget::All,
        Target::Above(_) | Target::Pixels(_) | Target::Box(_) => return None,
    })
}
