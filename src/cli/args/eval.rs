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
    /// Samples at most; without `--rules` and `--limit` as many of them as take about a minute.
    #[arg(long, value_name = "N", default_value_t = SAMPLES, value_parser = positive, help_heading = "Samples")]
    pub limit: usize,
    /// Where the evidence lies: an .npz with one array, or a black and white picture; what is not 0 counts.
    #[arg(long, value_name = "FILE", help_heading = "Samples")]
    pub mask: Option<PathBuf>,

    /// Which output unit is explained: argmax of each sample, or an index (-1 is the last).
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

    /// Rules that make the relevance; `--rules` takes several names separated by commas. Without it the composites are
    /// compared that "Which composite to trust" recommends.
    #[command(flatten)]
    pub explain: ExplainArgs,

    /// Which metrics, separated by commas [default: all that the samples allow].
    #[arg(long, value_name = "LIST", value_parser = word::<Metric>(), value_delimiter = ',', help_heading = "Metrics")]
    pub metrics: Vec<Metric>,
    /// What a feature is replaced by: black, white, mean, feature-mean, blur or a number; of texts drop or pad
    /// [default: black; feature-mean for tables of several rows; drop for texts with a mask, else pad].
    #[arg(long, value_name = "FILL", allow_hyphen_values = true, help_heading = "Metrics")]
    pub baseline: Option<Fill>,
    /// Features that a step of a curve replaces [default: so many that there are at most 32 steps].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Metrics")]
    pub step: Option<usize>,
    /// Side of the patches of region perturbation, in pixels [default: 1/28 of the shorter side, at least 2].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Metrics")]
    pub patch: Option<usize>,
    /// Patches at most that region perturbation replaces.
    #[arg(long, value_name = "N", default_value_t = REGIONS, value_parser = positive, help_heading = "Metrics")]
    pub regions: usize,
    /// Random subsets of faithfulness correlation.
    #[arg(long, value_name = "N", default_value_t = RUNS, value_parser = positive, help_heading = "Metrics")]
    pub runs: usize,
    /// Features of a subset [default: a quarter of them, at most 224].
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Metrics")]
    pub subset: Option<usize>,
    /// Inputs with noise of max-sensitivity.
    #[arg(long, value_name = "N", default_value = "10", value_parser = positive, help_heading = "Metrics")]
    pub draws: usize,
    /// Noise of max-sensitivity: uniform up to this, in units of the input (of tables, of each column's deviation).
    #[arg(long, value_name = "F", default_value = "0.2", value_parser = finite, help_heading = "Metrics")]
    pub radius: f64,
    /// Stages in which weights are randomised from the output on.
    #[arg(long, value_name = "N", default_value = "4", value_parser = positive, help_heading = "Metrics")]
    pub stages: usize,
    /// Of all random numbers.
    #[arg(long, value_name = "N", default_value = "42", help_heading = "Metrics")]
    pub seed: u64,

    /// Fail with exit code 6 where a composite's mean is below a bound, as in `gap=0.3` (repeatable).
    #[arg(long, value_name = "METRIC=VALUE", allow_hyphen_values = true, help_heading = "Results")]
    pub fail_under: Vec<Bound>,
    /// Fail with exit code 6 where a composite's mean is above a bound, as in `random-logit=0.5` (repeatable).
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

    /// Where it runs.
    #[command(flatten)]
    pub on: DeviceArgs,
    /// What the model may cost.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Samples unless `--limit` says otherwise.
const SAMPLES: usize = 32;

impl EvalArgs {
    /// Samples, and the part of their answers that is explained.
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

    /// Numbers of the evaluation.
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

    /// Files and values that become the samples.
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
            max_tensor_bytes: self.limits.tensor_bytes(),
        }
    }

    /// Returns whether the number of samples follows the time that they take: neither samples nor composites are named.
    pub fn is_timed(&self) -> bool {
        self.limit == SAMPLES && !self.explain.names_rules()
    }
}

/// `METRIC=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The metric.
    pub metric: Metric,
    /// Its bound.
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
