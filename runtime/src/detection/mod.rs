//! Detections: boxes with their scores, read from the outputs of a detector.

mod read;

#[cfg(test)]
mod tests;

use crate::error::RuntimeError;
use crate::request::{BoxLayout, BoxSelector, BoxTarget};
use crate::seed::Group;

/// Intersection over union above which two boxes show the same object.
pub const SAME_OBJECT: f64 = 0.5;

/// A box with one of its classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detected {
    /// Index of the box in its row, from 0.
    pub index: usize,
    /// Index of the class, or the label of the box.
    pub class: i64,
    /// Score of the class; the product of both scores for a layout that also scores the box.
    pub score: f64,
    /// Coordinates as in the model's output: centre and size, or corners ([`Detector::corners`](crate::Detector::corners)).
    pub coordinates: [f64; 4],
}

/// The boxes in the outputs of a detector.
#[derive(Clone, Debug)]
pub struct Detections {
    layout: BoxLayout,
    /// Name and shape of the output with the scores, for messages.
    output: (String, Vec<usize>),
    /// Name of the output with the labels.
    labels_output: String,
    /// Number of rows of the batch.
    rows: usize,
    /// Number of boxes of each row.
    count: usize,
    /// Number of scores of each box.
    classes: usize,
    /// True if the last class stands for the absence of an object.
    no_object: bool,
    /// True if coordinates are corners instead of centre and size.
    corners: bool,
    /// Coordinates, `[row, box]`.
    coordinates: Vec<[f64; 4]>,
    /// Scores, `[row, box, class]`.
    scores: Vec<f64>,
    /// Labels, `[row, box]`, for a layout that has them.
    labels: Option<Vec<i64>>,
}

impl Detections {
    /// Returns the layout of the boxes.
    pub fn layout(&self) -> BoxLayout {
        self.layout
    }

    /// Returns the number of rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of boxes of each row.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the number of scores of each box; 1 for a layout with labels.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns whether the last class stands for the absence of an object.
    pub fn no_object(&self) -> bool {
        self.no_object
    }

