//! Readers of the three operators. Classifiers and regressors list the nodes of their trees by tree and number; version 5
//! lists branches and leaves by index.

use super::branches::Table;
use super::by_index::by_index;
use super::by_tree::by_tree;
use super::lists::{Trees, Weight, numbers};
use super::{Aggregate, TreeEnsemble};
use crate::OpError;
use crate::graph::Value;
use crate::op::Add;
use crate::op::classifier::{self, Labels, PostTransform, Scores};
use crate::op::linear_model;
use crate::op::read::{Reader, Reading};
use crate::tensor::{DType, Tensor};

const DOMAIN: &str = "ai.onnx.ml";

/// Largest number of targets or classes.
const MAX_TARGETS: i64 = 1 << 16;

/// Returns the readers of the three operators.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader { domain: DOMAIN, op: "TreeEnsembleClassifier", since: 1, until: 5, read: classifier },
        Reader { domain: DOMAIN, op: "TreeEnsembleRegressor", since: 1, until: 5, read: regressor },
        Reader { domain: DOMAIN, op: "TreeEnsemble", since: 5, until: 5, read: ensemble },
    ]
}

/// Checks the number of targets or classes.
fn check_targets(targets: i64) -> Result<(), OpError> {
    match (1..=MAX_TARGETS).contains(&targets) {
        true => Ok(()),
        false => Err(OpError::invalid("targets", format!("1 to {MAX_TARGETS}"), targets)),
    }
}

fn classifier(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let labels = classifier::labels(r, "classlabels_int64s")?;
    let classes = labels.len() as i64;
    check_targets(classes)?;
    let trees = by_tree(r, "class", classes)?;
    let base = numbers(r, "base_values")?.unwrap_or_default();
    let post = PostTransform::read(r)?;
    let ids: Vec<usize> = trees.weights.iter().map(|w| w.target).collect();
    let is_single = classes == 2 && ids.iter().all(|id| *id == ids[0]);
    // A model of two classes that weights only one of them has a single score.
    let binary = is_single.then(|| if trees.weights.iter().all(|w| w.value >= 0.0) { 0.5 } else { 0.0 });
    let columns = if is_single { 1 } else { classes };
    let trees = match is_single {
        true => {
            Trees { weights: trees.weights.into_iter().map(|w| Weight { target: 0, ..w }).collect(), ..trees }
        }
        false => trees,
    };
    let raw = scores(r, &trees, columns, Aggregate::Sum)?;
    let is_second = is_single && ids.first() == Some(&1);
    if is_single && base.len() > usize::from(!is_second) {
        let expected = "one for the single score of the first class";
        return Err(OpError::unsupported("base_values", expected, base.len()));
    }
    if !is_single && classes == 2 && !base.is_empty() {
        return Err(OpError::unsupported("base_values", "none for two scores of two classes", base.len()));
    }
    let raw = with_base(r, raw, &base, columns)?;
    let kind = match binary {
        // With the second class's number the first one has no score: it is 0.
        Some(threshold) if is_second => {
            let zero = r.add_scalar(0.0, DType::F32);
            let zero = r.add(crate::op::Mul, &[raw, zero])?;
            let both = r.add(crate::op::Concat { axis: 1 }, &[zero, raw])?;
            return classifier::outputs(r, both, &labels, Scores::ByPositive { threshold }, post);
        }
        Some(threshold) => Scores::Single { threshold, complement: threshold == 0.5 },
        // ONNX Runtime labels them 0 and 1.
        None if classes == 2 => {
            let labels = match labels {
                Labels::Numbers(_) => Labels::Numbers(vec![0, 1]),
                Labels::Words(_) => labels,
            };
            return classifier::outputs(r, raw, &labels, Scores::ByPositive { threshold: 0.0 }, post);
        }
        None => Scores::Largest,
    };
    classifier::outputs(r, raw, &labels, kind, post)
}

fn regressor(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let targets = r.int_or("n_targets", 1)?;
    check_targets(targets)?;
    let trees = by_tree(r, "target", targets)?;
    let base = numbers(r, "base_values")?.unwrap_or_default();
    let aggregate = match r.string_or("aggregate_function", "SUM")?.as_str() {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(OpError::invalid("aggregate_function", "SUM, AVERAGE, MIN or MAX", other)),
    };
    let post = PostTransform::read(r)?;
    let raw = scores(r, &trees, targets, aggregate)?;
    let raw = with_base(r, raw, &base, targets)?;
    Ok(vec![post.apply(r, raw)?])
}

fn ensemble(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let targets = r.int("n_targets")?.ok_or_else(|| OpError::missing_attribute("n_targets", "a number"))?;
    check_targets(targets)?;
    let trees = by_index(r, targets)?;
    let aggregate = match r.int_or("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(OpError::invalid("aggregate_function", "0 to 3", other)),
    };
    let post = PostTransform::of_number(r.int_or("post_transform", 0)?)?;
    let raw = scores(r, &trees, targets, aggregate)?;
    Ok(vec![post.apply(r, raw)?])
}

