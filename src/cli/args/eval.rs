//! `dlbc eval`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use dlbc_runtime::Target;

use super::values::{finite, positive};
use super::words::word;
use super::{DeviceArgs, ExplainArgs, LimitArgs, PictureArgs, TextArgs};
use dlbc::eval::{Fill, Metric, Plan, PrepareOptions, REGIONS, RUNS};
use dlbc::input::{Pair, Rows, Sources};

/// `dlbc eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The model, an ONNX file or an artifact of `dlbc compile`.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,

    /// One model input from a .npy file, a sample a row (repeatable).
    #[arg(long, value_name = "NAME=FILE.npy", help_heading = "Samples")]
    pub input: Vec<Pair>,
    /// Model inputs by name from a .npz file, a sample a row.
    #[arg(long, value_name = "FILE.npz", help_heading = "Samples")]
    pub inputs: Option<PathBuf>,
    /// A table whose header names the features of the model's only float input, a sample a row.
    #[arg(long, value_name = "FILE", help_heading = "Samples")]
    pub csv: Option<PathBuf>,
    /// A picture or a folder of pictures (`--image`) and how they become inputs.
    #[command(flatten)]
    pub picture: PictureArgs,
    /// Texts, a sample each, and how they become inputs.
    #[command(flatten)]
    pub text: TextArgs,
    /// Maximum number of samples; without `--rules` and `--limit` as many as take about a minute.
    #[arg(long, value_name = "N", default_value_t = SAMPLES, value_parser = positive, help_heading = "Samples")]
    pub limit: usize,
    /// Mask of the evidence: an .npz with one array, or a black and white picture; elements other than 0 belong to it.
    #[arg(long, value_name = "FILE", help_heading = "Samples")]
    pub mask: Option<PathBuf>,

    /// Output unit to explain: argmax of each sample, or an index (-1 is the last).
    #[arg(
        long,
        value_name = "TARGET",
        value_parser = str::parse::<Target>,
        default_value = "argmax",
        allow_hyphen_values = true,
        help_heading = "Target"
    )]
    pub target: Target,
    /// Sequence position of the target, for outputs of shape [batch, position, unit] [default: the last that the mask shows].
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Target")]
    pub position: Option<i64>,

    /// Composites to compare; `--rules` takes several names separated by commas. Without it these are the composites that
    /// "Which composite to trust" recommends.
    #[command(flatten)]
    pub explain: ExplainArgs,

    /// Metrics to measure, separated by commas [default: all that the samples allow].
    #[arg(long, value_name = "LIST", value_parser = word::<Metric>(), value_delimiter = ',', help_heading = "Metrics")]
    pub metrics: Vec<Metric>,
    /// Replacement of a feature: black, white, mean, feature-mean, blur or a number; for texts drop or pad
    /// [default: black; feature-mean for tables of several rows; drop for texts with a mask, else pad].
    #[arg(long, value_name = "FILL", allow_hyphen_values = true, help_heading = "Metrics")]
    pub baseline: Option<Fill>,
    /// Number of features that each step of a curve replaces [default: enough for at most 32 steps].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Metrics")]
    pub step: Option<usize>,
    /// Side of the patches of region perturbation, in pixels [default: 1/28 of the shorter side, at least 2].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Metrics")]
    pub patch: Option<usize>,
    /// Maximum number of patches that region perturbation replaces.
    #[arg(long, value_name = "N", default_value_t = REGIONS, value_parser = positive, help_heading = "Metrics")]
    pub regions: usize,
    /// Number of random subsets of faithfulness correlation.
    #[arg(long, value_name = "N", default_value_t = RUNS, value_parser = positive, help_heading = "Metrics")]
    pub runs: usize,
    /// Number of features in a subset [default: a quarter of them, at most 224].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Metrics")]
    pub subset: Option<usize>,
    /// Number of noisy inputs that max-sensitivity draws.
    #[arg(long, value_name = "N", default_value = "10", value_parser = positive, help_heading = "Metrics")]
    pub draws: usize,
    /// Bound of max-sensitivity's uniform noise, in units of the input (for tables, of each column's deviation).
    #[arg(long, value_name = "F", default_value = "0.2", value_parser = finite, help_heading = "Metrics")]
    pub radius: f64,
    /// Number of stages in which weights are randomised, starting at the output.
    #[arg(long, value_name = "N", default_value = "4", value_parser = positive, help_heading = "Metrics")]
    pub stages: usize,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N", default_value = "42", help_heading = "Metrics")]
    pub seed: u64,

    /// Fail with exit code 6 if a composite's mean is below a bound, as in `gap=0.3` (repeatable).
    #[arg(long, value_name = "METRIC=VALUE", allow_hyphen_values = true, help_heading = "Results")]
    pub fail_under: Vec<Bound>,
    /// Fail with exit code 6 if a composite's mean is above a bound, as in `random-logit=0.5` (repeatable).
    #[arg(long, value_name = "METRIC=VALUE", allow_hyphen_values = true, help_heading = "Results")]
    pub fail_over: Vec<Bound>,
    /// Settings, scores of every sample and curves, as JSON.
    #[arg(long, value_name = "FILE.json", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// The mean curves as a picture: .png, .jpg or .svg.
    #[arg(long, value_name = "FILE.png", help_heading = "Results")]
    pub plot: Option<PathBuf>,
    /// Print means and settings as one JSON object instead of a table.
    #[arg(long, help_heading = "Results")]
    pub json: bool,

    /// Device that runs the model.
    #[command(flatten)]
    pub on: DeviceArgs,
    /// Limits on the size of the model.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Default of `--limit`.
