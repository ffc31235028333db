//! Description of a program whose explained output is a sum of trees, for Shapley values.

use serde::{Deserialize, Serialize};

/// Trees below the explained output, the scores that they add up to, and the tensors that their features come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TreesInfo {
    /// Ensembles of trees, in the order of [`Output::Trees`](super::Output::Trees).
    pub ensembles: Vec<EnsembleInfo>,
    /// Raw score of each unit of the explained output.
    pub scores: Vec<ScoreInfo>,
    /// Tensors whose elements are the players: inputs of the model, or results of layers that mix them.
    pub sources: Vec<SourceInfo>,
}

/// Ensemble of trees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EnsembleInfo {
    /// For each feature, the index of a source and of an element of its rows; `None` for a constant.
    pub features: Vec<Option<(usize, usize)>>,
    /// Factor of the sum of the leaves: 1 over the number of trees for a mean.
    pub factor: f64,
}

/// Raw score of a unit: a constant and multiples of the ensembles' columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreInfo {
    /// Constant.
    pub offset: f64,
    /// Index of the ensemble, index of its column, and factor.
    pub terms: Vec<(usize, usize, f64)>,
}

/// Tensor whose elements are players.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Name of the tensor.
    pub name: String,
    /// Dimensions of a row.
    pub dims: Vec<usize>,
    /// True if the tensor is an input of the model.
    pub is_input: bool,
}
