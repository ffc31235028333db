//! Pixels of a segmentation: a whole mask, a class, a region.

use super::chosen::{Chosen, Group, resolve};
use crate::error::RuntimeError;
use crate::request::{Pixels, Region};

/// A mask of one class is what is above this, unless said otherwise.
const THRESHOLD: f64 = 0.5;

/// Whether the centre of a pixel is within a region.
fn holds(region: &Region, (row, column): (usize, usize), mask: &Mask) -> bool {
    let x = (column as f64 + 0.5) / mask.width as f64;
    let y = (row as f64 + 0.5) / mask.height as f64;
    region.left <= x && x < region.right && region.top <= y && y < region.bottom
}

/// The axes of a mask.
#[derive(Clone, Copy)]
struct Mask {
    rows: usize,
    classes: usize,
    height: usize,
    width: usize,
    last: bool,
}

impl Mask {
    fn of(dims: &[usize], last: bool) -> Option<Mask> {
        let (rows, classes, height, width) = match (dims, last) {
            ([rows, height, width], _) => (*rows, 1, *height, *width),
            ([rows, classes, height, width], false) => (*rows, *classes, *height, *width),
            ([rows, height, width, classes], true) => (*rows, *classes, *height, *width),
            _ => return None,
        };
        (classes * height * width > 0).then_some(Mask { rows, classes, height, width, last })
    }

    fn pixels(self) -> usize {
        self.height * self.width
    }

    /// The classes of a pixel.
    fn group(self, row: usize, pixel: usize) -> Group {
        let from = row * self.classes * self.pixels();
        match self.last {
            true => Group { first: from + pixel * self.classes, stride: 1, count: self.classes },
            false => Group { first: from + pixel, stride: self.pixels(), count: self.classes },
        }
    }
}

/// The pixels of every row that start.
pub(super) fn choose(
    name: &str,
    dims: &[usize],
    values: &[f64],
    target: &Pixels,
) -> Result<Chosen, RuntimeError> {
    let (output, shape) = (name.to_string(), dims.to_vec());
    let Some(mask) = Mask::of(dims, target.class_last) else {
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
    let within = |pixel: &usize| {
        target.region.is_none_or(|region| holds(&region, (pixel / mask.width, pixel % mask.width), &mask))
    };
    let pixels: Vec<usize> = (0..mask.pixels()).filter(within).collect();
    if pixels.is_empty() {
        return Err(RuntimeError::EmptyRegion { output, shape, height: mask.height, width: mask.width });
    }
    let threshold = target.above.or((mask.classes == 1).then_some(THRESHOLD));
    // All classes together, as one mask.
    let every = class.is_none() && threshold.is_some() && mask.classes > 1;
    let mut chosen = Chosen { region: mask.classes == 1 || every, ..Chosen::default() };
    for row in 0..mask.rows {
        let groups: Vec<Group> = pixels.iter().map(|pixel| mask.group(row, *pixel)).collect();
        let (own, elements) = match threshold {
            Some(threshold) => {
                let found = above(&groups, values, class, threshold);
                if found.is_empty() {
                    let all = groups.iter().flat_map(|g| of_class(*g, class)).map(|at| values[at]);
                    let greatest = all.fold(f64::NEG_INFINITY, f64::max);
                    return Err(RuntimeError::NothingAbove { output, shape, row, greatest });
                }
                (class, found)
            }
            None => {
                let (class, found) = won(&groups, values, class).map_err(|(class, counts)| {
                    let (output, shape) = (output.clone(), shape.clone());
                    RuntimeError::NothingWon { class, row, output, shape, counts }
                })?;
                (Some(class), found)
            }
        };
        chosen.targets.extend(own.filter(|_| mask.classes > 1).map(|class| class as i64));
        let weight = 1.0 / elements.len() as f64;
        // What competes: the classes of each pixel; without classes the rest of the mask, and in a region nothing else.
        let size = mask.classes * mask.pixels();
        match (chosen.region, target.region) {
            (true, None) => chosen.groups.push(Group { first: row * size, stride: 1, count: size }),
            (true, Some(_)) => {
                let alone = elements.iter().map(|at| Group { first: *at, stride: 1, count: 1 });
                chosen.groups.extend(alone);
            }
            (false, _) => chosen.groups.extend(groups),
        }
        chosen.rows.push(elements.into_iter().map(|at| (at, weight)).collect());
    }
    Ok(chosen)
}

/// Of the classes of a pixel one, or all.
fn of_class(group: Group, class: Option<usize>) -> impl Iterator<Item = usize> {
    group.places().enumerate().filter(move |(i, _)| class.is_none_or(|c| c == *i)).map(|(_, at)| at)
}

fn above(groups: &[Group], values: &[f64], class: Option<usize>, threshold: f64) -> Vec<usize> {
    groups.iter().flat_map(|g| of_class(*g, class)).filter(|at| values[*at] > threshold).collect()
}

/// The class, and the elements of the pixels that it wins: those where it is the greatest, the first of equal ones. When there
/// are none, the class and how many pixels each class wins.
fn won(
    groups: &[Group],
    values: &[f64],
    class: Option<usize>,
) -> Result<(usize, Vec<usize>), (usize, String)> {
    let winner = |group: &Group| {
        let places = group.places().enumerate();
        places
            .fold((0, group.first), |best, (i, at)| if values[at] > values[best.1] { (i, at) } else { best })
    };
    let winners: Vec<(usize, usize)> = groups.iter().map(winner).collect();
    let mut counts = vec![0usize; groups.first().map_or(0, |g| g.count)];
    winners.iter().for_each(|(class, _)| counts[*class] += 1);
    let most = || {
        let others = (1..counts.len()).filter(|c| counts[*c] > 0);
        others.fold(0, |best, c| if best == 0 || counts[c] > counts[best] { c } else { best })
    };
    let class = class.unwrap_or_else(most);
    let found: Vec<usize> = winners.iter().filter(|(c, _)| *c == class).map(|(_, at)| *at).collect();
    if found.is_empty() {
        let won = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let won: Vec<String> = won.map(|(c, n)| format!("class {c} wins {n}")).collect();
        return Err((class, won.join(", ")));
    }
    Ok((class, found))
}
