//! What is explained, and what it starts with.

use std::path::PathBuf;

use clap::Args;
use dlbc_runtime::{Position, Start, Task};

use super::scene::SceneArgs;
use super::values::{finite, positive_number};
use super::words::word;
use crate::cli::exit::{Code, advised, usage};
use dlbc::classes::Classes;
use dlbc::detector::DetectorHints;
use dlbc::target::NamedTarget;

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
    #[arg(long, value_name = "N", value_parser = position, allow_hyphen_values = true)]
    pub position: Option<Position>,
    /// The output is [position, batch, unit], as recurrent networks and readers of text often have it.
    #[arg(long)]
    pub positions_first: bool,
    /// Start of the target: the multiplier, with the sign that makes positive relevance speak for the target, or its
    /// own value.
    #[arg(long, value_parser = word::<Start>(), default_value = "one")]
    pub start: Start,
    /// Starting relevance.
    #[arg(long, value_name = "F", default_value = "100", value_parser = finite, allow_hyphen_values = true)]
    pub multiplier: f64,
    /// Scale the magnitudes of each row's starting relevance to this sum; later layers are never rescaled.
    #[arg(long, value_name = "F", value_parser = positive_number, allow_hyphen_values = true,
          conflicts_with = "multiplier")]
    pub scaler: Option<f64>,
    /// What the output means; it is refused when it is something else.
    #[arg(long, value_parser = word::<Task>())]
    pub task: Option<Task>,
    /// Explain the pixels above this value, each with its share [default of masks of one class: 0.5].
    #[arg(long, value_name = "F", value_parser = finite, allow_hyphen_values = true)]
    pub threshold: Option<f64>,
    /// What is explained of a segmentation or a detection.
    #[command(flatten)]
    pub scene: SceneArgs,
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
    pub fn targets(&self, classes: &Classes) -> anyhow::Result<Vec<NamedTarget>> {
        self.find(Some(classes))
    }

    fn find(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<NamedTarget>> {
        if self.detects() {
            return self.boxes(classes);
        }
        if let Some(flag) = self.scene.of_boxes().first() {
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

    /// Whether a box is explained.
    pub fn detects(&self) -> bool {
        self.scene.boxes.is_some() || self.task == Some(Task::Detection)
    }

    /// What the output means, where a flag says so.
    pub fn task(&self) -> Option<Task> {
        match self.task {
            Some(task) => Some(task),
            None if self.detects() => Some(Task::Detection),
            None if self.scene.region.is_some() => Some(Task::Segmentation),
            None => None,
        }
    }

    /// Reading of the outputs of a detector, as far as flags say it.
    pub fn detector(&self) -> DetectorHints {
        DetectorHints {
            layout: self.scene.box_layout,
            outputs: self.scene.box_outputs.clone(),
            format: self.scene.box_format,
            no_object: self.scene.no_object,
            coordinate: self.scene.coordinate,
        }
    }

    /// What a row starts with when its units start with one.
    pub fn total(&self) -> f64 {
        self.scaler.unwrap_or(self.multiplier)
    }
}

/// Parser of a sequence position, or all.
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
