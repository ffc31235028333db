//! Readers of a detector's outputs, one per layout.

use dlbc_backend::Tensors;
use dlbc_ops::tensor::Tensor;

use super::Detections;
use crate::error::RuntimeError;
use crate::request::{BoxLayout, Detector};

impl Detections {
    /// Reads the boxes from the outputs of a model.
    ///
    /// # Errors
    /// When an output is missing or its shape does not fit the layout, and when the detector has no layout and the shape fits
    /// several or none.
    pub fn read(outputs: &Tensors, detector: &Detector) -> Result<Detections, RuntimeError> {
        let get = |name: &String| {
            let known = || outputs.keys().cloned().collect();
            outputs
                .get(name)
                .ok_or_else(|| RuntimeError::UnknownOutput { name: name.clone(), known: known() })
        };
        let scores = get(&detector.scores)?;
        let layout = match detector.layout {
            Some(layout) => layout,
            None => infer_layout(&detector.scores, scores.dims())?,
        };
        let output = (detector.scores.clone(), scores.dims().to_vec());
        let mut detections = Detections {
            layout,
            output,
            labels_output: detector.labels.as_ref().unwrap_or(&detector.scores).clone(),
            rows: 0,
            count: 0,
            classes: 1,
            no_object: layout == BoxLayout::Detr && detector.no_object,
            corners: detector.corners,
            coordinates: vec![],
            scores: vec![],
            labels: None,
        };
        match layout {
            BoxLayout::Yolo | BoxLayout::YoloRows | BoxLayout::YoloV5 | BoxLayout::EndToEnd => {
                detections.read_single_output(&detector.scores, scores)?;
            }
            BoxLayout::Detr => detections.read_detr(detector, scores, get(&detector.boxes)?)?,
            BoxLayout::List => {
                let labels = detector.labels.as_ref().map(get).transpose()?;
                detections.read_list(detector, scores, get(&detector.boxes)?, labels)?;
            }
        }
        Ok(detections)
    }

    /// Reads coordinates, scores and labels from one output.
    fn read_single_output(&mut self, name: &str, output: &Tensor) -> Result<(), RuntimeError> {
        let (first_score, min_width, expected) = match self.layout {
            BoxLayout::Yolo => (4, 5, "[batch, 4 + classes, box]"),
            BoxLayout::YoloV5 => (5, 6, "[batch, box, 5 + classes]"),
            BoxLayout::EndToEnd => (4, 6, "[batch, box, 6]"),
            _ => (4, 5, "[batch, box, 4 + classes]"),
        };
        let dims = output.dims();
        let (rows, count, width) = match (self.layout, dims) {
            (BoxLayout::Yolo, [rows, width, count]) => (*rows, *count, *width),
            (_, [rows, count, width]) => (*rows, *count, *width),
            _ => return Err(shape_error(name, expected, output)),
        };
        if width < min_width || (self.layout == BoxLayout::EndToEnd && width != 6) {
            return Err(shape_error(name, expected, output));
        }
        (self.rows, self.count) = (rows, count);
        self.classes = if self.layout == BoxLayout::EndToEnd { 1 } else { width - first_score };
        let values = output.to_f64();
        let at = |row, index, slot| values[self.element(row, index, slot)];
        let boxes = || (0..rows).flat_map(|row| (0..count).map(move |index| (row, index)));
        let coordinates = boxes().map(|(r, n)| std::array::from_fn(|c| at(r, n, c))).collect();
        let scores = boxes().flat_map(|(r, n)| {
            let box_score = if self.layout == BoxLayout::YoloV5 { at(r, n, 4) } else { 1.0 };
            (0..self.classes).map(move |c| box_score * at(r, n, first_score + c))
        });
        let scores = scores.collect();
        let labels =
            (self.layout == BoxLayout::EndToEnd).then(|| boxes().map(|(r, n)| at(r, n, 5) as i64).collect());
        (self.coordinates, self.scores, self.labels) = (coordinates, scores, labels);
        Ok(())
    }

