//! Trees of classifiers and regressors, whose nodes have a tree and a number.

use std::collections::HashMap;

use super::branches::{Branch, Child, Mode};
use super::lists::{Trees, Weight, check_len, flags, numbers, required};
use crate::OpError;
use crate::op::read::Reading;

/// Reads the trees of a classifier (`class`) or a regressor (`target`).
///
/// # Errors
/// If lists differ in length, a node is listed twice, or a child, root or leaf is not a node of its tree.
pub fn by_tree(r: &Reading, kind: &str, targets: i64) -> Result<Trees, OpError> {
    let list = |name: &str| required(r.ints(name)?, name);
    let (tree_ids, node_ids) = (list("nodes_treeids")?, list("nodes_nodeids")?);
    let count = tree_ids.len();
    let features = list("nodes_featureids")?;
    let (holds, fails) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    let thresholds = required(numbers(r, "nodes_values")?, "nodes_values")?;
    let modes = required(r.strings("nodes_modes")?, "nodes_modes")?;
    let missing = flags(r.ints("nodes_missing_value_tracks_true")?, count)?;
    let hit_rates = numbers(r, "nodes_hitrates")?;
    for (name, len) in [
        ("nodes_nodeids", node_ids.len()),
        ("nodes_featureids", features.len()),
        ("nodes_truenodeids", holds.len()),
        ("nodes_falsenodeids", fails.len()),
        ("nodes_values", thresholds.len()),
        ("nodes_modes", modes.len()),
    ] {
        check_len(name, len, count)?;
    }
    let name = |i: usize| format!("node {} of tree {}", node_ids[i], tree_ids[i]);
    let modes: Vec<Option<Mode>> = modes.iter().map(|word| mode(word)).collect::<Result<_, _>>()?;
    // Branches and leaves are numbered in the order of the list.
    let (mut branch_count, mut leaf_count) = (0, 0);
    let mut positions: HashMap<(i64, i64), (usize, Child)> = HashMap::with_capacity(count);
    for (i, mode) in modes.iter().enumerate() {
        let (counter, child): (&mut usize, fn(usize) -> Child) = match mode {
            Some(_) => (&mut branch_count, Child::Branch),
            None => (&mut leaf_count, Child::Leaf),
        };
        if positions.insert((tree_ids[i], node_ids[i]), (i, child(*counter))).is_some() {
            return Err(OpError::invalid("nodes of the trees", "each once", format!("{} twice", name(i))));
        }
        *counter += 1;
    }
    let mut is_child = vec![false; count];
    let mut child = |i: usize, id: i64| {
        let position = positions.get(&(tree_ids[i], id));
        let (k, child) = position
            .ok_or_else(|| OpError::invalid(&format!("child of {}", name(i)), "a node of the tree", id))?;
        is_child[*k] = true;
        Ok(*child)
    };
    let (mut branches, mut names) = (vec![], vec![]);
    for (i, mode) in modes.iter().enumerate() {
        let Some(mode) = *mode else { continue };
        branches.push(Branch {
            feature: features[i],
            threshold: thresholds[i],
            mode,
            holds: child(i, holds[i])?,
            fails: child(i, fails[i])?,
            missing_holds: missing[i],
            is_continued: false,
        });
        names.push(name(i));
    }
    let mut trees: HashMap<i64, usize> = HashMap::new();
    let mut roots = vec![];
    for i in (0..count).filter(|i| !is_child[*i]) {
        if trees.insert(tree_ids[i], roots.len()).is_some() {
            return Err(OpError::invalid(
                "roots",
                "one for each tree",
                format!("several of tree {}", tree_ids[i]),
            ));
        }
        roots.push(positions[&(tree_ids[i], node_ids[i])].1);
    }
    if let Some(id) = tree_ids.iter().find(|id| !trees.contains_key(id)) {
        return Err(OpError::invalid("roots", "one for each tree", format!("none of tree {id}")));
    }
    let leaves = (0..count).filter(|i| modes[*i].is_none());
    let leaf_trees = leaves.map(|i| trees[&tree_ids[i]]).collect();
    let weights = leaf_weights(r, kind, targets, &positions)?;
    let covers = match hit_rates {
        Some(rates) => {
            check_len("nodes_hitrates", rates.len(), count)?;
            let (of_branches, of_leaves): (Vec<usize>, Vec<usize>) =
                (0..count).partition(|i| modes[*i].is_some());
            covers(of_branches.into_iter().chain(of_leaves).map(|i| rates[i]).collect(), &branches)
        }
        None => None,
    };
    Ok(Trees { branches, roots, names, leaf_trees, weights, covers })
}

