//! Explanations together with the names of targets and classes.

use dlbc_ops::program::Info;
use dlbc_runtime::{Detected, Explanation, Pixels, Target};

use crate::answer::is_probability;
use crate::classes::Classes;
use crate::target::NamedTarget;
use crate::wording::number;

/// Explanation with the names of its target and of the classes.
pub struct Explained {
    /// Target with its name in results.
    pub target: NamedTarget,
    /// Relevance and outputs of a run with this target.
    pub explanation: Explanation,
    /// Names of the units of the explained output.
    pub classes: Classes,
}

impl Explained {
    /// Returns the target of a row in words: `argmax 1 malignant`, `3 cat minus 5 dog`.
    pub fn title(&self, row: usize) -> String {
        let units = &self.explanation.targets;
        let name = &self.target.name;
        let target = match (self.target.target, units.get(row).or(units.first())) {
            (Target::Box(_), _) => match self.explanation.boxes.get(row) {
                Some(detected) => format!("{name}: {}", self.describe_box(detected)),
                None => name.clone(),
            },
            (Target::Pixels(Pixels { class: None, above: None, .. }), Some(class)) => {
                format!("{name}, class {}", self.classes.class_title(*class))
            }
            (Target::Argmax | Target::Rank(_), Some(unit)) => format!("{name} {}", self.classes.title(*unit)),
            (Target::Difference(a, b), _) => {
                format!("{} minus {}", self.classes.title(a), self.classes.title(b))
            }
            (Target::Index(_), Some(unit)) => self.classes.title(*unit),
            _ => name.clone(),
        };
        match self.explanation.opposing {
            Some(_) => format!("{target} minus its rivals"),
            None => target,
        }
    }

    /// Describes a box by number, class and score.
    fn describe_box(&self, detected: &Detected) -> String {
        let class = self.classes.class_title(detected.class);
        format!("box {}, class {class}, score {}", detected.index, number(detected.score, 3))
    }

    /// Returns the class name of each row's target. Empty for a difference, and when no row's class has a name.
    pub fn target_names(&self) -> Vec<Option<String>> {
        let explanation = &self.explanation;
        let names: Vec<Option<&str>> = match self.target.target {
            Target::Box(_) => {
                explanation.boxes.iter().map(|detected| self.classes.class_name(detected.class)).collect()
            }
            Target::Difference(..) => vec![],
            Target::Pixels(_) => explanation.targets.iter().map(|c| self.classes.class_name(*c)).collect(),
            _ => explanation.targets.iter().map(|unit| self.classes.name(*unit)).collect(),
        };
        let any_named = names.iter().any(Option::is_some);
        if any_named { names.into_iter().map(|n| n.map(str::to_string)).collect() } else { vec![] }
    }

    /// Returns the class name of the target if it is the same for all rows; for a difference the names of both classes.
    pub fn target_name(&self) -> Option<String> {
        if let Target::Difference(a, b) = self.target.target {
            return Some(format!("{} minus {}", self.classes.name(a)?, self.classes.name(b)?));
        }
        let names = self.target_names();
        let first = names.first()?;
        if names.iter().all(|n| n == first) { first.clone() } else { None }
    }

    /// Describes the target of several rows: the common unit, or the choice that each row makes.
    pub fn over_rows(&self) -> String {
        let units = &self.explanation.targets;
        let is_common = units.first().is_some_and(|first| units.iter().all(|u| u == first));
        match is_common || units.is_empty() {
            true => self.title(0),
            false => format!("{} of each row", self.target.name),
        }
    }

    /// Returns the probability of a row's target; `None` if the explained output does not hold probabilities.
    pub fn probability(&self, info: &Info, row: usize) -> Option<f64> {
        let output = self.explanation.outputs.get(&info.explained)?;
        if self.explanation.targets.len() != output.dims().first().copied()? || output.dims().len() != 2 {
            return None;
        }
        let unit = usize::try_from(*self.explanation.targets.get(row)?).ok()?;
        let values = output.to_f64();
        let value = values.get(row * output.dims()[1] + unit)?;
        is_probability(info, &info.explained, output).then_some(*value)
    }
}
