//! What a detector found: boxes with their scores, read from its outputs.

mod read;

#[cfg(test)]
mod tests;

use crate::error::RuntimeError;
use crate::request::{BoxLayout, BoxTarget, WhichBox};

/// The overlap above which two boxes are of one object.
pub const SAME_OBJECT: f64 = 0.5;

/// A box, and a class of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detected {
    /// Its number among the boxes of its row.
    pub number: usize,
    /// The class, or the label of the box.
    pub class: i64,
    /// The score of the class: with a score of the box, the product of both.
    pub score: f64,
    /// The coordinates as the model gives them.
    pub coordinates: [f64; 4],
}

/// The boxes of a detector's outputs.
#[derive(Clone, Debug)]
pub struct Detections {
    layout: BoxLayout,
    /// The output with the scores and its shape, for messages.
    output: (String, Vec<usize>),
    /// The output with the labels.
    labelled: String,
    rows: usize,
    count: usize,
    classes: usize,
    no_object: bool,
    corners: bool,
    coordinates: Vec<[f64; 4]>,
    /// Of each row, box and class.
    scores: Vec<f64>,
    labels: Option<Vec<i64>>,
}

impl Detections {
    /// How the outputs were read.
    pub fn layout(&self) -> BoxLayout {
        self.layout
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Boxes of each row.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Classes of each box; 1 where a label says which.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether the last class means that there is no object.
    pub fn no_object(&self) -> bool {
        self.no_object
    }

    /// The boxes of a row, each with its best class.
    pub fn boxes(&self, row: usize) -> impl Iterator<Item = Detected> + '_ {
        (0..if row < self.rows { self.count } else { 0 }).map(move |number| self.best(row, number))
    }

    /// The box and class that a target means in a row.
    ///
    /// # Errors
    /// For a box or a class that there is not.
    pub(crate) fn find(&self, row: usize, target: &BoxTarget) -> Result<Detected, RuntimeError> {
        let (output, shape) = self.output.clone();
        let class = target.class.map(|class| match self.labels {
            None => self.class(class),
            Some(_) => Ok(class),
        });
        let class = class.transpose()?;
        let number = match target.which {
            WhichBox::Number(number) if number < self.count => number,
            WhichBox::Number(number) => {
                return Err(RuntimeError::NoSuchBox { number, count: self.count, output, shape });
            }
            WhichBox::Rank(rank) => {
                let mut all: Vec<Detected> = match class {
                    None => self.boxes(row).collect(),
                    Some(class) => (0..self.count).filter_map(|n| self.of_class(row, n, class)).collect(),
                };
                all.sort_by(|a, b| known(b.score).total_cmp(&known(a.score)));
                return self.objects(all).nth(rank).ok_or_else(|| self.too_few(row, rank, class));
            }
        };
        let Some(class) = class else { return Ok(self.best(row, number)) };
        self.of_class(row, number, class).ok_or_else(|| {
            let label = self.best(row, number).class;
            let output = self.labelled.clone();
            RuntimeError::Label { number, label, class, output, shape }
        })
    }

    /// Boxes in order, but for those of the same object as an earlier one.
    fn objects(&self, all: Vec<Detected>) -> impl Iterator<Item = Detected> {
        let (mut kept, corners): (Vec<[f64; 4]>, bool) = (vec![], self.corners);
        all.into_iter().filter(move |detected| {
            let edges = edges(detected.coordinates, corners);
            let is_new = kept.iter().all(|other| overlap(*other, edges) <= SAME_OBJECT);
            if is_new {
                kept.push(edges);
            }
            is_new
        })
    }

    fn too_few(&self, row: usize, rank: usize, class: Option<i64>) -> RuntimeError {
        let mut labels: Vec<i64> = self.labels.iter().flatten().copied().collect();
        labels.sort_unstable();
        labels.dedup();
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let (output, shape) = self.output.clone();
        let of = class.map(|c| format!(" of class {c}")).unwrap_or_default();
        let found =
            if labels.is_empty() { String::new() } else { format!(", found classes {}", labels.join(", ")) };
        RuntimeError::NoBox { wanted: format!("{}{of}", rank + 1), row, output, shape, found }
    }

    /// A class by number; negative counts from the end.
    fn class(&self, class: i64) -> Result<i64, RuntimeError> {
        let n = self.classes as i64;
        let at = if class < 0 { class.saturating_add(n) } else { class };
        let (output, shape) = self.output.clone();
        if (0..n).contains(&at) {
            return Ok(at);
        }
        Err(RuntimeError::Class { class, classes: self.classes, output, shape })
    }

    /// A box as one of a class; `None` where its label is another.
    fn of_class(&self, row: usize, number: usize, class: i64) -> Option<Detected> {
        let at = row * self.count + number;
        let score = match &self.labels {
            Some(labels) if labels[at] != class => return None,
            Some(_) => self.scores[at],
            None => *self.scores.get(at * self.classes + usize::try_from(class).ok()?)?,
        };
        Some(Detected { number, class, score, coordinates: self.coordinates[at] })
    }

    fn best(&self, row: usize, number: usize) -> Detected {
        let at = row * self.count + number;
        let own = &self.scores[at * self.classes..(at + 1) * self.classes];
        let own = if self.no_object { &own[..own.len() - 1] } else { own };
        let place = (0..own.len()).fold(0, |best, i| if known(own[i]) > known(own[best]) { i } else { best });
        let class = self.labels.as_ref().map_or(place as i64, |labels| labels[at]);
        Detected { number, class, score: own[place], coordinates: self.coordinates[at] }
    }

    /// Where a slot of a box stands in the one output.
    fn slot(&self, row: usize, number: usize, slot: usize) -> usize {
        match self.layout {
            BoxLayout::Yolo => (row * (4 + self.classes) + slot) * self.count + number,
            BoxLayout::YoloV5 => (row * self.count + number) * (5 + self.classes) + slot,
            BoxLayout::EndToEnd => (row * self.count + number) * 6 + slot,
            _ => (row * self.count + number) * (4 + self.classes) + slot,
        }
    }

    /// Where the units that compete stand in the output that is explained, the scores of a box's classes or its coordinates:
    /// the first, the distance between two, and how many.
    pub(crate) fn units(&self, row: usize, number: usize, coordinates: bool) -> (usize, usize, usize) {
        let at = row * self.count + number;
        let stride = if self.layout == BoxLayout::Yolo { self.count } else { 1 };
        match (self.layout, coordinates) {
            (BoxLayout::Detr | BoxLayout::List, true) => (at * 4, 1, 4),
            (BoxLayout::Detr | BoxLayout::List, false) => (at * self.classes, 1, self.classes),
            (_, true) => (self.slot(row, number, 0), stride, 4),
            (BoxLayout::YoloV5, false) => (self.slot(row, number, 5), 1, self.classes),
            (_, false) => (self.slot(row, number, 4), stride, self.classes),
        }
    }

    /// Where a class stands among them.
    pub(crate) fn unit_of(&self, class: i64) -> usize {
        if self.labels.is_some() { 0 } else { class as usize }
    }
}

/// Left, top, right and bottom edge of a box.
fn edges([a, b, c, d]: [f64; 4], corners: bool) -> [f64; 4] {
    if corners { [a, b, c, d] } else { [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0] }
}

/// Intersection over union of two rectangles: left, top, right, bottom. 0 where they cover nothing.
pub fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let covered = area(a) + area(b) - both;
    if covered > 0.0 { both / covered } else { 0.0 }
}

/// What is not a number is below everything.
fn known(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
}
