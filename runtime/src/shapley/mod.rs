//! Exact Shapley values of sums of trees. The interventional ones are the mean, over the rows of a background, of the values of the
//! game in which each feature has its value from the explained row or from the background's. The path-dependent ones are those of
//! the game in which a feature that is not known goes every way, each with the share of the rows that went there.

mod covers;
mod forest;
mod interventional;
mod path_dependent;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{AsViews, BackendError, RunControl, Tensors, Views};
use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, TrackKind, TreesEntry, TreesInfo};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{Explanation, Timings, Track};
use crate::ledger::{Ledger, LedgerRow};
use crate::plan::executor::{Executor, model_outputs};
use crate::plan::wanted::{Wanted, forward_outputs};
use crate::request::{MIN_BACKGROUND, Request, SeedValue, Target};
use crate::seed::{Convention, seed};
use covers::Covers;
use forest::{LeafValues, Trees};
use path_dependent::{Fault, Paths, Regions};

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
    let graph = &executor.program().graph;
    let tables: Option<Vec<Trees>> = (0..trees.ensembles.len()).map(|i| Trees::read(graph, i)).collect();
    let tables = tables.ok_or_else(|| {
        BackendError::Node("trees: expected constant tables of at most 500 features on a way".into())
    })?;
    let background = match &request.background {
        Some(background) => Some(forward(executor, trees, &background.views(), run)?.1),
        None => None,
    };
    let reference = reference(executor, &tables, background, &rows, request.path_dependent)?;
    let forward = clock.elapsed().as_secs_f64();
    let game = Game { trees, tables, rows, reference, rules: &executor.program().info.rules, run };
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
    let outputs = (0..trees.ensembles.len()).map(|i| TreesEntry::Rows.of(i));
    wanted.extend(outputs.clone());
    let wanted = Wanted { forward: wanted, reverse: vec![], targets: 1, head: None };
    let mut prepared = executor.prepare(inputs, wanted, None, run)?;
    let (mut results, _) = prepared.forward()?;
    let rows = |output: Output| {
        let tensor = results.remove(&output).ok_or_else(|| BackendError::MissingInput(output.to_string()))?;
        Ok(split(&tensor))
    };
    let rows = outputs.map(rows).collect::<Result<Rows, BackendError>>()?;
    Ok((model_outputs(results), rows))
}

/// Returns the rows that each ensemble reads of a batch.
///
/// # Errors
/// For inputs that do not fit the model.
pub(crate) fn tree_rows(
    executor: &Executor,
    trees: &TreesInfo,
    inputs: &Views<'_>,
) -> Result<Vec<Tensor>, RuntimeError> {
    let (_, rows) = forward(executor, trees, inputs, executor.run(None))?;
    let tensor = |rows: Vec<Vec<f32>>| {
        let width = rows.first().map_or(0, Vec::len);
        Tensor::from_f32(&[rows.len(), width], &rows.concat())
    };
    Ok(rows.into_iter().map(tensor).collect())
}

/// Source of the values of features that are not known.
enum Reference {
    /// Rows of a background, by ensemble.
    Background(Rows),
    /// Other rows of the batch.
    OtherRows,
    /// Covers of the trees, by ensemble. If they count the batch, the explained row is taken back.
    Covers { ensembles: Vec<(Covers, Regions)>, count_batch: bool },
}

/// Chooses the reference: a background of the request, covers of the file, a background of the program, the other rows.
fn reference(
    executor: &Executor,
    tables: &[Trees],
    background: Option<Rows>,
    rows: &Rows,
    path_dependent: bool,
) -> Result<Reference, RuntimeError> {
    let program = executor.program();
    let graph = &program.graph;
    if path_dependent && background.is_none() && program.has_trees_entry(TreesEntry::Covers) {
        let ensemble = |(i, trees)| Some((Covers::read(graph, i, trees)?, Regions::new(trees)?));
        let ensembles = tables.iter().enumerate().map(ensemble).collect::<Option<_>>();
        return Ok(Reference::Covers { ensembles: ensembles.ok_or_else(broken)?, count_batch: false });
    }
    let stored = || (0..tables.len()).map(|i| constant_rows(graph, i)).collect::<Option<Rows>>();
    let background = background.or_else(stored);
    let count = rows.first().map_or(0, Vec::len);
    if background.is_none() && count <= MIN_BACKGROUND {
        let rules = program.info.rules.clone();
        return Err(RuntimeError::NoBackground { rules, min: MIN_BACKGROUND, rows: count });
    }
    if !path_dependent {
        return Ok(background.map_or(Reference::OtherRows, Reference::Background));
    }
    let counted = background.as_ref().unwrap_or(rows);
    let ensemble = |(trees, rows)| Some((Covers::count(trees, rows)?, Regions::new(trees)?));
    let ensembles = tables.iter().zip(counted).map(ensemble).collect::<Option<_>>();
    let count_batch = background.is_none();
    Ok(Reference::Covers { ensembles: ensembles.ok_or_else(broken)?, count_batch })
}

