//! What is explained, and what it starts with.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use dlbc_runtime::{Position, Region, Start as SeedStart, Target as SeedTarget, Task as SeedTask};

use super::scene::SceneArgs;
use super::values::{finite, positive_number};
use crate::classes::Classes;
use crate::cli::exit::usage;

/// Targets of one run.
pub(super) const MOST_TARGETS: usize = 1024;

/// What is explained, and what it starts with.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Output units that get the starting relevance: argmax, an index (-1 is the last), a class name, a difference A-B
    /// of either, all; several separated by commas, and topK for the K largest, share one run [default: argmax, or what
    /// the task says].
    #[arg(long, value_name = "TARGET,...", allow_hyphen_values = true)]
    pub target: Option<String>,
    /// Names of the classes, a line each; also a JSON list or dictionary, or a config.json with `id2label` [default: those in
    /// the model's metadata, or in a classes.txt beside it].
    #[arg(long = "classes", value_name = "FILE")]
    pub class_names: Option<PathBuf>,
    /// Sequence position of the target, or all, for outputs of shape [batch, position, unit] [default: the last that the
    /// mask shows].
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub position: Option<Place>,
    /// The output is [position, batch, unit], as recurrent networks and readers of text often have it.
    #[arg(long)]
    pub positions_first: bool,
    /// Start of the target: the multiplier, with the sign that makes positive relevance speak for the target, or its
    /// own value.
    #[arg(long, value_enum, default_value = "one")]
    pub start: Start,
    /// Starting relevance.
    #[arg(long, value_name = "F", default_value = "100", value_parser = finite, allow_hyphen_values = true)]
    pub multiplier: f64,
    /// Scale the magnitudes of each row's starting relevance to this sum; later layers are never rescaled.
    #[arg(long, value_name = "F", value_parser = positive_number, allow_hyphen_values = true,
          conflicts_with = "multiplier")]
    pub scaler: Option<f64>,
    /// What the output means; it is refused when it is something else.
    #[arg(long, value_enum)]
    pub task: Option<Task>,
    /// Explain the pixels above this value, each with its share [default of masks of one class: 0.5].
    #[arg(long, value_name = "F", value_parser = finite, allow_hyphen_values = true)]
    pub threshold: Option<f64>,
    /// What is explained of a segmentation or a detection.
    #[command(flatten)]
    pub scene: SceneArgs,
}

/// A target and what it is called in results.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// As it is written on the command line; `topK` is `top1`, `top2`, ….
    pub name: String,
    /// What it is to the runtime.
    pub target: SeedTarget,
}

impl Named {
    /// Says of pixels where they are: the region, and where the classes stand.
    pub fn place(&mut self, within: Option<Region>, last: bool) {
        if let SeedTarget::Pixels(pixels) = &mut self.target {
            (pixels.region, pixels.class_last) = (within, last);
        }
    }
}

impl TargetArgs {
    /// Refuses what no class name could mend, before the model is read.
    ///
    /// # Errors
    /// As [`TargetArgs::targets`].
    pub fn check(&self) -> anyhow::Result<()> {
        self.find(None).map(|_| ())
    }

    /// The targets of the run, at least one.
    ///
    /// # Errors
    /// For a combination in which a flag would have no effect, and a target or class that there is not.
    pub fn targets(&self, classes: &Classes) -> anyhow::Result<Vec<Named>> {
        self.find(Some(classes))
    }

    fn find(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<Named>> {
        if self.detects() {
            return self.boxes(classes);
        }
        if let Some(flag) = self.scene.of_boxes().first() {
            return Err(usage(format!("`{flag}` is of a box: give `--box N`, or `--box best`")));
        }
        match (self.task, self.threshold, self.scene.region) {
            (Some(Task::Segmentation | Task::BinarySegmentation), ..) | (None, _, Some(_)) => {
                self.pixels(classes)
            }
            (None, Some(_), _) => self.pixels(classes),
            (Some(task), Some(_), _) => {
                let task = task.seed().name();
                Err(usage(format!(
                    "`--threshold` chooses the pixels of a segmentation: it has no effect on {task}"
                )))
            }
            _ => self.units(classes),
        }
    }

    /// Returns whether units on the last axis are explained, not pixels or boxes.
    pub fn picks_units(&self) -> bool {
        let pixels = matches!(self.task, Some(Task::Segmentation | Task::BinarySegmentation));
        !(self.detects() || pixels || self.threshold.is_some() || self.scene.region.is_some())
    }

    /// Whether a box is explained.
    pub fn detects(&self) -> bool {
        self.scene.boxes.is_some() || self.task == Some(Task::Detection)
    }

    /// What the output means, where a flag says so.
    pub fn task(&self) -> Option<SeedTask> {
        match self.task {
            Some(task) => Some(task.seed()),
            None if self.detects() => Some(SeedTask::Detection),
            None if self.scene.region.is_some() => Some(SeedTask::Segmentation),
            None => None,
        }
    }

    /// What a row starts with when its units start with one.
    pub fn total(&self) -> f64 {
        self.scaler.unwrap_or(self.multiplier)
    }
}

/// Which output units get the starting relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The largest of each batch row.
    Argmax,
    /// The one that so many are larger than, of each batch row.
    Rank(usize),
    /// One, by index on the last axis; negative from the end.
    Index(i64),
    /// The first minus the second.
    Difference(i64, i64),
    /// Every one.
    All,
}

