//! Trees of version 5, whose branches and leaves have indices.

use super::branches::{Branch, Child, Mode};
use super::lists::{Trees, Weight, check_len, flags, required};
use crate::OpError;
use crate::op::read::Reading;

/// Reads the trees of version 5. A comparison with a set becomes one comparison for each of its values.
///
/// # Errors
/// If lists differ in length, or an index or number is out of range.
pub fn by_index(r: &Reading, targets: i64) -> Result<Trees, OpError> {
    let list = |name: &str| required(r.ints(name)?, name);
    let tensor = |name: &str| required(r.tensor(name)?, name);
    let features = list("nodes_featureids")?;
    let count = features.len();
    let (holds, fails) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    let (true_leaves, false_leaves) = (list("nodes_trueleafs")?, list("nodes_falseleafs")?);
    let thresholds = tensor("nodes_splits")?.to_f32().to_vec();
    let modes = tensor("nodes_modes")?.to_i64().to_vec();
    let missing = flags(r.ints("nodes_missing_value_tracks_true")?, count)?;
    // Leaves have none, so that they tell no cover.
    r.ignore(&["nodes_hitrates"]);
    for (name, len) in [
        ("nodes_truenodeids", holds.len()),
        ("nodes_falsenodeids", fails.len()),
        ("nodes_trueleafs", true_leaves.len()),
        ("nodes_falseleafs", false_leaves.len()),
        ("nodes_splits", thresholds.len()),
        ("nodes_modes", modes.len()),
    ] {
        check_len(name, len, count)?;
    }
    let (leaf_targets, leaf_values) = (list("leaf_targetids")?, tensor("leaf_weights")?.to_f32().to_vec());
    check_len("leaf_weights", leaf_values.len(), leaf_targets.len())?;
    let sets = r.tensor("membership_values")?.map(|t| t.to_f32().to_vec()).unwrap_or_default();
    let mut sets = sets.split(|v| v.is_nan());
    let leaf_count = leaf_targets.len();
    // The first comparison of each node.
    let mut values: Vec<Vec<f32>> = vec![];
    for (i, mode) in modes.iter().enumerate() {
        values.push(match mode {
            6 => match sets.next() {
                Some(set) if !set.is_empty() => set.to_vec(),
                _ => return Err(OpError::invalid(&format!("set of node {i}"), "values", "none")),
            },
            _ => vec![thresholds[i]],
        });
    }
    let mut first = vec![0];
    values.iter().for_each(|set| first.push(first[first.len() - 1] + set.len()));
    // Nodes may share a leaf; each of them gets its own.
    let mut leaves: Vec<usize> = vec![];
    let mut child = |i: usize, is_leaf: i64, id: i64| {
        let end = if is_leaf != 0 { leaf_count } else { count };
        let index = usize::try_from(id).ok().filter(|id| *id < end).ok_or_else(|| {
            let expected = format!("0 to {}", end.saturating_sub(1));
            OpError::invalid(&format!("child of node {i}"), expected, id)
        })?;
        if is_leaf == 0 {
            return Ok(Child::Branch(first[index]));
        }
        leaves.push(index);
        Ok(Child::Leaf(leaves.len() - 1))
    };
    let (mut branches, mut names) = (vec![], vec![]);
    for (i, set) in values.iter().enumerate() {
        let (holds, fails) = (child(i, true_leaves[i], holds[i])?, child(i, false_leaves[i], fails[i])?);
        let mode = match modes[i] {
            0 => Mode::LessOrEqual,
            1 => Mode::Less,
            2 => Mode::GreaterOrEqual,
            3 => Mode::Greater,
            4 | 6 => Mode::Equal,
            5 => Mode::NotEqual,
            other => return Err(OpError::invalid("nodes_modes", "0 to 6", other)),
        };
        for (k, threshold) in set.iter().enumerate() {
            let is_last = k + 1 == set.len();
            branches.push(Branch {
                feature: features[i],
                threshold: *threshold,
                mode,
                holds,
                fails: if is_last { fails } else { Child::Branch(first[i] + k + 1) },
                missing_holds: missing[i],
                is_continued: !is_last,
            });
            names.push(format!("node {i}"));
        }
    }
    let roots = list("tree_roots")?;
    let root = |id: &i64| {
        let index = usize::try_from(*id).ok().filter(|id| *id < count);
        let index = index
            .ok_or_else(|| OpError::invalid("tree_roots", format!("0 to {}", count.saturating_sub(1)), id))?;
        // A tree of one leaf is written as a branch whose children are the same leaf.
        Ok(Child::Branch(first[index]))
    };
    let roots: Vec<Child> = roots.iter().map(root).collect::<Result<_, _>>()?;
    if let Some(target) = leaf_targets.iter().find(|t| !(0..targets).contains(*t)) {
        return Err(OpError::invalid("leaf_targetids", format!("0 to {}", targets - 1), target));
    }
    let weight = |(leaf, index): (usize, &usize)| Weight {
        leaf,
        target: leaf_targets[*index] as usize,
        value: leaf_values[*index],
    };
    let weights = leaves.iter().enumerate().map(weight).collect();
    let leaf_trees = leaf_trees(&branches, &roots, leaves.len());
    Ok(Trees { branches, roots, names, leaf_trees, weights, covers: None })
}

/// Returns the tree of each leaf.
fn leaf_trees(branches: &[Branch], roots: &[Child], leaves: usize) -> Vec<usize> {
    let mut trees = vec![0; leaves];
    let mut seen = vec![false; branches.len()];
    for (tree, root) in roots.iter().enumerate() {
        let mut stack = vec![*root];
        while let Some(child) = stack.pop() {
            match child {
                Child::Leaf(leaf) => trees[leaf] = tree,
                Child::Branch(index) if !std::mem::replace(&mut seen[index], true) => {
                    stack.extend([branches[index].holds, branches[index].fails]);
                }
                Child::Branch(_) => {}
            }
        }
    }
    trees
}