    /// Iterates over the boxes of a row, each with its best class; over none for a row that is out of range.
    pub fn boxes(&self, row: usize) -> impl Iterator<Item = Detected> + '_ {
        (0..if row < self.rows { self.count } else { 0 }).map(move |index| self.best(row, index))
    }

    /// Returns the box and class that a target selects in a row.
    ///
    /// # Errors
    /// When the box, its rank or the class is out of range, or the box has another label.
    pub(crate) fn find(&self, row: usize, target: &BoxTarget) -> Result<Detected, RuntimeError> {
        let (output, shape) = self.output.clone();
        let class = target.class.map(|class| match self.labels {
            None => self.class(class),
            Some(_) => Ok(class),
        });
        let class = class.transpose()?;
        let index = match target.selector {
            BoxSelector::Index(index) if index < self.count => index,
            BoxSelector::Index(index) => {
                return Err(RuntimeError::BoxOutOfRange { index, count: self.count, output, shape });
            }
            BoxSelector::Rank(rank) => {
                let mut all: Vec<Detected> = match class {
                    None => self.boxes(row).collect(),
                    Some(class) => (0..self.count).filter_map(|n| self.of_class(row, n, class)).collect(),
                };
                all.sort_by(|a, b| sort_key(b.score).total_cmp(&sort_key(a.score)));
                return self.suppressed(all).nth(rank).ok_or_else(|| self.too_few_boxes(row, rank, class));
            }
        };
        let Some(class) = class else { return Ok(self.best(row, index)) };
        self.of_class(row, index, class).ok_or_else(|| {
            let label = self.best(row, index).class;
            let output = self.labels_output.clone();
            RuntimeError::LabelMismatch { index, label, class, output, shape }
        })
    }

    /// Iterates over boxes without those that show the same object as an earlier one, as in non-maximum suppression.
    fn suppressed(&self, all: Vec<Detected>) -> impl Iterator<Item = Detected> {
        let (mut earlier, corners): (Vec<[f64; 4]>, bool) = (vec![], self.corners);
        all.into_iter().filter(move |detected| {
            let edges = edges(detected.coordinates, corners);
            let is_new = earlier.iter().all(|other| overlap(*other, edges) <= SAME_OBJECT);
            if is_new {
                earlier.push(edges);
            }
            is_new
        })
    }

    /// Returns the error for a rank that the boxes of a row do not reach.
    fn too_few_boxes(&self, row: usize, rank: usize, class: Option<i64>) -> RuntimeError {
        let mut labels: Vec<i64> = self.labels.iter().flatten().copied().collect();
        labels.sort_unstable();
        labels.dedup();
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let (output, shape) = self.output.clone();
        let of_class = class.map(|c| format!(" of class {c}")).unwrap_or_default();
        let actual =
            if labels.is_empty() { String::new() } else { format!(", found classes {}", labels.join(", ")) };
        let requested = format!("{}{of_class}", rank + 1);
        RuntimeError::TooFewBoxes { requested, row, output, shape, actual }
    }

    /// Resolves the index of a class, where a negative one counts from the end.
    fn class(&self, class: i64) -> Result<i64, RuntimeError> {
        let n = self.classes as i64;
        let at = if class < 0 { class.saturating_add(n) } else { class };
        let (output, shape) = self.output.clone();
        if (0..n).contains(&at) {
            return Ok(at);
        }
        Err(RuntimeError::Class { class, classes: self.classes, output, shape })
    }

    /// Returns a box with a class; `None` if its label is another one.
    fn of_class(&self, row: usize, index: usize, class: i64) -> Option<Detected> {
        let at = row * self.count + index;
        let score = match &self.labels {
            Some(labels) if labels[at] != class => return None,
            Some(_) => self.scores[at],
            None => *self.scores.get(at * self.classes + usize::try_from(class).ok()?)?,
        };
        Some(Detected { index, class, score, coordinates: self.coordinates[at] })
    }

    /// Returns a box with the class of its largest score.
    fn best(&self, row: usize, index: usize) -> Detected {
        let at = row * self.count + index;
        let scores = &self.scores[at * self.classes..(at + 1) * self.classes];
        let scores = if self.no_object { &scores[..scores.len() - 1] } else { scores };
        let largest = (0..scores.len())
            .fold(0, |best, i| if sort_key(scores[i]) > sort_key(scores[best]) { i } else { best });
        let class = self.labels.as_ref().map_or(largest as i64, |labels| labels[at]);
        Detected { index, class, score: scores[largest], coordinates: self.coordinates[at] }
    }

    /// Returns the flat index of a value of a box in a single output: coordinates, then scores or label.
    fn element(&self, row: usize, index: usize, slot: usize) -> usize {
        match self.layout {
            BoxLayout::Yolo => (row * (4 + self.classes) + slot) * self.count + index,
            BoxLayout::YoloV5 => (row * self.count + index) * (5 + self.classes) + slot,
            BoxLayout::EndToEnd => (row * self.count + index) * 6 + slot,
            _ => (row * self.count + index) * (4 + self.classes) + slot,
        }
    }

    /// Returns the distance between the values of a box in the output.
    fn stride(&self) -> usize {
        if self.layout == BoxLayout::Yolo { self.count } else { 1 }
    }

    /// Returns the coordinates of a box as units of the output that holds them.
    pub(crate) fn coordinates_of(&self, row: usize, index: usize) -> Group {
        let first = match self.layout {
            BoxLayout::Detr | BoxLayout::List => (row * self.count + index) * 4,
            BoxLayout::Yolo | BoxLayout::YoloRows | BoxLayout::YoloV5 | BoxLayout::EndToEnd => {
                self.element(row, index, 0)
            }
        };
        Group { first, stride: self.stride(), count: 4 }
    }

    /// Returns the scores of a box as units of the output that holds them.
    pub(crate) fn scores_of(&self, row: usize, index: usize) -> Group {
        let first = match self.layout {
            BoxLayout::Detr | BoxLayout::List => (row * self.count + index) * self.classes,
            BoxLayout::YoloV5 => self.element(row, index, 5),
            BoxLayout::Yolo | BoxLayout::YoloRows | BoxLayout::EndToEnd => self.element(row, index, 4),
        };
        Group { first, stride: self.stride(), count: self.classes }
    }

    /// Returns the index of a class in [`Detections::scores_of`].
    pub(crate) fn unit_of(&self, class: i64) -> usize {
        if self.labels.is_some() { 0 } else { class as usize }
    }
}

/// Returns the left, top, right and bottom edge of a box.
fn edges([a, b, c, d]: [f64; 4], corners: bool) -> [f64; 4] {
    if corners { [a, b, c, d] } else { [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0] }
}

/// Returns the intersection over union of two rectangles `[left, top, right, bottom]`; 0 if both are empty.
pub fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let covered = area(a) + area(b) - both;
    if covered > 0.0 { both / covered } else { 0.0 }
}

/// Returns a key that sorts NaN below every score and makes -0.0 equal to 0.0.
fn sort_key(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
}
