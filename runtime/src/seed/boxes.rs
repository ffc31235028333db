//! The score or a coordinate of a box.

use dlbc_backend::Tensors;

use super::chosen::{Chosen, Group};
use crate::detection::Detections;
use crate::error::RuntimeError;
use crate::request::{BoxTarget, Request};

/// The unit of every row that starts. `name` is the output that is explained.
pub(super) fn choose(
    name: &str,
    outputs: &Tensors,
    target: &BoxTarget,
    request: &Request,
) -> Result<Chosen, RuntimeError> {
    let Some(detector) = &request.detector else { return Err(RuntimeError::NoDetector) };
    let expected = if target.coordinate.is_some() { &detector.boxes } else { &detector.scores };
    if name != expected {
        return Err(RuntimeError::OtherOutput { explained: name.into(), expected: expected.clone() });
    }
    let found = Detections::read(outputs, detector)?;
    let mut chosen = Chosen::default();
    for row in 0..found.rows() {
        let detected = found.find(row, target)?;
        let (first, stride, count) = found.units(row, detected.number, target.coordinate.is_some());
        let unit = match target.coordinate {
            Some(unit) if unit >= count => return Err(RuntimeError::Coordinate(unit)),
            Some(unit) => unit,
            None => found.unit_of(detected.class),
        };
        chosen.targets.push(target.coordinate.map_or(detected.class, |c| c as i64));
        chosen.rows.push(vec![(first + unit * stride, 1.0)]);
        chosen.groups.push(Group { first, stride, count });
        chosen.boxes.push(detected);
    }
    Ok(chosen)
}
