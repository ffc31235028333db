//! `dlbc export`.

use std::path::PathBuf;

use clap::Args;
use dlbc_artifact::{ExportOptions, ExportSeedValue, ExportTarget};
use dlbc_runtime::{SeedValue, Target};

use super::values::finite;
use super::words::word;
use super::{ExplainArgs, LimitArgs};
use crate::cli::exit::{Code, advised, usage};
use dlbc::classes::Classes;
use dlbc::target;

/// `dlbc export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The model, an ONNX file or an artifact of `dlbc compile`.
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// The file to write.
    #[arg(long, short, value_name = "EXPLAINED.onnx")]
    pub out: PathBuf,

    /// Unit to explain, fixed in the file: argmax, top1, an index (-1 is the last), a class name, a difference A-B, or all
    /// [default: the exported model has an optional input `dlbc_target`].
    #[arg(long, value_name = "TARGET", allow_hyphen_values = true, help_heading = "Target")]
    target: Option<String>,
    /// Starting relevance of the target: one times the multiplier, or its own value.
    #[arg(long, value_parser = word::<SeedValue>(), default_value = "one", help_heading = "Target")]
    start: SeedValue,
    /// Starting relevance.
    #[arg(long, value_name = "F", default_value = "100", value_parser = finite, allow_hyphen_values = true,
          help_heading = "Target")]
    multiplier: f64,

    /// Composite and mode of the relevance.
    #[command(flatten)]
    pub explain: ExplainArgs,
    /// Limits on the model's size.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl ExportArgs {
    /// Refuses a target that is invalid whatever the class names are, before the model is read.
    ///
    /// # Errors
    /// Returns a usage error for a target that does not parse.
    pub fn check(&self) -> anyhow::Result<()> {
        self.target.as_ref().map_or(Ok(()), |text| Ok(target::units(text, None).map(|_| ())?))
    }

    /// Returns the target and the starting relevance of the exported model.
    ///
    /// # Errors
    /// Fails for several targets and for an unknown one.
    pub fn options(&self, classes: &Classes) -> anyhow::Result<ExportOptions> {
        let targets = self.target.as_ref().map(|text| target::units(text, Some(classes))).transpose()?;
        let target = match targets.as_deref() {
            None => None,
            Some([named]) => Some(fixed(named.target)?),
            Some(several) => {
                return Err(advised(
                    Code::Unsupported,
                    format!(
                        "invalid target of an exported model: expected one target, found {}",
                        several.len()
                    ),
                    "leave out `--target`: the exported model has an input `dlbc_target`",
                ));
            }
        };
        let seed_value = match self.start {
            SeedValue::One => ExportSeedValue::One,
            SeedValue::Value => ExportSeedValue::Value,
        };
        Ok(ExportOptions { target, seed_value, multiplier: self.multiplier as f32 })
    }
}

fn fixed(target: Target) -> anyhow::Result<ExportTarget> {
    match target {
        Target::Argmax => Ok(ExportTarget::Argmax),
        Target::Rank(rank) => Ok(ExportTarget::Rank(rank)),
        Target::Index(i) => Ok(ExportTarget::Index(i)),
        Target::Difference(a, b) => Ok(ExportTarget::Difference(a, b)),
        Target::All => Ok(ExportTarget::All),
        _ => Err(usage(
            "invalid target of an exported model: expected argmax, top1, an index, a difference or all",
        )),
    }
}
