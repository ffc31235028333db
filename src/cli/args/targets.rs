//! Flags of the target and its starting relevance.

use std::path::PathBuf;

use clap::Args;
use dlbc_runtime::{Position, SeedValue, Task};

use super::scene::SceneArgs;
use super::start::{Start, start};
use super::values::{finite, positive_number};
use super::words::word;
use crate::cli::exit::{Code, advised, usage};
use dlbc::classes::Classes;
use dlbc::detector::DetectorHints;
use dlbc::target::NamedTarget;

/// Multiplier of the starting relevance unless a flag sets it.
const MULTIPLIER: f64 = 100.0;

/// Target and its starting relevance.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Output units that get the starting relevance: argmax, an index (-1 is the last), a class name, a difference A-B
    /// of either, all; several separated by commas, and topK for the K largest, share one run [default: argmax, or the
    /// target of the task].
    #[arg(long, value_name = "TARGET,...", allow_hyphen_values = true)]
    pub target: Option<String>,
    /// File with the class names, one a line; also a JSON list or dictionary, or a config.json with `id2label` [default: the
    /// names in the model's metadata, or in a classes.txt beside it].
    #[arg(long = "classes", value_name = "FILE")]
    pub class_names: Option<PathBuf>,
    /// Sequence position of the target, or all, for outputs of shape [batch, position, unit] [default: the last that the
    /// mask shows].
    #[arg(long, value_name = "N", value_parser = position, allow_hyphen_values = true)]
    pub position: Option<Position>,
    /// Read the output as [position, batch, unit], the order of many recurrent networks and text recognisers.
    #[arg(long)]
    pub positions_first: bool,
    /// Starting relevance of the target: one, the multiplier, signed so that positive relevance supports the target; value,
    /// the target's own; or a .npy file with that of each element of the output, in place of a target [default: one; trees start
    /// with the raw score].
    #[arg(long, value_name = "one|value|FILE.npy", value_parser = start)]
    start: Option<Start>,
    /// Multiplier of the starting relevance [default: 100].
    #[arg(long, value_name = "F", value_parser = finite, allow_hyphen_values = true)]
    multiplier: Option<f64>,
    /// Scale the magnitudes of each row's starting relevance to this sum; later layers are never rescaled.
    #[arg(long, value_name = "F", value_parser = positive_number, allow_hyphen_values = true,
          conflicts_with = "multiplier")]
    pub scaler: Option<f64>,
    /// Meaning of the output; an output that does not fit it is refused.
    #[arg(long, value_parser = word::<Task>())]
    pub task: Option<Task>,
    /// Explain the pixels above this value, each with its share [default of masks of one class: 0.5].
    #[arg(long, value_name = "F", value_parser = finite, allow_hyphen_values = true)]
    pub threshold: Option<f64>,
    /// Targets of a segmentation or a detection.
    #[command(flatten)]
    pub scene: SceneArgs,
}

impl TargetArgs {
    /// Refuses targets that are invalid whatever the class names are, before the model is read.
    ///
    /// # Errors
    /// Fails as [`TargetArgs::targets`] does, but for unknown class names.
    pub fn check(&self) -> anyhow::Result<()> {
        self.find(None).map(|_| ())
    }

    /// Returns the targets of the run, at least one.
    ///
    /// # Errors
    /// Fails if a flag would have no effect, and for an unknown target or class.
    pub fn targets(&self, classes: &Classes) -> anyhow::Result<Vec<NamedTarget>> {
        self.find(Some(classes))
    }

    fn find(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<NamedTarget>> {
        if let Some(file) = self.start().file() {
            return self.elements(file);
        }
        if self.detects() {
            return self.boxes(classes);
        }
        if let Some(flag) = self.scene.detection_flags().first() {
            let message = format!("`{flag}` applies to boxes only");
            return Err(advised(Code::Usage, message, "add `--box N` or `--box best`"));
        }
        match (self.task, self.threshold, self.scene.region) {
            (Some(Task::Segmentation | Task::BinarySegmentation), ..) | (None, _, Some(_)) => {
                self.pixels(classes)
            }
            (None, Some(_), _) => self.pixels(classes),
            (Some(task), Some(_), _) => {
                let task = task.name();
                Err(usage(format!("`--threshold` applies to segmentations only: it has no effect on {task}")))
            }
            _ => self.units(classes),
        }
    }

    /// Returns whether units on the last axis are explained, not pixels or boxes.
    pub fn picks_units(&self) -> bool {
        let pixels = matches!(self.task, Some(Task::Segmentation | Task::BinarySegmentation));
        !(self.detects() || pixels || self.threshold.is_some() || self.scene.region.is_some())
    }

    /// Returns whether a box is explained.
    pub fn detects(&self) -> bool {
        self.scene.boxes.is_some() || self.task == Some(Task::Detection)
    }

    /// Returns the meaning of the output, if flags determine it.
    pub fn task(&self) -> Option<Task> {
        match self.task {
            Some(task) => Some(task),
            None if self.detects() => Some(Task::Detection),
            None if self.scene.region.is_some() => Some(Task::Segmentation),
            None => None,
        }
    }

    /// Returns the hints that flags give about the outputs of a detector.
    pub fn detector(&self) -> DetectorHints {
        DetectorHints {
            layout: self.scene.box_layout,
            outputs: self.scene.box_outputs.clone(),
            format: self.scene.box_format,
            no_object: self.scene.no_object,
            coordinate: self.scene.coordinate,
        }
    }

    /// Returns the starting relevance.
    pub fn start(&self) -> &Start {
        self.start.as_ref().unwrap_or(&Start::Units(SeedValue::One))
    }

    /// Returns the name of the flag of the starting relevance if it is set.
    pub fn start_flag(&self) -> Option<&'static str> {
        self.start.as_ref().map(|_| "--start")
    }

    /// Refuses a starting relevance that Shapley values of trees do not have: they add up to the raw score.
    ///
    /// # Errors
    /// For `--start one`.
    pub fn check_trees(&self) -> anyhow::Result<()> {
        match &self.start {
            Some(Start::Units(SeedValue::One)) => {
                Err(usage("`--start one` does not apply to `treeshap`, whose values add up to the raw score"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the multiplier of the starting relevance.
    pub fn multiplier(&self) -> f64 {
        self.multiplier.unwrap_or(MULTIPLIER)
    }

    /// Returns the sum of a row's starting relevance under `--start one`.
    pub fn total(&self) -> f64 {
        self.scaler.unwrap_or(self.multiplier())
    }

    /// Returns the name of the first flag that selects a target or scales its starting relevance.
    pub fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--target", self.target.is_some()),
            ("--position", self.position.is_some()),
            ("--positions-first", self.positions_first),
            ("--multiplier", self.multiplier.is_some()),
            ("--scaler", self.scaler.is_some()),
            ("--task", self.task.is_some()),
            ("--threshold", self.threshold.is_some()),
            ("--class", !self.scene.class.is_empty()),
        ];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag);
        flags.chain(self.scene.segmentation_flags()).chain(self.scene.detection_flags()).next()
    }
}

/// Parses a sequence position, or `all`.
fn position(text: &str) -> Result<Position, String> {
    match text {
        "all" => Ok(Position::All),
        n => {
            n.parse().map(Position::At).map_err(|_| "expected a position such as 0 or -1, or all".to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        assert_eq!(position("-2"), Ok(Position::At(-2)));
        assert_eq!(position("all"), Ok(Position::All));
        assert!(position("last").is_err());
    }
}