    /// Reads scores `[batch, box, class]` and boxes `[batch, box, 4]`.
    fn read_detr(
        &mut self,
        detector: &Detector,
        scores: &Tensor,
        boxes: &Tensor,
    ) -> Result<(), RuntimeError> {
        let ([rows, count, classes], [b, n, 4]) = (scores.dims(), boxes.dims()) else {
            return Err(match scores.dims() {
                [_, _, _] => shape_error(&detector.boxes, "[batch, box, 4]", boxes),
                _ => shape_error(&detector.scores, "[batch, box, class]", scores),
            });
        };
        let (min_classes, expected) = match self.no_object {
            true => (2, "[batch, box, class] with a class beside the one for no object"),
            false => (1, "[batch, box, class] with a class"),
        };
        if *classes < min_classes {
            return Err(shape_error(&detector.scores, expected, scores));
        }
        if (rows, count) != (b, n) {
            return Err(shape_error(&detector.boxes, &format!("[{rows}, {count}, 4]"), boxes));
        }
        (self.rows, self.count, self.classes) = (*rows, *count, *classes);
        self.coordinates = quadruples(boxes);
        self.scores = scores.to_f64();
        if self.no_object {
            self.scores.chunks_mut(*classes).for_each(to_probabilities);
        }
        Ok(())
    }

    /// Reads boxes `[box, 4]`, scores `[box]` and labels `[box]`, or each with a leading batch axis.
    fn read_list(
        &mut self,
        detector: &Detector,
        scores: &Tensor,
        boxes: &Tensor,
        labels: Option<&Tensor>,
    ) -> Result<(), RuntimeError> {
        let (rows, count) = match scores.dims() {
            [n] => (1, *n),
            [b, n] => (*b, *n),
            _ => return Err(shape_error(&detector.scores, "[box]", scores)),
        };
        if boxes.dims() != [scores.dims(), &[4]].concat() {
            return Err(shape_error(
                &detector.boxes,
                &format!("{:?} and an axis of 4", scores.dims()),
                boxes,
            ));
        }
        if let (Some(labels), Some(name)) = (labels, &detector.labels) {
            if labels.dims() != scores.dims() {
                return Err(shape_error(name, &format!("{:?}", scores.dims()), labels));
            }
            self.labels = Some(labels.to_f64().into_iter().map(|v| v as i64).collect());
        }
        (self.rows, self.count, self.classes) = (rows, count, 1);
        self.coordinates = quadruples(boxes);
        self.scores = scores.to_f64();
        Ok(())
    }
}

/// Infers the layout from the shape of a single output.
///
/// # Errors
/// When the shape fits several layouts or none.
fn infer_layout(name: &str, dims: &[usize]) -> Result<BoxLayout, RuntimeError> {
    let unclear = |readings: &[String]| RuntimeError::Detector {
        output: name.into(),
        shape: dims.to_vec(),
        readings: readings.join(", "),
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
        readings.push(format!("{a} boxes of {} ({})", classes(b - 4), BoxLayout::YoloRows.name()));
        readings.push(format!("{a} boxes of a score and {} ({})", classes(b - 5), BoxLayout::YoloV5.name()));
    }
    if b == 6 {
        readings.push(format!("{a} boxes of a score and a label ({})", BoxLayout::EndToEnd.name()));
    }
    if a >= 5 {
        readings.push(format!("{b} boxes of {} ({})", classes(a - 4), BoxLayout::Yolo.name()));
    }
    Err(unclear(&readings))
}

/// Formats a number of classes: `1 class`, `5 classes`.
fn classes(count: usize) -> String {
    if count == 1 { "1 class".into() } else { format!("{count} classes") }
}

/// Returns the error for an output whose shape does not fit the layout.
fn shape_error(output: &str, expected: &str, tensor: &Tensor) -> RuntimeError {
    RuntimeError::OutputShape {
        output: output.into(),
        expected: expected.into(),
        shape: tensor.dims().to_vec(),
    }
}

/// Returns the values of a tensor `[..., 4]` in groups of four.
fn quadruples(boxes: &Tensor) -> Vec<[f64; 4]> {
    boxes.to_f64().chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect()
}

/// Applies a softmax to scores that are not probabilities already.
fn to_probabilities(scores: &mut [f64]) {
    let sum: f64 = scores.iter().sum();
    if scores.iter().all(|v| *v >= 0.0) && (sum - 1.0).abs() < 1e-3 {
        return;
    }
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|v| *v = (*v - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|v| *v /= sum);
}