/// Adds the ensemble to the graph; returns the scores `[row, target]` without base values.
fn scores(r: &mut Reading, trees: &Trees, targets: i64, aggregate: Aggregate) -> Result<Value, OpError> {
    let targets = targets as usize;
    if let Some(w) = trees.weights.iter().find(|w| !w.value.is_finite()) {
        return Err(OpError::unsupported("weights of leaves", "finite numbers", w.value));
    }
    if let Some(w) = trees.weights.iter().find(|w| w.target >= targets) {
        return Err(OpError::invalid("target of a leaf", format!("0 to {}", targets - 1), w.target));
    }
    let rows = linear_model::rows(r)?;
    let name = |i: usize| trees.names[i].clone();
    let table = Table::new(&trees.branches, &trees.roots, name)?;
    table.check_features(r.ty(rows).dim(1).as_known(), name)?;
    let (branches, roots) = (table.features.len(), table.roots.len());
    let mut operands = vec![
        rows,
        r.add_constant(Tensor::from_i64(&[branches], &table.features)),
        r.add_constant(Tensor::from_f32(&[branches], &table.thresholds)),
        r.add_constant(Tensor::from_i64(&[branches, 4], &table.children)),
        r.add_constant(Tensor::from_i64(&[roots], &table.roots)),
    ];
    let leaves = trees.leaf_trees.len().max(1);
    let single =
        single_targets(trees, targets).filter(|_| matches!(aggregate, Aggregate::Sum | Aggregate::Average));
    match single {
        Some(of_tree) => {
            let mut values = vec![0.0; leaves];
            trees.weights.iter().for_each(|w| values[w.leaf] += w.value);
            operands.push(r.add_constant(Tensor::from_f32(&[leaves], &values)));
            let mut counts = sized(r, roots, targets, 0.0)?;
            of_tree.iter().enumerate().for_each(|(tree, target)| counts[tree * targets + target] = 1.0);
            operands.push(r.add_constant(Tensor::from_f32(&[roots, targets], &counts)));
        }
        None => {
            let absent = match aggregate {
                Aggregate::Sum | Aggregate::Average => 0.0,
                Aggregate::Min => f32::INFINITY,
                Aggregate::Max => f32::NEG_INFINITY,
            };
            let mut values = sized(r, leaves, targets, absent)?;
            for w in &trees.weights {
                let value = &mut values[w.leaf * targets + w.target];
                *value = match aggregate {
                    Aggregate::Sum | Aggregate::Average => *value + w.value,
                    Aggregate::Min => value.min(w.value),
                    Aggregate::Max => value.max(w.value),
                };
            }
            operands.push(r.add_constant(Tensor::from_f32(&[leaves, targets], &values)));
        }
    }
    let covers = trees.covers.as_ref().map(|covers| Tensor::from_f32(&[covers.len()], covers));
    let scores = r.add(TreeEnsemble { depth: table.depth, aggregate, covers }, &operands)?;
    match aggregate {
        Aggregate::Sum | Aggregate::Average => Ok(scores),
        // A target for which no leaf counts is 0.
        Aggregate::Min | Aggregate::Max => {
            let size = r.unary(crate::prim::Unary::Abs, scores)?;
            let infinite = r.add_scalar(f64::INFINITY, DType::F32);
            let is_absent = r.compare(crate::prim::Binary::Equal, size, infinite)?;
            let zero = r.add_scalar(0.0, DType::F32);
            r.select(is_absent, zero, scores)
        }
    }
}

/// Returns `rows · columns` values, unless they exceed the limit on the bytes of a tensor.
fn sized(r: &Reading, rows: usize, columns: usize, value: f32) -> Result<Vec<f32>, OpError> {
    let bytes = (rows as u64).saturating_mul(columns as u64).saturating_mul(4);
    if bytes > r.max_tensor_bytes {
        let what = "table of the leaves' weights".into();
        return Err(OpError::TensorBytes { what, bytes, limit: r.max_tensor_bytes });
    }
    Ok(vec![value; rows * columns])
}

/// Returns the target of each tree if each tree has one target and there are several.
fn single_targets(trees: &Trees, targets: usize) -> Option<Vec<usize>> {
    if targets == 1 {
        return None;
    }
    let mut of_tree: Vec<Option<usize>> = vec![None; trees.roots.len()];
    for w in &trees.weights {
        let tree = trees.leaf_trees[w.leaf];
        if *of_tree[tree].get_or_insert(w.target) != w.target {
            return None;
        }
    }
    Some(of_tree.into_iter().map(|target| target.unwrap_or(0)).collect())
}

/// Adds the base values, of which there are none, one for all or one for each column.
fn with_base(r: &mut Reading, raw: Value, base: &[f32], columns: i64) -> Result<Value, OpError> {
    // One base value for several targets has no effect in ONNX Runtime.
    if base.is_empty() || base.len() as i64 != columns {
        return match base.len() {
            0 | 1 => Ok(raw),
            len => Err(OpError::mismatch("base_values", columns, len)),
        };
    }
    let base = r.add_constant(Tensor::from_f32(&[base.len()], base));
    r.add(Add, &[raw, base])
}
