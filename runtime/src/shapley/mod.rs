//! Exact interventional Shapley values of sums of trees: the mean, over the rows of a background, of the values of the game in
//! which each feature has its value from the explained row or from the background's.

mod forest;

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{AsViews, BackendError, RunControl, Tensors, Views};
use dlbc_ops::program::{Output, TrackKind, TreesInfo};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{Explanation, Timings, Track};
use crate::ledger::{Ledger, LedgerRow};
use crate::plan::executor::{Executor, model_outputs};
use crate::plan::wanted::{Wanted, forward_outputs};
use crate::request::{MIN_BACKGROUND, Request, SeedValue, Target};
use crate::seed::{Convention, seed};
use forest::{LeafValues, Trees};

/// Rows that the ensembles read, by ensemble: rows of float32 features.
type Rows = Vec<Vec<Vec<f32>>>;

/// Explains the raw score of each target by Shapley values.
///
/// # Errors
/// When the background is missing, or a setting of the request has no effect.
pub(crate) fn explain(
    executor: &Executor,
    trees: &TreesInfo,
    inputs: &Views<'_>,
    targets: &[Target],
    request: &Request,
) -> Result<Vec<Explanation>, RuntimeError> {
    check(executor, request)?;
    let run = executor.run(request.cancel.as_ref());
    let clock = Instant::now();
    let (outputs, rows) = forward(executor, trees, inputs, run)?;
    let background = match &request.background {
        Some(background) => Some(forward(executor, trees, &background.views(), run)?.1),
        None => None,
    };
    let count = rows.first().map_or(0, Vec::len);
    if background.is_none() && count <= MIN_BACKGROUND {
        let rules = executor.program().info.rules.clone();
        return Err(RuntimeError::NoBackground { rules, min: MIN_BACKGROUND, rows: count });
    }
    let forward = clock.elapsed().as_secs_f64();
    let tables: Option<Vec<Trees>> =
        (0..trees.ensembles.len()).map(|i| Trees::read(&executor.program().graph, i)).collect();
    let tables = tables.ok_or_else(|| {
        BackendError::Node("trees: expected constant tables of at most 500 features on a way".into())
    })?;
    let game = Game { trees, tables, rows, background, run };
    targets
        .iter()
        .map(|target| {
            let clock = Instant::now();
            let mut explanation = game.explain(executor, &outputs, &request.clone().target(*target))?;
            explanation.timings = Timings { prepare: 0.0, forward, reverse: clock.elapsed().as_secs_f64() };
            Ok(explanation)
        })
        .collect()
}

/// Refuses settings that would have no effect.
fn check(executor: &Executor, request: &Request) -> Result<(), RuntimeError> {
    let rules = executor.program().info.rules.clone();
    let is_default = request.multiplier == Request::default().multiplier;
    let setting = match request {
        _ if !is_default => "multiplier",
        Request { normalize_to: Some(_), .. } => "scale of the starting relevance",
        Request { seed: Some(_), .. } => "starting relevance",
        Request { baseline: Some(_), .. } => "baseline",
        Request { modules: true, .. } | Request { heads: true, .. } => "ledger of modules or heads",
        Request { keep_all: true, .. } => "relevance of every tensor",
        _ if !request.keep.is_empty() => "relevance of inner tensors",
        _ => return Ok(()),
    };
    Err(RuntimeError::NotForTrees { rules, setting })
}

/// Returns the model's outputs, and the rows that the ensembles read.
fn forward(
    executor: &Executor,
    trees: &TreesInfo,
    inputs: &Views<'_>,
    run: RunControl<'_>,
) -> Result<(Tensors, Rows), RuntimeError> {
    let mut wanted = forward_outputs(executor.program(), None);
    let outputs = (0..trees.ensembles.len()).map(Output::TreeRows);
    wanted.extend(outputs.clone());
    let wanted = Wanted { forward: wanted, reverse: vec![], targets: 1, head: None };
    let mut prepared = executor.prepare(inputs, wanted, None, run)?;
    let (mut results, _) = prepared.forward()?;
    let rows = |output: Output| {
        let tensor = results.remove(&output).ok_or_else(|| BackendError::MissingInput(output.to_string()))?;
        let width = tensor.dims().get(1).copied().unwrap_or(1).max(1);
        Ok(tensor.to_f32().chunks(width).map(<[f32]>::to_vec).collect())
    };
    let rows = outputs.map(rows).collect::<Result<Rows, BackendError>>()?;
    Ok((model_outputs(results), rows))
}

/// The rows and trees of a run.
struct Game<'a> {
    trees: &'a TreesInfo,
    tables: Vec<Trees>,
    rows: Rows,
    /// Rows of the background; `None` for the other rows of the batch.
    background: Option<Rows>,
    run: RunControl<'a>,
}

/// Shapley values of a row.
struct Values {
    /// Values by source and element.
    shares: Vec<Vec<f64>>,
    /// Raw score of the row.
    score: f64,
    /// Mean raw score of the background.
    mean: f64,
}

