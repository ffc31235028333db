//! Reading the outputs of a detector, layout by layout.

use dlbc_backend::Tensors;
use dlbc_ops::tensor::Tensor;

use super::Detections;
use crate::error::RuntimeError;
use crate::request::{BoxLayout, Detector};

impl Detections {
    /// Reads the outputs of a model.
    ///
    /// # Errors
    /// For outputs that are not there or have other shapes, and where the shape alone does not say how to read it.
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
            corners: detector.corners,
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
        let (least, expected) = match self.no_object {
            true => (2, "[batch, box, class] with a class beside the one for no object"),
            false => (1, "[batch, box, class] with a class"),
        };
        if *classes < least {
            return Err(shape(&detector.scores, expected, scores));
        }
        if (rows, count) != (b, n) {
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
}

/// What the shape of one output says of its layout.
fn reading(name: &str, dims: &[usize]) -> Result<BoxLayout, RuntimeError> {
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

fn classes(count: usize) -> String {
    if count == 1 { "1 class".into() } else { format!("{count} classes") }
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
