//! The starting relevance.

use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;

/// Which output units get the starting relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Target {
    /// The greatest of each row.
    #[default]
    Argmax,
    /// The unit that so many of its row are greater than: 0 is the greatest. Of equal units the first comes first.
    Rank(usize),
    /// The unit of this index on the last axis; negative counts from the end.
    Index(i64),
    /// The first unit, minus the second.
    Difference(i64, i64),
    /// Every unit; together they start with the multiplier.
    All,
    /// Every element of a row above the threshold, at any position; together they start with the multiplier.
    Above(f64),
}

/// What a target unit starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// 1 × multiplier.
    #[default]
    One,
    /// Its own output value; the multiplier is ignored.
    Value,
}

/// Which position of each row the target stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The same for all rows; negative counts from the end.
    At(i64),
    /// The last that a mask of `length` positions shows of each row; of an output of another length the last.
    Shown {
        /// Positions of the mask.
        length: usize,
        /// Of each row.
        last: Vec<usize>,
    },
    /// Every position, each with a target of its own; together they start with the multiplier.
    All,
}

/// What a model's output means. A task refuses outputs that it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One unit, or one of two classes: `[batch, unit]`.
    BinaryClassification,
    /// One unit a class: `[batch, unit]`.
    MultiClass,
    /// Coordinates: `[batch, unit]`.
    BboxRegression,
    /// A value for each pixel: `[batch, channel, row, column]`.
    BinarySegmentation,
    /// One unit a token: `[batch, position, unit]`.
    Generation,
}

impl Task {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Task::BinaryClassification => "binary-classification",
            Task::MultiClass => "multi-class",
            Task::BboxRegression => "bbox-regression",
            Task::BinarySegmentation => "binary-segmentation",
            Task::Generation => "generation",
        }
    }

    /// What it starts from unless told otherwise: all coordinates, the pixels above 0.5, else the greatest unit.
    pub fn target(self) -> Target {
        match self {
            Task::BinaryClassification | Task::MultiClass | Task::Generation => Target::Argmax,
            Task::BboxRegression => Target::All,
            Task::BinarySegmentation => Target::Above(0.5),
        }
    }

    /// The outputs that it fits.
    fn expects(self) -> &'static str {
        match self {
            Task::BinaryClassification => "[batch, unit] with one or two units",
            Task::MultiClass | Task::BboxRegression => "[batch, unit]",
            Task::BinarySegmentation => "[batch, channel, row, column]",
            Task::Generation => "[batch, position, unit]",
        }
    }

    fn fits(self, dims: &[usize]) -> bool {
        match self {
            Task::BinaryClassification => matches!(dims, [_, 1 | 2]),
            Task::MultiClass | Task::BboxRegression => dims.len() == 2,
            Task::BinarySegmentation => dims.len() == 4,
            Task::Generation => dims.len() == 3,
        }
    }
}

/// What to explain and what to return.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which units.
    pub target: Target,
    /// What they start with.
    pub start: Start,
    /// Starting relevance of a row.
    pub multiplier: f64,
    /// What the starting relevance of each row is scaled to sum to, whatever the units start with.
    pub total: Option<f64>,
    /// What the output means: refuses one that it does not fit.
    pub task: Option<Task>,
    /// Position of the target, for an output of shape [batch, position, unit].
    pub position: Position,
    /// Tensors, beside the inputs, whose relevance is returned.
    pub keep: Vec<String>,
    /// Return the relevance of every tensor.
    pub keep_all: bool,
    /// Return the ledger.
    pub audit: bool,
    /// Return the ledger by module.
    pub layers: bool,
    /// Return the relevance of each head of the attentions.
    pub heads: bool,
    /// Return what each expert was given.
    pub experts: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            target: Target::Argmax,
            start: Start::One,
            multiplier: 100.0,
            total: None,
            task: None,
            position: Position::At(-1),
            keep: vec![],
            keep_all: false,
            audit: false,
            layers: false,
            heads: false,
            experts: false,
        }
    }
}

/// A seed and what it was made from.
pub(crate) struct Seed {
    /// The starting relevance, of the output's shape, float32.
    pub tensor: Tensor,
    /// The greatest unit of each row, at its last position that is explained; none of an output with more axes.
    pub argmax: Vec<i64>,
    /// The unit that each row and position explains (the first, for a difference); none for several at once.
    pub targets: Vec<i64>,
}