/// Largest difference between the hit rate of a branch and those of its children, as a share of the branch's.
const HIT_RATE: f32 = 1e-3;

/// Returns hit rates of branches and then leaves if they tell covers: each branch has what its children have together. Converters
/// write 1.0 for all nodes.
fn covers(rates: Vec<f32>, branches: &[Branch]) -> Option<Vec<f32>> {
    let rate = |child: Child| match child {
        Child::Branch(index) => rates[index],
        Child::Leaf(index) => rates[branches.len() + index],
    };
    let tells = |(i, branch): (usize, &Branch)| {
        let sum = rate(branch.holds) + rate(branch.fails);
        rates[i] > 0.0 && (rates[i] - sum).abs() <= HIT_RATE * rates[i]
    };
    let is_valid = rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0);
    (!branches.is_empty() && is_valid && branches.iter().enumerate().all(tells)).then_some(rates)
}

/// Reads the weights of the leaves of a classifier or regressor. As in ONNX Runtime, weights of branches have no effect.
fn leaf_weights(
    r: &Reading,
    kind: &str,
    targets: i64,
    positions: &HashMap<(i64, i64), (usize, Child)>,
) -> Result<Vec<Weight>, OpError> {
    let list = |name: &str| required(r.ints(&format!("{kind}_{name}"))?, &format!("{kind}_{name}"));
    let (tree_ids, node_ids, ids) = (list("treeids")?, list("nodeids")?, list("ids")?);
    let name = format!("{kind}_weights");
    let values = required(numbers(r, &name)?, &name)?;
    check_len(&format!("{kind}_nodeids"), node_ids.len(), tree_ids.len())?;
    check_len(&format!("{kind}_ids"), ids.len(), tree_ids.len())?;
    check_len(&name, values.len(), tree_ids.len())?;
    let mut weights = vec![];
    for i in 0..ids.len() {
        let (tree, node) = (tree_ids[i], node_ids[i]);
        let Some((_, child)) = positions.get(&(tree, node)) else {
            let expected = "a node of the trees";
            return Err(OpError::invalid("weight", expected, format!("node {node} of tree {tree}")));
        };
        if !(0..targets).contains(&ids[i]) {
            return Err(OpError::invalid(&format!("{kind}_ids"), format!("0 to {}", targets - 1), ids[i]));
        }
        if let Child::Leaf(leaf) = child {
            weights.push(Weight { leaf: *leaf, target: ids[i] as usize, value: values[i] });
        }
    }
    Ok(weights)
}

/// Returns the comparison of this name; `None` for a leaf.
fn mode(word: &str) -> Result<Option<Mode>, OpError> {
    Ok(Some(match word {
        "LEAF" => return Ok(None),
        "BRANCH_LEQ" => Mode::LessOrEqual,
        "BRANCH_LT" => Mode::Less,
        "BRANCH_GTE" => Mode::GreaterOrEqual,
        "BRANCH_GT" => Mode::Greater,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::NotEqual,
        other => return Err(OpError::invalid("nodes_modes", "BRANCH_LEQ, BRANCH_LT, … or LEAF", other)),
    }))
}
