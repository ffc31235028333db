//! Metrics that replace features and measure the answer of the model.

use dlbc_runtime::Random;

use super::features::patches;
use super::fill::{Blank, replaced};
use super::measure::{Order, area, normalised, order};
use super::plan::{Plan, stream};
use super::subject::{Case, Model};
use crate::error::Result;
use crate::statistics::correlation;

/// Returns the answer after each step of replaced features, in the `direction` of their relevance; the answer to the
/// untouched input is not part of the curve.
///
/// # Errors
/// As [`Model::answers`].
pub fn flipping(
    model: &Model,
    case: &Case,
    relevance: &[f64],
    plan: &Plan,
    direction: Order,
) -> Result<Vec<f64>> {
    let order = order(relevance, direction);
    let groups = order.chunks(plan.step(case)).map(<[usize]>::to_vec);
    let count = groups.len();
    model.answers(replaced(&case.tensors, &case.blank, &case.features, groups), count, case)
}

/// Returns the answers while features are inserted into an empty input, most relevant first; the first answer is that to
/// the empty input.
///
/// # Errors
/// As [`Model::answers`].
pub fn insertion(model: &Model, case: &Case, relevance: &[f64], plan: &Plan) -> Result<Vec<f64>> {
    let all: Vec<usize> = (0..case.features.count()).collect();
    let empty = replaced(&case.tensors, &case.start, &case.features, std::iter::once(all)).next();
    let Some(empty) = empty else { return Ok(vec![]) };
    let Some(tensor) = case.tensors.get(&case.start.input) else { return Ok(vec![]) };
    let original = Blank { input: case.start.input.clone(), tensor: tensor.clone() };
    let order = order(relevance, Order::Descending);
    let groups = order.chunks(plan.step(case)).map(<[usize]>::to_vec);
    let count = 1 + groups.len();
    let inserted = replaced(&empty, &original, &case.features, groups);
    model.answers(std::iter::once(empty.clone()).chain(inserted), count, case)
}

/// Returns the area under the deletion curve: the answer to the untouched input, then the curve of [`flipping`].
pub fn deletion(untouched: f64, flipping: &[f64]) -> f64 {
    let all: Vec<f64> = std::iter::once(untouched).chain(flipping.iter().copied()).collect();
    area(&all)
}

/// Returns the drop of the answer after each replaced patch, most relevant first: the answer to the untouched input minus
/// the answer without the patches replaced so far. `None` for features without a grid.
///
/// # Errors
/// As [`Model::answers`].
pub fn regions(model: &Model, case: &Case, relevance: &[f64], plan: &Plan) -> Result<Option<Vec<f64>>> {
    let Some(grid) = case.features.grid else { return Ok(None) };
    let patches = patches(grid, plan.patch(grid));
    let sums: Vec<f64> = patches.iter().map(|p| p.iter().map(|f| relevance[*f]).sum()).collect();
    let groups = order(&sums, Order::Descending).into_iter().take(plan.regions).map(|p| patches[p].clone());
    let count = groups.len();
    let answers = model.answers(replaced(&case.tensors, &case.blank, &case.features, groups), count, case)?;
    let untouched = model.answer(&case.units, case.target);
    Ok(Some(answers.iter().map(|a| untouched - a).collect()))
}

/// Returns Pearson's correlation, over random subsets of features, between the sum of their relevance and the drop of the
/// target's output when they are replaced. The subsets are the same for every method.
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
    let drops: Vec<f64> = units.iter().map(|u| case.units[case.target] - u[case.target]).collect();
    let values = normalised(relevance);
    let sums: Vec<f64> = subsets.iter().map(|s| s.iter().map(|f| values[*f]).sum()).collect();
    Ok(correlation(&sums, &drops))
}