/// Makes the seed of an output: `[batch, position, unit]`, `[batch, unit]`, `[unit]` or a single value; for all units and
/// for those above a threshold, any rows.
pub(crate) fn seed(name: &str, output: &Tensor, request: &Request) -> Result<Seed, RuntimeError> {
    let dims = output.dims();
    if let Some(task) = request.task.filter(|task| !task.fits(dims)) {
        let (task, expected) = (task.name(), task.expects());
        return Err(RuntimeError::Task { task, expected, output: name.into(), shape: dims.to_vec() });
    }
    let out_of_range =
        |target: i64| RuntimeError::Target { target, output: name.into(), shape: dims.to_vec() };
    let whole = matches!(request.target, Target::Above(_))
        || (matches!(request.target, Target::All) && dims.len() > 3);
    let (rows, positions, units) = match dims {
        [] => (1, 1, 1),
        [u] => (1, 1, *u),
        [b, rest @ ..] if whole => (*b, 1, rest.iter().product()),
        [b, u] => (*b, 1, *u),
        [b, p, u] => (*b, *p, *u),
        _ => return Err(RuntimeError::OutputRank { output: name.into(), shape: dims.to_vec() }),
    };
    if units == 0 || positions == 0 {
        return Err(out_of_range(0));
    }
    let values = output.to_f64();
    let mut seed = vec![0.0f64; values.len()];
    let (mut argmax, mut targets) = (vec![], vec![]);
    for row in 0..rows {
        let places = match whole {
            true => 0..1,
            false => places(&request.position, row, rows, positions).map_err(out_of_range)?,
        };
        let share = 1.0 / places.len() as f64;
        for at in places.clone() {
            let from = (row * positions + at) * units;
            let own = &values[from..from + units];
            let made = &mut seed[from..from + units];
            let found = units_of(request.target, own).map_err(out_of_range)?;
            if found.is_empty() {
                let greatest = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                return Err(RuntimeError::NothingAbove { output: name.into(), row, greatest });
            }
            for (unit, weight) in &found {
                made[*unit] += match request.start {
                    Start::One => request.multiplier * share * weight,
                    Start::Value => own[*unit] * weight.signum(),
                };
            }
            match request.target {
                Target::All | Target::Above(_) => {}
                _ => targets.push(found[0].0 as i64),
            }
        }
        if !whole {
            let from = (row * positions + places.end - 1) * units;
            argmax.push(greatest(&values[from..from + units]) as i64);
        }
        if let Some(total) = request.total {
            let own = &mut seed[row * positions * units..(row + 1) * positions * units];
            let sum: f64 = own.iter().sum();
            let size: f64 = own.iter().map(|v| v.abs()).sum();
            if sum.is_nan() || sum.abs() <= size * 1e-9 {
                return Err(RuntimeError::Total { output: name.into(), row, total });
            }
            own.iter_mut().for_each(|v| *v *= total / sum);
        }
    }
    let rounded: Vec<f32> = seed.iter().map(|v| *v as f32).collect();
    Ok(Seed { tensor: Tensor::from_f32(dims, &rounded), argmax, targets })
}

/// The positions of a row that are explained; the index that is out of range when there is none.
fn places(
    position: &Position,
    row: usize,
    rows: usize,
    positions: usize,
) -> Result<std::ops::Range<usize>, i64> {
    let at = match position {
        Position::All => return Ok(0..positions),
        Position::At(i) => resolve(*i, positions)?,
        Position::Shown { length, last } if *length == positions && last.len() == rows => last[row],
        Position::Shown { .. } => positions - 1,
    };
    Ok(at..at + 1)
}

/// The units of a target with their weights, or the index that is out of range.
fn units_of(target: Target, own: &[f64]) -> Result<Vec<(usize, f64)>, i64> {
    let unit = |i: i64| resolve(i, own.len());
    let evenly = |units: Vec<usize>| {
        let weight = 1.0 / units.len().max(1) as f64;
        units.into_iter().map(|i| (i, weight)).collect()
    };
    Ok(match target {
        Target::Argmax => vec![(greatest(own), 1.0)],
        Target::Rank(rank) if rank >= own.len() => return Err(rank as i64),
        Target::Rank(rank) => {
            let mut order: Vec<usize> = (0..own.len()).collect();
            // Both zeros are equal.
            order.sort_by(|i, j| (own[*j] + 0.0).total_cmp(&(own[*i] + 0.0)).then(i.cmp(j)));
            vec![(order[rank], 1.0)]
        }
        Target::Index(i) => vec![(unit(i)?, 1.0)],
        Target::Difference(a, b) => vec![(unit(a)?, 1.0), (unit(b)?, -1.0)],
        Target::All => evenly((0..own.len()).collect()),
        Target::Above(threshold) => evenly((0..own.len()).filter(|i| own[*i] > threshold).collect()),
    })
}

fn greatest(own: &[f64]) -> usize {
    (0..own.len()).fold(0, |best, i| if own[i] > own[best] { i } else { best })
}

