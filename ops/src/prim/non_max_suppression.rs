//! Greedy non-maximum suppression of overlapping boxes.

use super::contract::*;
use super::reference::layout::{array, by_value, elems, float, integer, values};

/// Greedy non-maximum suppression. Operands: `(boxes [n, s, 4], scores [n, c, s], max_boxes, max_overlap, min_score)`,
/// the last three of one element. The result, int64 `[n·c·s, 3]`, has a row `(batch, class, box)` for each selected
/// box, by falling score within a class, then rows of -1. A box is selected if its score exceeds `min_score` and its
/// overlap (intersection over union) with the boxes selected before is at most `max_overlap`, up to `max_boxes` boxes
/// per class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonMaxSuppression {
    /// Format of boxes: `(x, y, width, height)` of the centre if true, two opposite corners `(y, x, y, x)` if false.
    pub center: bool,
}

fields!(NonMaxSuppression { center: Any });

impl Primitive for NonMaxSuppression {
    fn arity(&self) -> RangeInclusive<usize> {
        5..=5
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        infer(x)
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        evaluate(self.center, [x[0], x[1], x[2], x[3], x[4]], dims)
    }

    fn adjoint(&self, _d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.per_target(self.clone()))
    }
}

fn infer(inputs: &[TensorType]) -> Result<TensorType, OpError> {
    let (boxes, scores) = (&inputs[0], &inputs[1]);
    let [n, s, four] = boxes.shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of boxes", 3, boxes));
    };
    let [batch, c, spatial] = scores.shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of scores", 3, scores));
    };
    dim_equal("numbers of a box", four, &Dim::known(4))?;
    dim_equal("batch of scores", batch, n)?;
    dim_equal("boxes of scores", spatial, s)?;
    for (operand, ty) in ["max_boxes", "max_overlap", "min_score"].iter().zip(&inputs[2..]) {
        dim_equal(&format!("elements of {operand}"), &ty.shape.elems(), &Dim::known(1))?;
    }
    indices(&inputs[2])?;
    Ok(TensorType::new(DType::I64, vec![&(n * c) * s, Dim::known(3)]))
}

/// Evaluates greedy suppression, class by class.
fn evaluate(center: bool, x: [&Array; 5], dims: &[usize]) -> Result<Array, OpError> {
    let [batches, classes, spatial] = [x[1].dims()[0], x[1].dims()[1], x[1].dims()[2]];
    let (boxes, scores) = (values(float(x[0])?), values(float(x[1])?));
    let number = |a: &Array| Ok::<f64, OpError>(values(float(a)?).first().copied().unwrap_or(0.0));
    let max_boxes = values(integer(x[2])?).first().copied().unwrap_or(0);
    let (max_overlap, min_score) = (number(x[3])?, number(x[4])?);
    let max_boxes = usize::try_from(max_boxes).unwrap_or(0);
    let mut rows = vec![-1i64; elems(dims)?];
    let mut row = 0;
    for n in 0..batches {
        let corners: Vec<[f64; 4]> =
            (0..spatial).map(|s| corners(center, &boxes[(n * spatial + s) * 4..][..4])).collect();
        for c in 0..classes {
            let scores = &scores[(n * classes + c) * spatial..][..spatial];
            let mut order: Vec<usize> = (0..spatial).filter(|s| scores[*s] > min_score).collect();
            order.sort_by(|a, b| by_value(scores[*b], scores[*a]));
            let mut selected: Vec<usize> = vec![];
            for s in order {
                if selected.len() >= max_boxes {
                    break;
                }
                let limited = |k: &usize| intersection_over_union(&corners[*k], &corners[s]) <= max_overlap;
                if selected.iter().all(limited) {
                    selected.push(s);
                }
            }
            for s in selected {
                rows[row * 3..row * 3 + 3].copy_from_slice(&[n as i64, c as i64, s as i64]);
                row += 1;
            }
        }
    }
    array(dims, rows).map(Array::I)
}

/// Returns the lower bounds of both axes, then the upper bounds.
fn corners(center: bool, b: &[f64]) -> [f64; 4] {
    if center {
        return [b[1] - b[3] / 2.0, b[0] - b[2] / 2.0, b[1] + b[3] / 2.0, b[0] + b[2] / 2.0];
    }
    [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])]
}

fn intersection_over_union(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    let area = |c: &[f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let both = side(0) * side(1);
    if both <= 0.0 || area(a) <= 0.0 || area(b) <= 0.0 {
        return 0.0;
    }
    both / (area(a) + area(b) - both)
}
