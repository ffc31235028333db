//! Translation of flags into targets: pixels, boxes or units.

use std::path::Path;

use dlbc_runtime::{BoxSelector, BoxTarget, Pixels, Target, Task};

use super::scene::box_name;
use super::targets::TargetArgs;
use crate::cli::exit::{Code, advised, usage};
use dlbc::classes::Classes;
use dlbc::detector::COORDINATES;
use dlbc::target::{self, MAX_TARGETS, NamedTarget};

impl TargetArgs {
    /// Refuses the flags of units for targets that are pixels or boxes; `what` names the target in the message.
    fn no_units(&self, what: &str) -> anyhow::Result<()> {
        let flags = [
            ("--target", self.target.is_some()),
            ("--position", self.position.is_some()),
            ("--positions-first", self.positions_first),
        ];
        match flags.into_iter().find(|(_, is_set)| *is_set) {
            Some((flag, _)) => Err(usage(format!("`{flag}` has no effect where {what}"))),
            None => Ok(()),
        }
    }

    /// Returns the classes of `--class`, or a single `None` without the flag.
    fn classes(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<Option<i64>>> {
        let classes = target::classes(&self.scene.class, classes)?;
        if let Some((_, twice)) = classes.iter().enumerate().find(|(i, c)| classes[..*i].contains(c)) {
            return Err(usage(format!("invalid `--class`: class {twice} is given twice")));
        }
        if classes.len() > MAX_TARGETS {
            return Err(usage(format!(
                "invalid `--class`: expected at most {MAX_TARGETS} classes, found {}",
                classes.len()
            )));
        }
        Ok(if classes.is_empty() { vec![None] } else { classes.iter().map(|c| Some(*c)).collect() })
    }

    /// Returns the only target of a start from a file: every element of the output.
    ///
    /// # Errors
    /// When a flag selects a target, which the file replaces.
    pub(super) fn elements(&self, file: &Path) -> anyhow::Result<Vec<NamedTarget>> {
        if let Some(flag) = self.first_flag() {
            return Err(usage(format!("`{flag}` has no effect where the start is a file")));
        }
        Ok(vec![NamedTarget { name: file.display().to_string(), target: Target::All }])
    }

    /// Returns the pixel targets of a segmentation. Their region is filled in when the picture is known
    /// ([`NamedTarget::set_mask`]).
    pub(super) fn pixels(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<NamedTarget>> {
        self.no_units("pixels are explained: a class, a region, or what is above a threshold")?;
        let binary = self.task == Some(Task::BinarySegmentation);
        let above = self.threshold.or(binary.then_some(0.5));
        let region = self.scene.region.map(|r| format!(" in {r}")).unwrap_or_default();
        let whole = self.scene.class.is_empty() && self.scene.segmentation_flags().is_empty();
        if let (Some(threshold), true) = (above, whole) {
            let target = Target::Above(threshold);
            return Ok(vec![NamedTarget { name: format!("above {threshold}"), target }]);
        }
        let named = |class: Option<i64>| {
            let name = match (class, above) {
                (Some(class), None) => format!("class {class}{region}"),
                (Some(class), Some(above)) => format!("class {class} above {above}{region}"),
                (None, Some(above)) => format!("above {above}{region}"),
                (None, None) => format!("mask{region}"),
            };
            let target = Target::Pixels(Pixels { class, above, region: None, class_last: false });
            NamedTarget { name, target }
        };
        Ok(self.classes(classes)?.into_iter().map(named).collect())
    }

    /// Returns the box targets of a detection: every box with every class.
    pub(super) fn boxes(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<NamedTarget>> {
        self.no_units("a box is explained")?;
        let flags = [("--threshold", self.threshold.is_some())];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag);
        if let Some(flag) = flags.chain(self.scene.segmentation_flags()).next() {
            return Err(usage(format!(
                "`{flag}` applies to segmentations only: it has no effect where a box is explained"
            )));
        }
        if let Some(task) = self.task.filter(|task| *task != Task::Detection) {
            return Err(usage(format!("`--box` applies to task detection only, found task {}", task.name())));
        }
        let coordinate = self.scene.coordinate;
        let best = [BoxSelector::Rank(0)];
        let boxes = self.scene.boxes.as_ref().map_or(&best[..], |b| &b.0);
        let mut targets = vec![];
        for selector in boxes {
            for class in self.classes(classes)? {
                let class_suffix = class.map(|c| format!(" class {c}")).unwrap_or_default();
                let coordinate_suffix = match coordinate {
                    None => String::new(),
                    Some(c) if c.corners == Some(true) => format!(" {}", COORDINATES[1][c.index]),
                    Some(c) if c.corners == Some(false) => format!(" {}", COORDINATES[0][c.index]),
                    Some(c) => format!(" coordinate {}", c.index),
                };
                let name = format!("box {}{class_suffix}{coordinate_suffix}", box_name(*selector));
                let coordinate = coordinate.map(|c| c.index);
                targets.push(NamedTarget {
                    name,
                    target: Target::Box(BoxTarget { selector: *selector, class, coordinate }),
                });
            }
        }
        if targets.len() > MAX_TARGETS {
            return Err(usage(format!(
                "too many targets: expected at most {MAX_TARGETS}, found {}",
                targets.len()
            )));
        }
        Ok(targets)
    }

    /// Returns the targets that are units on the last axis of the output.
    pub(super) fn units(&self, classes: Option<&Classes>) -> anyhow::Result<Vec<NamedTarget>> {
        if let Some(flag) = self.scene.segmentation_flags().first() {
            let message = format!("`{flag}` applies to segmentations only");
            return Err(advised(Code::Usage, message, "add `--task segmentation`"));
        }
        if !self.scene.class.is_empty() {
            return Err(advised(
                Code::Usage,
                "`--class` applies to pixels and boxes only",
                "add `--task segmentation` or `--box N`, or choose a unit with `--target`",
            ));
        }
        let by_task = match self.task {
            Some(Task::BboxRegression) => Target::All,
            _ => Target::Argmax,
        };
        match &self.target {
            Some(text) => Ok(target::units(text, classes)?),
            None => Ok(vec![NamedTarget { name: by_task.to_string(), target: by_task }]),
        }
    }
}