fn resolve(i: i64, n: usize) -> Result<usize, i64> {
    let at = if i < 0 { i.saturating_add(n as i64) } else { i };
    usize::try_from(at).ok().filter(|at| *at < n).ok_or(i)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn made(dims: &[usize], values: &[f32], request: &Request) -> Vec<f32> {
        seed("y", &Tensor::from_f32(dims, values), request).unwrap().tensor.to_f32()
    }

    fn refused(dims: &[usize], values: &[f32], request: &Request) -> String {
        seed("y", &Tensor::from_f32(dims, values), request).err().unwrap().to_string()
    }

    fn of(target: Target) -> Request {
        Request { target, ..Request::default() }
    }

    const LOGITS: [f32; 6] = [0.5, 2.0, -1.0, 3.0, 1.0, 3.0];

    #[test]
    fn units_of_each_row() {
        let at = |target| made(&[2, 3], &LOGITS, &of(target));
        assert_eq!(at(Target::Argmax), [0.0, 100.0, 0.0, 100.0, 0.0, 0.0]);
        assert_eq!(at(Target::Rank(0)), at(Target::Argmax));
        assert_eq!(at(Target::Rank(1)), [100.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
        assert_eq!(at(Target::Index(-1)), [0.0, 0.0, 100.0, 0.0, 0.0, 100.0]);
        assert_eq!(at(Target::Difference(1, 0)), [-100.0, 100.0, 0.0, -100.0, 100.0, 0.0]);
        assert_eq!(at(Target::Difference(1, 1)), [0.0; 6]);
        let third = 100.0 / 3.0;
        assert_eq!(at(Target::All), [third as f32; 6]);
    }

    #[test]
    fn values_and_totals() {
        let value = Request { start: Start::Value, ..of(Target::All) };
        assert_eq!(made(&[2, 3], &LOGITS, &value), LOGITS);
        let minus = Request { start: Start::Value, ..of(Target::Difference(1, 2)) };
        assert_eq!(made(&[2, 3], &LOGITS, &minus), [0.0, 2.0, 1.0, 0.0, 1.0, -3.0]);
        // 1.5 and 7 become 3.
        let total = made(&[2, 3], &LOGITS, &Request { total: Some(3.0), ..value });
        assert_eq!(total[..3], [1.0, 4.0, -2.0]);
        assert!((total[3..].iter().sum::<f32>() - 3.0).abs() < 1e-6);
        let one = Request { total: Some(3.0), ..of(Target::Argmax) };
        assert_eq!(made(&[2, 3], &LOGITS, &one), [0.0, 3.0, 0.0, 3.0, 0.0, 0.0]);
        let open = Request { total: Some(3.0), ..of(Target::Difference(0, 1)) };
        assert_eq!(
            refused(&[2, 3], &LOGITS, &open),
            "the starting relevance of row 0 of output `y` sums to 0: it cannot be scaled to 3"
        );
    }

    #[test]
    fn a_region_above_a_threshold() {
        let pixels = [0.9, 0.1, 0.6, 0.5, 0.2, 0.3, 0.4, 0.7];
        let region = Request { task: Some(Task::BinarySegmentation), ..of(Target::Above(0.5)) };
        let dims = [2, 1, 2, 2];
        assert_eq!(made(&dims, &pixels, &region), [50.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
        let value = Request { start: Start::Value, ..region.clone() };
        assert_eq!(made(&dims, &pixels, &value), [0.9, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.7]);
        let total = Request { total: Some(3.0), ..value };
        let scaled = made(&dims, &pixels, &total);
        assert!((scaled[0] - 1.8).abs() < 1e-6 && (scaled[2] - 1.2).abs() < 1e-6 && scaled[7] == 3.0);
        assert_eq!(
            refused(&dims, &pixels, &of(Target::Above(0.8))),
            "nothing in row 1 of output `y` is above the threshold: the greatest value is 0.699999988079071"
        );
        assert_eq!(made(&dims, &pixels, &of(Target::All)), [25.0; 8]);
    }

    #[test]
    fn positions() {
        let values = [1.0, 0.0, 0.0, 1.0, 2.0, 1.0];
        let at = |position| made(&[1, 3, 2], &values, &Request { position, ..Request::default() });
        assert_eq!(at(Position::At(-1)), [0.0, 0.0, 0.0, 0.0, 100.0, 0.0]);
        assert_eq!(at(Position::At(1)), [0.0, 0.0, 0.0, 100.0, 0.0, 0.0]);
        assert_eq!(at(Position::Shown { length: 3, last: vec![0] }), [100.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let third = 100.0f64 / 3.0;
        assert_eq!(at(Position::All), [third as f32, 0.0, 0.0, third as f32, third as f32, 0.0]);
        let all = Request { position: Position::All, ..Request::default() };
        let seed = seed("y", &Tensor::from_f32(&[1, 3, 2], &values), &all).unwrap();
        assert_eq!((seed.targets, seed.argmax), (vec![0, 1, 0], vec![0]));
    }

    #[test]
    fn a_task_refuses_what_it_does_not_fit() {
        let with = |task: Task| Request { task: Some(task), ..of(task.target()) };
        assert_eq!(
            refused(&[2, 3], &LOGITS, &with(Task::BinaryClassification)),
            "task binary-classification is for outputs [batch, unit] with one or two units: output `y` is [2, 3]"
        );
        assert!(refused(&[2, 3], &LOGITS, &with(Task::Generation)).contains("[batch, position, unit]"));
        assert!(refused(&[2, 3], &LOGITS, &with(Task::BinarySegmentation)).contains("[batch, channel, row"));
        assert_eq!(made(&[2, 3], &LOGITS, &with(Task::MultiClass)).iter().sum::<f32>(), 200.0);
        assert_eq!(made(&[1, 2], &LOGITS[..2], &with(Task::BboxRegression)), [50.0, 50.0]);
        assert!(refused(&[1, 1, 2, 3], &LOGITS, &of(Target::Argmax)).contains("--task binary-segmentation"));
    }
}