/// Returns the background that a program holds for an ensemble.
fn constant_rows(graph: &Graph<Prim>, ensemble: usize) -> Option<Vec<Vec<f32>>> {
    let value = graph.output(&TreesEntry::Background.of(ensemble))?;
    match graph.op(value.node) {
        Prim::Const(rows) => Some(split(rows)),
        _ => None,
    }
}

/// Splits a tensor `[row, feature]` into its rows.
fn split(tensor: &Tensor) -> Vec<Vec<f32>> {
    let width = tensor.dims().get(1).copied().unwrap_or(1).max(1);
    tensor.to_f32().chunks(width).map(<[f32]>::to_vec).collect()
}

/// Returns the error of tables that are not trees, which only a damaged artifact has.
fn broken() -> BackendError {
    BackendError::Node("trees: expected tables without cycles, and rows of all features".into())
}

/// The rows and trees of a run.
struct Game<'a> {
    trees: &'a TreesInfo,
    tables: Vec<Trees>,
    rows: Rows,
    reference: Reference,
    /// Name of the composite, for messages.
    rules: &'a str,
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
        for (e, ensemble) in self.trees.ensembles.iter().enumerate() {
            let explained = self.rows.get(e).and_then(|rows| rows.get(row)).ok_or_else(broken)?;
            let mut features = vec![0.0; explained.len()];
            let sums = self.ensemble(e, row, explained, &leaves[e], &mut features)?;
            (score, mean) = (score + sums[0], mean + sums[1]);
            for (value, origin) in features.iter().zip(&ensemble.features) {
                if let Some(share) = origin.and_then(|(s, i)| shares.get_mut(s)?.get_mut(i)) {
                    *share += value;
                }
            }
        }
        Ok(Values { shares, score, mean })
    }

    /// Writes the values of a row's features in an ensemble to `features`, and returns its score and the mean score.
    fn ensemble(
        &self,
        ensemble: usize,
        row: usize,
        explained: &[f32],
        leaves: &LeafValues,
        features: &mut [f64],
    ) -> Result<[f64; 2], RuntimeError> {
        let trees = &self.tables[ensemble];
        let others: Vec<&Vec<f32>> = match &self.reference {
            Reference::Background(background) => background[ensemble].iter().collect(),
            Reference::OtherRows => {
                let others = self.rows[ensemble].iter().enumerate().filter(|(i, _)| *i != row);
                others.map(|(_, row)| row).collect()
            }
            Reference::Covers { ensembles, count_batch } => {
                let (covers, regions) = &ensembles[ensemble];
                let mut covers = Cow::Borrowed(covers);
                if *count_batch {
                    covers.to_mut().add(trees, explained, -1.0).ok_or_else(broken)?;
                }
                let sums = Paths::new(trees, regions, &covers, explained).add(leaves, features);
                return sums.map_err(|fault| match fault {
                    Fault::Tables => broken().into(),
                    Fault::NoRows => RuntimeError::NoCover { rules: self.rules.into(), row },
                });
            }
        };
        let mut sums = [0.0; 2];
        for other in &others {
            let pair = interventional::add(trees, leaves, explained, other, features).ok_or_else(broken)?;
            sums = [sums[0] + pair[0], sums[1] + pair[1]];
        }
        let count = others.len().max(1) as f64;
        features.iter_mut().for_each(|value| *value /= count);
        Ok(sums.map(|sum| sum / count))
    }
}
