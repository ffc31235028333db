//! Selection of the score or a coordinate of a box.

use dlbc_backend::Tensors;

use super::selection::Selection;
use crate::detection::Detections;
use crate::error::RuntimeError;
use crate::request::{BoxTarget, Request};

/// Selects a unit of each row. `name` is the explained output.
///
/// # Errors
/// When the request has no detector, another output holds the unit, or the box, class or coordinate is out of range.
pub(super) fn select(
    name: &str,
    outputs: &Tensors,
    target: &BoxTarget,
    request: &Request,
) -> Result<Selection, RuntimeError> {
    let Some(detector) = &request.detector else { return Err(RuntimeError::NoDetector) };
    let expected = if target.coordinate.is_some() { &detector.boxes } else { &detector.scores };
    if name != expected {
        return Err(RuntimeError::OtherOutput { explained: name.into(), expected: expected.clone() });
    }
    let detections = Detections::read(outputs, detector)?;
    let mut selection = Selection::default();
    for row in 0..detections.rows() {
        let detected = detections.find(row, target)?;
        let (group, unit) = match target.coordinate {
            Some(coordinate) => (detections.coordinates_of(row, detected.index), coordinate),
            None => (detections.scores_of(row, detected.index), detections.unit_of(detected.class)),
        };
        if let Some(coordinate) = target.coordinate.filter(|c| *c >= group.count) {
            return Err(RuntimeError::Coordinate(coordinate));
        }
        selection.targets.push(target.coordinate.map_or(detected.class, |c| c as i64));
        selection.rows.push(vec![(group.first + unit * group.stride, 1.0)]);
        selection.groups.push(group);
        selection.boxes.push(detected);
    }
    Ok(selection)
}
