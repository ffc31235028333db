//! Trees as a node lists them, before they are checked.

use super::branches::{Branch, Child};
use crate::OpError;
use crate::op::read::Reading;

/// Trees of a node, with the weights of their leaves.
pub struct Trees {
    /// Branches of all trees.
    pub branches: Vec<Branch>,
    /// Root of each tree.
    pub roots: Vec<Child>,
    /// Names of the branches, for messages.
    pub names: Vec<String>,
    /// Tree of each leaf.
    pub leaf_trees: Vec<usize>,
    /// Weights of the leaves.
    pub weights: Vec<Weight>,
    /// Numbers of rows of the training that reach each branch and then each leaf, where the file has them.
    pub covers: Option<Vec<f32>>,
}

/// Weight of a leaf for a target.
pub struct Weight {
    /// Index of the leaf.
    pub leaf: usize,
    /// Index of the target.
    pub target: usize,
    /// Weight.
    pub value: f32,
}

/// Returns a list of floats, from the attribute or from the one that holds it as a tensor.
///
/// # Errors
/// If the attribute has another type.
pub fn numbers(r: &Reading, name: &str) -> Result<Option<Vec<f32>>, OpError> {
    let floats = r.floats(name)?;
    let tensor = r.tensor(&format!("{name}_as_tensor"))?;
    Ok(floats.or(tensor.map(|t| t.to_f32().to_vec())))
}

/// Returns the values of a list that a node must have.
///
/// # Errors
/// If it is absent.
pub fn required<T>(values: Option<T>, name: &str) -> Result<T, OpError> {
    values.ok_or_else(|| OpError::missing_attribute(name, "a list"))
}

/// Checks the length of a list.
///
/// # Errors
/// If it is another.
pub fn check_len(name: &str, actual: usize, expected: usize) -> Result<(), OpError> {
    if actual == expected {
        return Ok(());
    }
    Err(OpError::invalid(&format!("length of `{name}`"), expected, actual))
}

/// Returns whether each of `count` branches holds for NaN.
///
/// # Errors
/// If there is a list of another length.
pub fn flags(values: Option<Vec<i64>>, count: usize) -> Result<Vec<bool>, OpError> {
    match values {
        None => Ok(vec![false; count]),
        Some(values) => {
            check_len("nodes_missing_value_tracks_true", values.len(), count)?;
            Ok(values.into_iter().map(|v| v != 0).collect())
        }
    }
}
