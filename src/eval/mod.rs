//! Evaluation of explanations: how far they can be trusted.
//!
//! Metrics are those of Quantus \[hedstrom2023\], of one sample after the other: [`prepare`] reads the samples, [`evaluate`] measures
//! a [`Method`], a composite or a control such as a random map, on each of them.

mod budget;
mod chance;
mod curves;
mod features;
mod fill;
mod mask;
mod measure;
mod metric;
mod outcome;
mod plan;
mod plot;
mod prepare;
mod sanity;
mod subject;

use std::collections::BTreeMap;

use crate::error::Result;
use measure::{Order, area, mean};

pub use budget::{Budget, Cost, fit};
pub use chance::no_better_than_random;
pub use features::Features;
pub use fill::{Blank, Fill, deviation};
pub use metric::{Better, Metric};
pub use outcome::Outcome;
pub use plan::{Plan, REGIONS, RUNS, stream};
pub use plot::draw as plot;
pub use prepare::{PrepareOptions, Prepared, prepare};
pub use sanity::{Randomised, other_unit, randomisation};
pub use subject::{Case, Map, Method, Model};

/// Measures a method on every sample.
///
/// # Errors
/// As [`Method::explain`] and [`Model::answers`].
pub fn evaluate(method: &Method, prepared: &Prepared, metrics: &[Metric], plan: &Plan) -> Result<Outcome> {
    let model = &prepared.model;
    let has = |m: Metric| metrics.contains(&m);
    let mut outcome = Outcome::default();
    for (number, case) in prepared.cases.iter().enumerate() {
        let map = method.explain(case, case.target, stream::CONTROL + number as u64)?;
        let relevance = &map.relevance;
        let mut scores: BTreeMap<Metric, f64> = BTreeMap::new();
        let untouched = model.answer(&case.units, case.target);
        if [Metric::Morf, Metric::Gap, Metric::Deletion].into_iter().any(has) {
            let curve = curves::flipping(model, case, relevance, plan, Order::Descending)?;
            scores.insert(Metric::Morf, area(&curve));
            scores.insert(Metric::Deletion, curves::deletion(untouched, &curve));
            outcome.curve("morf", curve);
        }
        if [Metric::Lerf, Metric::Gap].into_iter().any(has) {
            let curve = curves::flipping(model, case, relevance, plan, Order::Ascending)?;
            scores.insert(Metric::Lerf, area(&curve));
            outcome.curve("lerf", curve);
        }
        if let (Some(morf), Some(lerf)) = (scores.get(&Metric::Morf), scores.get(&Metric::Lerf)) {
            scores.insert(Metric::Gap, lerf - morf);
        }
        if has(Metric::RegionPerturbation)
            && let Some(drops) = curves::regions(model, case, relevance, plan)?
        {
            scores.insert(Metric::RegionPerturbation, mean(&drops));
            outcome.curve("region-perturbation", drops);
        }
        if has(Metric::Insertion) {
            let curve = curves::insertion(model, case, relevance, plan)?;
            scores.insert(Metric::Insertion, area(&curve));
            outcome.curve("insertion", curve);
        }
        if has(Metric::FaithfulnessCorrelation) {
            let score = curves::faithfulness(model, case, number, relevance, plan)?;
            scores.insert(Metric::FaithfulnessCorrelation, score);
        }
        if has(Metric::MaxSensitivity) {
            let score = sanity::sensitivity(method, case, number, relevance, plan)?;
            scores.extend(score.map(|s| (Metric::MaxSensitivity, s)));
        }
        scores.insert(Metric::Sparseness, measure::sparseness(relevance));
        scores.insert(Metric::Complexity, measure::complexity(relevance));
        if let Some(mask) = &case.mask {
            scores.insert(Metric::RankAccuracy, measure::rank_accuracy(relevance, mask));
            scores.insert(Metric::MassAccuracy, measure::mass_accuracy(relevance, mask));
            scores.insert(Metric::PointingGame, measure::pointing(relevance, mask));
        }
        if has(Metric::RandomLogit) {
            let score = sanity::random_logit(method, case, number, plan)?;
            scores.extend(score.map(|s| (Metric::RandomLogit, s)));
        }
        if let Some(sums) = map.ledger_sums {
            scores.insert(Metric::Conservation, sums[1] / sums[0]);
            outcome.ledger_sums.push(sums);
        }
        scores.retain(|metric, _| has(*metric));
        outcome.add(scores);
        outcome.maps.push(map.relevance);
    }
    Ok(outcome)
}
