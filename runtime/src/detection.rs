//! What a detector found: boxes with their scores, read from its outputs.

use dlbc_ops::tensor::Tensor;

use crate::backend::Tensors;
use crate::error::RuntimeError;

/// How boxes stand in a detector's outputs. Sizes: B rows of a batch, N boxes, C classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxLayout {
    /// One output `[B, 4 + C, N]`: four coordinates and a score a class (YOLOv8 and later).
    Yolo,
    /// One output `[B, N, 4 + C]`: the same, a row a box.
    YoloRows,
    /// One output `[B, N, 5 + C]`: four coordinates, a score of the box, a score a class (YOLOv5, YOLOv7, YOLOX).
    YoloV5,
    /// One output `[B, N, 6]`: four coordinates, score, label; what non-maximum suppression within the model leaves.
    EndToEnd,
    /// Two outputs, scores `[B, N, C]` and boxes `[B, N, 4]` (DETR and its kin).
    Detr,
    /// Three outputs, boxes `[N, 4]`, scores `[N]` and labels `[N]` (torchvision), or each with an axis of batch in front.
    List,
}

impl BoxLayout {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BoxLayout::Yolo => "yolo",
            BoxLayout::YoloRows => "yolo-rows",
            BoxLayout::YoloV5 => "yolo-v5",
            BoxLayout::EndToEnd => "end-to-end",
            BoxLayout::Detr => "detr",
            BoxLayout::List => "list",
        }
    }
}

/// The outputs of a detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    /// How they are read; when absent one output, as its shape says, refused where that is not certain.
    pub layout: Option<BoxLayout>,
    /// The output with the scores.
    pub scores: String,
    /// The output with the boxes; the same where there is one.
    pub boxes: String,
    /// The output with the labels, of [`BoxLayout::List`].
    pub labels: Option<String>,
    /// Of [`BoxLayout::Detr`], whether the last class means that there is no object. Scores are probabilities among all
    /// classes then, and that class is none that a box is found for.
    pub no_object: bool,
}

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

/// Which box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichBox {
    /// The one that so many of its row have a greater score than: 0 is the best.
    Rank(usize),
    /// By number.
    Number(usize),
}

/// What is explained of a box: the score of a class, or a coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxTarget {
    /// The box.
    pub which: WhichBox,
    /// The class; the box's greatest when absent.
    pub class: Option<i64>,
    /// The coordinate, 0 to 3, instead of the score.
    pub coordinate: Option<usize>,
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
    coordinates: Vec<[f64; 4]>,
    /// Of each row, box and class.
    scores: Vec<f64>,
    labels: Option<Vec<i64>>,
}

impl Detections {
    /// Reads the outputs of a model.
    ///
    /// # Errors
    /// For outputs that are not there or have other shapes, and where the shape alone does not say how to read it.
    pub fn read(outputs: &Tensors, detector: &Detector) -> Result<Detections, RuntimeError> {
        let get = |name: &String| {
            let known = || outputs.keys().map(|n| format!("`{n}`")).collect();
            outputs
                .get(name)
                .ok_or_else(|| RuntimeError::UnknownOutput { name: name.clone(), known: known() })
        };
        let scores = get(&detector.scores)?;
        let layout = match detector.layout {
            Some(layout) => layout,
            None => reading(&detector.scores, scores.dims())?,
        };
        let output = (detector.scores.clone(), scores.dims().to_vec());
        let mut found = Detections {
            layout,
            output,
            labelled: detector.labels.as_ref().unwrap_or(&detector.scores).clone(),
            rows: 0,
            count: 0,
            classes: 1,
            no_object: layout == BoxLayout::Detr && detector.no_object,
            coordinates: vec![],
            scores: vec![],
            labels: None,
        };
        match layout {
            BoxLayout::Yolo | BoxLayout::YoloRows | BoxLayout::YoloV5 | BoxLayout::EndToEnd => {
                found.slots(&detector.scores, scores)?;
            }
            BoxLayout::Detr => found.pair(detector, scores, get(&detector.boxes)?)?,
            BoxLayout::List => {
                let labels = detector.labels.as_ref().map(get).transpose()?;
                found.list(detector, scores, get(&detector.boxes)?, labels)?;
            }
        }
        Ok(found)
    }