impl Game<'_> {
    fn explain(
        &self,
        executor: &Executor,
        outputs: &Tensors,
        request: &Request,
    ) -> Result<Explanation, RuntimeError> {
        let info = &executor.program().info;
        // The target is chosen by the outputs; its weights are those of derivatives.
        let request = request.clone().seed_value(SeedValue::One).multiplier(1.0);
        let chosen = seed(&info.explained, outputs, &request, &Convention::default())?;
        let weights = chosen.tensor.to_f64();
        let count = self.rows.first().map_or(0, Vec::len);
        let units = weights.len().checked_div(count).unwrap_or(0).max(1);
        let mut relevance: Vec<Vec<f32>> = vec![vec![]; self.trees.sources.len()];
        let (mut start, mut absorbed, mut passed) = (0.0, 0.0, vec![0.0; self.trees.sources.len()]);
        let mut starts = vec![];
        let mut cache: Option<(Vec<f64>, Vec<LeafValues>)> = None;
        for (row, weights) in weights.chunks(units).enumerate().take(count) {
            self.run.check()?;
            let (offset, columns) = self.columns(weights);
            let leaves = match cache.take() {
                Some((combined, leaves)) if combined == weights => leaves,
                _ => self.tables.iter().zip(&columns).map(|(t, w)| t.leaf_values(w)).collect(),
            };
            let values = self.values(row, offset, &leaves)?;
            cache = Some((weights.to_vec(), leaves));
            start += values.score;
            absorbed += values.mean;
            for (k, shares) in values.shares.iter().enumerate() {
                passed[k] += shares.iter().sum::<f64>();
                relevance[k].extend(shares.iter().map(|v| *v as f32));
            }
            let size: f64 = weights.iter().map(|w| w.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
            starts.extend(weights.iter().map(|w| (values.score * w.abs() / size) as f32));
        }
        let mut tensors = Tensors::new();
        let mut input_sums = BTreeMap::new();
        for ((source, values), sum) in self.trees.sources.iter().zip(relevance).zip(&passed) {
            let dims = [&[count], source.dims.as_slice()].concat();
            tensors.insert(source.name.clone(), Tensor::from_f32(&dims, &values));
            input_sums.insert(source.name.clone(), *sum);
        }
        let row = || LedgerRow {
            node: info.explained.clone(),
            op: "TreeEnsemble".into(),
            rule: info.rules.clone(),
            operands: self.trees.sources.iter().map(|s| s.name.clone()).collect(),
            received: start,
            passed: passed.iter().sum(),
            absorbed,
        };
        let supporting = Track {
            kind: TrackKind::Single,
            relevance: tensors,
            seed_sum: start,
            input_sums,
            absorbed,
            ledger: request.ledger.then(|| Ledger::of_rows(vec![row()])),
            modules: None,
            heads: None,
        };
        Ok(Explanation {
            outputs: outputs.clone(),
            at_positions: None,
            seed: Tensor::from_f32(chosen.tensor.dims(), &starts),
            argmax: chosen.argmax,
            targets: chosen.targets,
            boxes: chosen.boxes,
            supporting,
            opposing: None,
            experts: None,
            timings: Timings::default(),
        })
    }

    /// Returns the constant and the weights of the ensembles' columns for a sum of units with these weights.
    fn columns(&self, weights: &[f64]) -> (f64, Vec<Vec<f64>>) {
        let mut columns: Vec<Vec<f64>> = vec![vec![]; self.tables.len()];
        let mut offset = 0.0;
        for (score, weight) in self.trees.scores.iter().zip(weights) {
            offset += weight * score.offset;
            for (ensemble, column, factor) in &score.terms {
                let Some(columns) = columns.get_mut(*ensemble) else { continue };
                if columns.len() <= *column {
                    columns.resize(column + 1, 0.0);
                }
                columns[*column] += weight * factor * self.trees.ensembles[*ensemble].factor;
            }
        }
        (offset, columns)
    }

    /// Returns the Shapley values of a row.
    fn values(&self, row: usize, offset: f64, leaves: &[LeafValues]) -> Result<Values, RuntimeError> {
        let mut shares: Vec<Vec<f64>> =
            self.trees.sources.iter().map(|s| vec![0.0; s.dims.iter().product()]).collect();
        let (mut score, mut mean) = (offset, offset);
        for (e, (trees, ensemble)) in self.tables.iter().zip(&self.trees.ensembles).enumerate() {
            let explained = &self.rows[e][row];
            let mut features = vec![0.0; explained.len()];
            let others: Vec<&Vec<f32>> = match &self.background {
                Some(background) => background[e].iter().collect(),
                None => self.rows[e].iter().enumerate().filter(|(i, _)| *i != row).map(|(_, r)| r).collect(),
            };
            let mut sums = [0.0; 2];
            for other in &others {
                let pair = trees.add(&leaves[e], explained, other, &mut features);
                let pair =
                    pair.ok_or_else(|| BackendError::Node("trees: expected tables without cycles".into()))?;
                sums = [sums[0] + pair[0], sums[1] + pair[1]];
            }
            let count = others.len().max(1) as f64;
            score += sums[0] / count;
            mean += sums[1] / count;
            for (value, origin) in features.iter().zip(&ensemble.features) {
                if let Some(share) = origin.and_then(|(s, i)| shares.get_mut(s)?.get_mut(i)) {
                    *share += value / count;
                }
            }
        }
        Ok(Values { shares, score, mean })
    }
}
