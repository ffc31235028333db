//! Selection of pixels of a segmentation: a whole mask, a class, a region.

use super::group::Group;
use super::selection::{Selection, resolve};
use crate::error::RuntimeError;
use crate::request::{Pixels, Region};

/// Default threshold of a mask with a single class.
const THRESHOLD: f64 = 0.5;

/// Sizes of the axes of an output with masks.
#[derive(Clone, Copy)]
struct Mask {
    rows: usize,
    classes: usize,
    height: usize,
    width: usize,
    /// True for classes on the last axis.
    class_last: bool,
}

impl Mask {
    /// Reads the shape of an output; `None` for one that has another number of axes or no pixels.
    fn from_dims(dims: &[usize], class_last: bool) -> Option<Mask> {
        let (rows, classes, height, width) = match (dims, class_last) {
            ([rows, height, width], _) => (*rows, 1, *height, *width),
            ([rows, classes, height, width], false) => (*rows, *classes, *height, *width),
            ([rows, height, width, classes], true) => (*rows, *classes, *height, *width),
            _ => return None,
        };
        (classes * height * width > 0).then_some(Mask { rows, classes, height, width, class_last })
    }

    /// Returns whether a region contains the centre of a pixel.
    fn contains(self, region: &Region, pixel: usize) -> bool {
        let (row, column) = (pixel / self.width, pixel % self.width);
        let x = (column as f64 + 0.5) / self.width as f64;
        let y = (row as f64 + 0.5) / self.height as f64;
        region.left <= x && x < region.right && region.top <= y && y < region.bottom
    }

    /// Returns the number of pixels of a row of the batch.
    fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Returns the units of a pixel, one per class.
    fn group(self, row: usize, pixel: usize) -> Group {
        let first = row * self.classes * self.pixels();
        match self.class_last {
            true => Group { first: first + pixel * self.classes, stride: 1, count: self.classes },
            false => Group { first: first + pixel, stride: self.pixels(), count: self.classes },
        }
    }
}

/// Selects the pixels of each row.
///
/// # Errors
/// When the output is not a mask, the class is out of range, or no pixel qualifies.
pub(super) fn select(
    name: &str,
    dims: &[usize],
    values: &[f64],
    target: &Pixels,
) -> Result<Selection, RuntimeError> {
    let (output, shape) = (name.to_string(), dims.to_vec());
    let Some(mask) = Mask::from_dims(dims, target.class_last) else {
        let expected = "pixels [batch, class, row, column] or [batch, row, column]".to_string();
        return Err(RuntimeError::OutputShape { output, expected, shape });
    };
    let class = target.class.map(|class| resolve(class, mask.classes)).transpose();
    let class = class.map_err(|class| RuntimeError::Class {
        class,
        classes: mask.classes,
        output: output.clone(),
        shape: shape.clone(),
    })?;
    let is_in_region = |pixel: &usize| target.region.is_none_or(|region| mask.contains(&region, *pixel));
    let pixels: Vec<usize> = (0..mask.pixels()).filter(is_in_region).collect();
    if pixels.is_empty() {
        return Err(RuntimeError::EmptyRegion { output, shape, height: mask.height, width: mask.width });
    }
    let threshold = target.above.or((mask.classes == 1).then_some(THRESHOLD));
    let every_class = class.is_none() && threshold.is_some() && mask.classes > 1;
    let mut selection = Selection { independent: mask.classes == 1 || every_class, ..Selection::default() };
    for row in 0..mask.rows {
        let groups: Vec<Group> = pixels.iter().map(|pixel| mask.group(row, *pixel)).collect();
        let (class, elements) = match threshold {
            Some(threshold) => {
                let above = elements_above(&groups, values, class, threshold);
                if above.is_empty() {
                    let all = groups.iter().flat_map(|g| of_class(*g, class)).map(|at| values[at]);
                    let largest = all.fold(f64::NEG_INFINITY, f64::max);
                    return Err(RuntimeError::NothingAbove { output, shape, row, largest });
                }
                (class, above)
            }
            None => {
                let (class, elements) = elements_won(&groups, values, class).map_err(|(class, counts)| {
                    let (output, shape) = (output.clone(), shape.clone());
                    RuntimeError::NothingWon { class, row, output, shape, counts }
                })?;
                (Some(class), elements)
            }
        };
        selection.targets.extend(class.filter(|_| mask.classes > 1).map(|class| class as i64));
        let weight = 1.0 / elements.len() as f64;
        // The classes of a pixel compete. In a mask without classes all pixels compete, in a region of it none do.
        let size = mask.classes * mask.pixels();
        match (selection.independent, target.region) {
            (true, None) => selection.groups.push(Group { first: row * size, stride: 1, count: size }),
            (true, Some(_)) => {
                let singles = elements.iter().map(|at| Group { first: *at, stride: 1, count: 1 });
                selection.groups.extend(singles);
            }
            (false, _) => selection.groups.extend(groups),
        }
        selection.rows.push(elements.into_iter().map(|at| (at, weight)).collect());
    }
    Ok(selection)
}

/// Iterates over the flat indices of a class of a pixel, or of all its classes for `None`.
fn of_class(group: Group, class: Option<usize>) -> impl Iterator<Item = usize> {
    group.elements().enumerate().filter(move |(i, _)| class.is_none_or(|c| c == *i)).map(|(_, at)| at)
}

/// Returns the flat indices of the elements above a threshold.
fn elements_above(groups: &[Group], values: &[f64], class: Option<usize>, threshold: f64) -> Vec<usize> {
    groups.iter().flat_map(|g| of_class(*g, class)).filter(|at| values[*at] > threshold).collect()
}

/// Returns the class (the one that wins most pixels for `None`) and the flat indices of the elements where it wins. A class wins a
/// pixel where it has the largest value; ties go to the lower class.
///
/// # Errors
/// When the class wins no pixel: the class, and a text with the number of pixels that each class wins.
fn elements_won(
    groups: &[Group],
    values: &[f64],
    class: Option<usize>,
) -> Result<(usize, Vec<usize>), (usize, String)> {
    let winner = |group: &Group| {
        group
            .elements()
            .enumerate()
            .fold((0, group.first), |best, (i, at)| if values[at] > values[best.1] { (i, at) } else { best })
    };
    let winners: Vec<(usize, usize)> = groups.iter().map(winner).collect();
    let mut counts = vec![0usize; groups.first().map_or(0, |g| g.count)];
    winners.iter().for_each(|(class, _)| counts[*class] += 1);
    let most_frequent = || {
        let others = (1..counts.len()).filter(|c| counts[*c] > 0);
        others.fold(0, |best, c| if best == 0 || counts[c] > counts[best] { c } else { best })
    };
    let class = class.unwrap_or_else(most_frequent);
    let elements: Vec<usize> = winners.iter().filter(|(c, _)| *c == class).map(|(_, at)| *at).collect();
    if elements.is_empty() {
        let wins = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let wins: Vec<String> = wins.map(|(c, n)| format!("class {c} wins {n}")).collect();
        return Err((class, wins.join(", ")));
    }
    Ok((class, elements))
}