const SAMPLES: usize = 32;

impl EvalArgs {
    /// Returns the options for preparing the samples and their targets.
    pub fn prepare(&self) -> PrepareOptions {
        PrepareOptions {
            sources: self.sources(),
            limit: self.limit,
            mask: self.mask.clone(),
            fill: self.baseline,
            target: self.target,
            position: self.position,
        }
    }

    /// Returns the numbers that the metrics depend on.
    pub fn plan(&self) -> Plan {
        Plan {
            step: self.step,
            patch: self.patch,
            regions: self.regions,
            runs: self.runs,
            subset: self.subset,
            draws: self.draws,
            radius: self.radius,
            stages: self.stages,
            seed: self.seed,
            ..Plan::default()
        }
    }

    /// Returns the files and values that become the samples.
    pub fn sources(&self) -> Sources {
        Sources {
            arrays: self.input.clone(),
            archive: self.inputs.clone(),
            table: self.csv.clone(),
            rows: Rows::All,
            pictures: self.picture.image.clone(),
            picture: self.picture.options(),
            texts: self.text.sources(),
            text: self.text.options(&self.model),
            words: Default::default(),
            max_tensor_bytes: self.limits.tensor_bytes(),
        }
    }

    /// Returns whether the number of samples depends on the time that they take: no flag sets samples or composites.
    pub fn is_timed(&self) -> bool {
        self.limit == SAMPLES && !self.explain.names_rules()
    }
}

/// Bound on the mean of a metric, written `METRIC=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Metric that is bounded.
    pub metric: Metric,
    /// Smallest or largest mean that passes, by the flag it is given with.
    pub value: f64,
}

impl FromStr for Bound {
    type Err = String;
    fn from_str(text: &str) -> Result<Bound, String> {
        let (metric, value) = text.split_once('=').ok_or("expected METRIC=VALUE")?;
        Ok(Bound { metric: metric.parse()?, value: finite(value)? })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.metric, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!("gap=0.3".parse(), Ok(Bound { metric: Metric::Gap, value: 0.3 }));
        assert_eq!("random-logit=-1".parse::<Bound>().unwrap().to_string(), "random-logit=-1");
        for text in ["gap", "gap=", "gap=nan", "nothing=1"] {
            assert!(text.parse::<Bound>().is_err(), "{text}");
        }
    }
}
