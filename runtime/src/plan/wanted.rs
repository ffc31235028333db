//! Results that a run computes.

use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::Bindings;

use super::head::Whole;

/// Results of a run.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Outputs of the forward.
    pub forward: Vec<Output>,
    /// Outputs of the reverse.
    pub reverse: Vec<Output>,
    /// Number of targets that share a reverse.
    pub targets: usize,
    /// Treatment of the explained output by a program whose head is restricted to the explained positions; `None` for an
    /// unrestricted program.
    pub head: Option<Whole>,
}

/// Key of the plan cache: the shapes and the results that a plan is for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Sizes of the symbolic dimensions.
    pub bindings: Bindings,
    pub wanted: Wanted,
}

/// Returns the outputs of a model with these names, all of them for `None`, and the values that a forward computes for a
/// seed.
pub(crate) fn forward_outputs(program: &Program, names: Option<&[&str]>) -> Vec<Output> {
    let is_wanted = |name: &&String| names.is_none_or(|names| names.contains(&name.as_str()));
    let mut forward: Vec<Output> = program.info.outputs.iter().filter(is_wanted).map(Output::from).collect();
    // Values that do not depend on the target are computed with the outputs.
    let early =
        |output: &&Output| matches!(output, Output::Baseline(_) | Output::SeedValue | Output::SeedSign);
    forward.extend(program.graph.outputs().iter().map(|(name, _)| name).filter(early).cloned());
    forward
}
