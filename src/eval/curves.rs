//! Metrics that replace features and look at the answer.

use dlbc_runtime::Random;

use super::features::patches;
use super::fill::{Blank, replaced};
use super::measure::{area, normalised, order};
use super::plan::{Plan, stream};
use super::subject::{Case, Model};
use crate::error::Result;
use crate::statistics::correlation;

/// Answers while features are replaced, a step each; the untouched input is not in them.
///
/// # Errors
/// As [`Model::answers`].
pub fn flipping(
    model: &Model,
    case: &Case,
    relevance: &[f64],
    plan: &Plan,
    greatest_first: bool,
) -> Result<Vec<f64>> {
    let order = order(relevance, greatest_first);
    let groups = order.chunks(plan.step(case)).map(<[usize]>::to_vec);
    let count = groups.len();
    model.answers(replaced(&case.tensors, &case.blank, &case.features, groups), count, case)
}

/// Answers while features are inserted into an empty input, most relevant first; the empty input is the first.
///
/// # Errors
/// As [`Model::answers`].
pub fn insertion(model: &Model, case: &Case, relevance: &[f64], plan: &Plan) -> Result<Vec<f64>> {
    let all: Vec<usize> = (0..case.features.count()).collect();
    let empty = replaced(&case.tensors, &case.start, &case.features, std::iter::once(all)).next();
    let Some(empty) = empty else { return Ok(vec![]) };
    let Some(own) = case.tensors.get(&case.start.input) else { return Ok(vec![]) };
    let own = Blank { input: case.start.input.clone(), tensor: own.clone() };
    let order = order(relevance, true);
    let groups = order.chunks(plan.step(case)).map(<[usize]>::to_vec);
    let count = 1 + groups.len();
    let inserted = replaced(&empty, &own, &case.features, groups);
    model.answers(std::iter::once(empty.clone()).chain(inserted), count, case)
}

/// The curve of a deletion: that of flipping, with the untouched input before it.
pub fn deletion(untouched: f64, flipping: &[f64]) -> f64 {
    let all: Vec<f64> = std::iter::once(untouched).chain(flipping.iter().copied()).collect();
    area(&all)
}

/// Drops of the answer while patches are replaced, the most relevant first: of each number of patches the answer to the
/// untouched input minus the answer without them. `None` where the features have no grid.
///
/// # Errors
/// As [`Model::answers`].
pub fn regions(model: &Model, case: &Case, relevance: &[f64], plan: &Plan) -> Result<Option<Vec<f64>>> {
    let Some(grid) = case.features.grid else { return Ok(None) };
    let patches = patches(grid, plan.patch(grid));
    let sums: Vec<f64> = patches.iter().map(|p| p.iter().map(|f| relevance[*f]).sum()).collect();
    let groups = order(&sums, true).into_iter().take(plan.regions).map(|p| patches[p].clone());
    let count = groups.len();
    let answers = model.answers(replaced(&case.tensors, &case.blank, &case.features, groups), count, case)?;
    let untouched = model.answer(&case.units, case.target);
    Ok(Some(answers.iter().map(|a| untouched - a).collect()))
}

/// Pearson's correlation, over random subsets of features, of the sum of their relevance with what the target's output
/// loses without them. The subsets are the same for every method.
///
/// # Errors
/// As [`Model::units`].
pub fn faithfulness(
    model: &Model,
    case: &Case,
    number: usize,
    relevance: &[f64],
    plan: &Plan,
) -> Result<f64> {
    let mut random = Random::new(plan.seed, stream::SUBSETS + number as u64);
    let subsets: Vec<Vec<usize>> =
        (0..plan.runs).map(|_| random.choose(case.features.count(), plan.subset(case))).collect();
    let inputs = subsets.iter().filter_map(|subset| {
        replaced(&case.tensors, &case.blank, &case.features, std::iter::once(subset.clone())).next()
    });
    let units = model.units(inputs, subsets.len(), case.position)?;
    let lost: Vec<f64> = units.iter().map(|u| case.units[case.target] - u[case.target]).collect();
    let values = normalised(relevance);
    let sums: Vec<f64> = subsets.iter().map(|s| s.iter().map(|f| values[*f]).sum()).collect();
    Ok(correlation(&sums, &lost))
}