    /// One output with everything.
    fn slots(&mut self, name: &str, output: &Tensor) -> Result<(), RuntimeError> {
        let (first, least, expected) = match self.layout {
            BoxLayout::Yolo => (4, 5, "[batch, 4 + classes, box]"),
            BoxLayout::YoloV5 => (5, 6, "[batch, box, 5 + classes]"),
            BoxLayout::EndToEnd => (4, 6, "[batch, box, 6]"),
            _ => (4, 5, "[batch, box, 4 + classes]"),
        };
        let dims = output.dims();
        let (rows, count, width) = match (self.layout, dims) {
            (BoxLayout::Yolo, [rows, width, count]) => (*rows, *count, *width),
            (_, [rows, count, width]) => (*rows, *count, *width),
            _ => return Err(shape(name, expected, output)),
        };
        if width < least || (self.layout == BoxLayout::EndToEnd && width != 6) {
            return Err(shape(name, expected, output));
        }
        (self.rows, self.count) = (rows, count);
        self.classes = if self.layout == BoxLayout::EndToEnd { 1 } else { width - first };
        let values = output.to_f64();
        let at = |row, number, slot| values[self.slot(row, number, slot)];
        let boxes = || (0..rows).flat_map(|row| (0..count).map(move |number| (row, number)));
        let coordinates = boxes().map(|(r, n)| std::array::from_fn(|c| at(r, n, c))).collect();
        let scores = boxes().flat_map(|(r, n)| {
            let own = if self.layout == BoxLayout::YoloV5 { at(r, n, 4) } else { 1.0 };
            (0..self.classes).map(move |c| own * at(r, n, first + c))
        });
        let scores = scores.collect();
        let labels =
            (self.layout == BoxLayout::EndToEnd).then(|| boxes().map(|(r, n)| at(r, n, 5) as i64).collect());
        (self.coordinates, self.scores, self.labels) = (coordinates, scores, labels);
        Ok(())
    }

    /// Scores and boxes.
    fn pair(&mut self, detector: &Detector, scores: &Tensor, boxes: &Tensor) -> Result<(), RuntimeError> {
        let ([rows, count, classes], [b, n, 4]) = (scores.dims(), boxes.dims()) else {
            return Err(match scores.dims() {
                [_, _, _] => shape(&detector.boxes, "[batch, box, 4]", boxes),
                _ => shape(&detector.scores, "[batch, box, class]", scores),
            });
        };
        let least = if self.no_object { 2 } else { 1 };
        if (rows, count) != (b, n) || *classes < least {
            return Err(shape(&detector.boxes, &format!("[{rows}, {count}, 4]"), boxes));
        }
        (self.rows, self.count, self.classes) = (*rows, *count, *classes);
        self.coordinates = fours(boxes);
        self.scores = scores.to_f64();
        if self.no_object {
            self.scores.chunks_mut(*classes).for_each(probabilities);
        }
        Ok(())
    }