impl Target {
    /// What it is to the runtime.
    pub fn seed(self) -> SeedTarget {
        match self {
            Target::Argmax => SeedTarget::Argmax,
            Target::Rank(rank) => SeedTarget::Rank(rank),
            Target::Index(n) => SeedTarget::Index(n),
            Target::Difference(a, b) => SeedTarget::Difference(a, b),
            Target::All => SeedTarget::All,
        }
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Target, String> {
        let index = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<i64>().ok()).flatten();
        let parsed = match text {
            "argmax" => Some(Target::Argmax),
            "all" => Some(Target::All),
            _ => match text.split_once('-') {
                None => index(text).map(Target::Index),
                Some(("", n)) => index(n).map(|n| Target::Index(-n)),
                Some((a, b)) => index(a).zip(index(b)).map(|(a, b)| Target::Difference(a, b)),
            },
        };
        parsed.ok_or_else(|| format!("`{text}` is no target"))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Argmax => f.write_str("argmax"),
            Target::Rank(rank) => write!(f, "top{}", rank + 1),
            Target::Index(n) => write!(f, "{n}"),
            Target::Difference(a, b) => write!(f, "{a}-{b}"),
            Target::All => f.write_str("all"),
        }
    }
}

/// A sequence position, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One; negative from the end.
    At(i64),
    /// Each with its own target.
    All,
}

impl Place {
    /// What it is to the runtime.
    pub fn seed(self) -> Position {
        match self {
            Place::At(i) => Position::At(i),
            Place::All => Position::All,
        }
    }
}

impl FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "all" => Ok(Place::All),
            n => n.parse().map(Place::At).map_err(|_| format!("`{n}` is no position; 0, -1 and all are")),
        }
    }
}

/// What the target starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// One, times the multiplier.
    One,
    /// Its own value; the multiplier is ignored.
    Value,
}

impl Start {
    /// What it is to the runtime.
    pub fn seed(self) -> SeedStart {
        match self {
            Start::One => SeedStart::One,
            Start::Value => SeedStart::Value,
        }
    }
}

/// What a model's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// One unit, or one of two classes: [batch, unit].
    #[value(alias = "binary")]
    BinaryClassification,
    /// One unit a class: [batch, unit].
    #[value(alias = "multi-class-classification")]
    MultiClass,
    /// Coordinates: [batch, unit]; all of them unless `--target` says otherwise.
    BboxRegression,
    /// A value for each pixel: [batch, channel, row, column]; those above `--threshold`.
    BinarySegmentation,
    /// A value for each pixel and class: [batch, class, row, column], or [batch, row, column]; the pixels of `--class`, within
    /// `--region`.
    Segmentation,
    /// Boxes with scores; the score of `--box` for `--class`, or its `--coordinate`.
    Detection,
    /// One unit a token: [batch, position, unit].
    Generation,
}

impl Task {
    /// What it is to the runtime.
    pub fn seed(self) -> SeedTask {
        match self {
            Task::BinaryClassification => SeedTask::BinaryClassification,
            Task::MultiClass => SeedTask::MultiClass,
            Task::BboxRegression => SeedTask::BboxRegression,
            Task::BinarySegmentation => SeedTask::BinarySegmentation,
            Task::Segmentation => SeedTask::Segmentation,
            Task::Detection => SeedTask::Detection,
            Task::Generation => SeedTask::Generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, target) in [
            ("argmax", Target::Argmax),
            ("all", Target::All),
            ("0", Target::Index(0)),
            ("-3", Target::Index(-3)),
            ("3-5", Target::Difference(3, 5)),
        ] {
            assert_eq!(text.parse(), Ok(target));
            assert_eq!(target.to_string(), text);
        }
        for text in ["", "-", "3-", "--3", "3--5", "+3", "1.5", "99999999999999999999"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn places() {
        assert_eq!("-2".parse(), Ok(Place::At(-2)));
        assert_eq!("all".parse(), Ok(Place::All));
        assert!("last".parse::<Place>().is_err());
    }
}