    /// Boxes, scores and labels.
    fn list(
        &mut self,
        detector: &Detector,
        scores: &Tensor,
        boxes: &Tensor,
        labels: Option<&Tensor>,
    ) -> Result<(), RuntimeError> {
        let (rows, count) = match scores.dims() {
            [n] => (1, *n),
            [b, n] => (*b, *n),
            _ => return Err(shape(&detector.scores, "[box]", scores)),
        };
        if boxes.dims() != [scores.dims(), &[4]].concat() {
            return Err(shape(&detector.boxes, &format!("{:?} and an axis of 4", scores.dims()), boxes));
        }
        if let (Some(labels), Some(name)) = (labels, &detector.labels) {
            if labels.dims() != scores.dims() {
                return Err(shape(name, &format!("{:?}", scores.dims()), labels));
            }
            self.labels = Some(labels.to_f64().into_iter().map(|v| v as i64).collect());
        }
        (self.rows, self.count, self.classes) = (rows, count, 1);
        self.coordinates = fours(boxes);
        self.scores = scores.to_f64();
        Ok(())
    }

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
                return all.get(rank).copied().ok_or_else(|| self.too_few(row, rank, class));
            }
        };
        let Some(class) = class else { return Ok(self.best(row, number)) };
        self.of_class(row, number, class).ok_or_else(|| {
            let label = self.best(row, number).class;
            let output = self.labelled.clone();
            RuntimeError::Label { number, label, class, output, shape }
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
            if labels.is_empty() { String::new() } else { format!("; classes found: {}", labels.join(", ")) };
        let boxes = if rank == 0 { "box" } else { "boxes" };
        RuntimeError::NoBox { wanted: format!("{} {boxes}{of}", rank + 1), row, output, shape, found }
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

/// What the shape of one output says of its layout.
fn reading(name: &str, dims: &[usize]) -> Result<BoxLayout, RuntimeError> {
    let unclear = |readings: &[String]| RuntimeError::Detector {
        output: name.into(),
        shape: dims.to_vec(),
        readings: readings.join(", or "),
    };
    let [_, a, b] = *dims else { return Err(unclear(&[])) };
    if a >= 5 && b > a {
        return Ok(BoxLayout::Yolo);
    }
    if b == 5 {
        return Ok(BoxLayout::YoloRows);
    }
    let mut readings = vec![];
    if b > 5 {
        readings.push(format!("{a} boxes of {} classes (`--box-layout yolo-rows`)", b - 4));
        readings.push(format!("of a score for the box and {} classes (`--box-layout yolo-v5`)", b - 5));
    }
    if b == 6 {
        readings.push("of a score and a label (`--box-layout end-to-end`)".into());
    }
    if a >= 5 {
        readings.push(format!("{b} boxes of {} classes (`--box-layout yolo`)", a - 4));
    }
    Err(unclear(&readings))
}

fn shape(output: &str, expected: &str, found: &Tensor) -> RuntimeError {
    RuntimeError::OutputShape {
        output: output.into(),
        expected: expected.into(),
        shape: found.dims().to_vec(),
    }
}

fn fours(boxes: &Tensor) -> Vec<[f64; 4]> {
    boxes.to_f64().chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect()
}

/// What is not a number is below everything.
fn known(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
}

/// Softmax, of what are not probabilities already.
fn probabilities(scores: &mut [f64]) {
    let sum: f64 = scores.iter().sum();
    if scores.iter().all(|v| *v >= 0.0) && (sum - 1.0).abs() < 1e-3 {
        return;
    }
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|v| *v = (*v - most).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|v| *v /= sum);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(dims: &[usize], values: &[f32], layout: Option<BoxLayout>) -> Result<Detections, RuntimeError> {
        let detector =
            Detector { layout, scores: "y".into(), boxes: "y".into(), labels: None, no_object: false };
        Detections::read(&Tensors::from([("y".into(), Tensor::from_f32(dims, values))]), &detector)
    }

    fn find(found: &Detections, which: WhichBox, class: Option<i64>) -> Result<(usize, i64, f64), String> {
        let target = BoxTarget { which, class, coordinate: None };
        let made = found.find(0, &target).map_err(|e| e.to_string())?;
        Ok((made.number, made.class, made.score))
    }

    /// Three boxes of two classes: a row a box.
    const ROWS: [f32; 18] = [1., 2., 3., 4., 0.1, 0.5, 5., 6., 7., 8., 0.75, 0.2, 9., 8., 7., 6., 0.25, 0.25];

    #[test]
    fn rows_and_columns_are_the_same_boxes() {
        let rows = one(&[1, 3, 6], &ROWS, Some(BoxLayout::YoloRows)).unwrap();
        let turned: Vec<f32> = (0..18).map(|i| ROWS[i % 3 * 6 + i / 3]).collect();
        let columns = one(&[1, 6, 3], &turned, Some(BoxLayout::Yolo)).unwrap();
        for found in [&rows, &columns] {
            assert_eq!(find(found, WhichBox::Rank(0), None), Ok((1, 0, 0.75)));
            assert_eq!(find(found, WhichBox::Rank(0), Some(1)), Ok((0, 1, 0.5)));
            assert_eq!(find(found, WhichBox::Rank(2), Some(1)).unwrap().0, 1);
            assert_eq!(find(found, WhichBox::Number(2), None), Ok((2, 0, 0.25)));
            assert_eq!(found.boxes(0).nth(1).unwrap().coordinates, [5.0, 6.0, 7.0, 8.0]);
        }
        assert_eq!((rows.units(0, 1, false), rows.units(0, 1, true)), ((10, 1, 2), (6, 1, 4)));
        assert_eq!((columns.units(0, 1, false), columns.units(0, 1, true)), ((13, 3, 2), (1, 3, 4)));
    }

    #[test]
    fn a_score_of_the_box_counts() {
        let found = one(&[1, 3, 6], &ROWS, Some(BoxLayout::YoloV5)).unwrap();
        assert_eq!(found.classes(), 1);
        let best = find(&found, WhichBox::Rank(0), None).unwrap();
        assert!(best.0 == 1 && (best.2 - 0.15).abs() < 1e-6);
        assert_eq!(found.units(0, 1, false), (11, 1, 1));
    }

    #[test]
    fn labels_are_the_classes() {
        let values = [1., 2., 3., 4., 0.5, 7., 1., 2., 3., 4., 0.25, 3.];
        let found = one(&[1, 2, 6], &values, Some(BoxLayout::EndToEnd)).unwrap();
        assert_eq!(find(&found, WhichBox::Rank(0), Some(3)), Ok((1, 3, 0.25)));
        assert_eq!(
            find(&found, WhichBox::Number(0), Some(3)).unwrap_err(),
            "box 0 has label 7 in output `y` of shape [1, 2, 6], not 3"
        );
        assert_eq!(
            find(&found, WhichBox::Rank(0), Some(4)).unwrap_err(),
            "row 0 of output `y` of shape [1, 2, 6] has fewer than 1 box of class 4; classes found: 3, 7"
        );
    }

    #[test]
    fn what_a_shape_does_not_say_is_asked_for() {
        assert_eq!(one(&[1, 6, 9], &[0.0; 54], None).unwrap().layout(), BoxLayout::Yolo);
        assert_eq!(one(&[1, 7, 5], &[0.0; 35], None).unwrap().layout(), BoxLayout::YoloRows);
        assert_eq!(
            one(&[1, 9, 6], &[0.0; 54], None).unwrap_err().to_string(),
            "output `y` of shape [1, 9, 6] may be 9 boxes of 2 classes (`--box-layout yolo-rows`), or of a score for the \
             box and 1 classes (`--box-layout yolo-v5`), or of a score and a label (`--box-layout end-to-end`), or 6 \
             boxes of 5 classes (`--box-layout yolo`)"
        );
        assert_eq!(
            one(&[1, 9], &[0.0; 9], None).unwrap_err().to_string(),
            "output `y` of shape [1, 9] is not read as boxes: `--box-outputs` names those that are"
        );
    }

    #[test]
    fn no_object_is_no_class_that_is_found() {
        let logits = Tensor::from_f32(&[1, 2, 3], &[2.0, 1.0, 9.0, 0.5, 1.5, 0.0]);
        let boxes = Tensor::from_f32(&[1, 2, 4], &[0.5; 8]);
        let outputs = Tensors::from([("logits".into(), logits), ("boxes".into(), boxes)]);
        let read = |no_object| {
            let (scores, boxes) = ("logits".to_string(), "boxes".to_string());
            let layout = Some(BoxLayout::Detr);
            Detections::read(&outputs, &Detector { layout, scores, boxes, labels: None, no_object }).unwrap()
        };
        // The first box is almost certainly none.
        let best = find(&read(true), WhichBox::Rank(0), None).unwrap();
        assert!((best.0, best.1) == (1, 1) && (best.2 - 0.628).abs() < 1e-3, "{best:?}");
        assert_eq!(find(&read(false), WhichBox::Rank(0), None), Ok((0, 2, 9.0)));
        assert_eq!(find(&read(true), WhichBox::Rank(0), Some(2)).unwrap().0, 0);
        assert!(find(&read(true), WhichBox::Rank(0), Some(3)).unwrap_err().contains("has 3 classes"));
        assert!(find(&read(true), WhichBox::Number(2), None).unwrap_err().contains("has 2 boxes"));
    }
}
