//! The composite: entries that select nodes and give them rules.

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::{Role, RoleKind};
use dlbc_ops::program::{Mode, Repeat};
use dlbc_ops::rule::{Policy, Rule};
use dlbc_proto::Name;

use super::node_facts::GraphNodeFacts;
use super::selector::{LayerPositions, Selector};
use crate::error::CompileError;

/// A choice of rules for the nodes of a model. It has a default rule for each role; a file without one is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// Name, as `dlbc rules` lists it.
    pub name: String,
    /// Purpose, in a sentence.
    pub description: String,
    /// SHA-256 of the TOML text, in hexadecimal.
    pub hash: String,
    /// True if batch normalisation folds into the layer before it.
    pub fold_batch_norm: bool,
    /// True if attention is one operator with one rule; otherwise its matrix products and softmax have their own rules.
    pub recover_attention: bool,
    /// Quantity that the rules propagate; key `passes` of the file.
    pub quantity: Quantity,
    /// Runs whose mean is the explanation; `None` for a single run.
    pub repeat: Option<Repeat>,
    /// Entries in the order of the file; the last one that selects a node decides its rule.
    pub(super) entries: Vec<Entry>,
}

/// Quantity that the rules of a composite propagate from the output to the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Relevance: each rule shares out the relevance that it receives.
    Relevance,
    /// Derivatives, which are the explanation.
    Gradient,
    /// Derivatives; the relevance of a tensor is the product with its values, and the seed is relevance of the output.
    GradientTimesInput,
}

/// An entry of a composite: a rule and the nodes that it applies to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub selector: Selector,
    pub rule: Rule,
    /// File and line for messages, as `FILE:LINE`.
    pub location: String,
}

impl Composite {
    /// Checks that all rules have a form for the mode.
    ///
    /// # Errors
    /// In [`Mode::Contrastive`], for rules without contrastive form, each with file and line.
    pub fn check_mode(&self, mode: Mode) -> Result<(), CompileError> {
        if mode == Mode::Default {
            return Ok(());
        }
        let single_track = self.entries.iter().filter(|e| !e.rule.contrasts());
        let rules: Vec<(String, String)> =
            single_track.map(|e| (e.location.clone(), e.rule.to_string())).collect();
        if rules.is_empty() {
            return Ok(());
        }
        Err(CompileError::NotContrastive { composite: self.name.clone(), rules })
    }

    /// Returns the rule of a node with the operands `live`; `None` for a node without role, at which relevance ends.
    ///
    /// # Errors
    /// When the selected rule has no formula for the node's role.
    pub(crate) fn rule(
        &self,
        graph: &Graph<Op>,
        node: NodeId,
        role: &Role,
        live: &[bool],
        positions: &LayerPositions,
    ) -> Result<Option<Rule>, CompileError> {
        let kind = role.kind();
        if kind == RoleKind::NoRelevance {
            return Ok(None);
        }
        let selected = self.entries.iter().rev().find(|e| e.selector.selects(graph, node, kind, positions));
        let Some(entry) = selected else { return Ok(None) };
        let rule = entry.rule.for_node(&GraphNodeFacts { graph, node, live });
        if rule.formula(role).is_none() {
            return Err(CompileError::InvalidComposite {
                place: entry.location.clone(),
                unknown: None,
                message: format!(
                    "rule `{rule}` does not fit node {} ({}), whose role is {}",
                    Name::new(graph.node(node).name()),
                    graph.op(node).title(),
                    kind.name(),
                ),
            });
        }
        Ok(Some(rule))
    }

    /// Returns a warning for each entry that asks for more than a role and selects no node. `role` gives the role of each node.
    pub(crate) fn unmatched(
        &self,
        graph: &Graph<Op>,
        role: impl Fn(NodeId) -> RoleKind,
        positions: &LayerPositions,
    ) -> Vec<String> {
        let is_unmatched = |e: &&Entry| {
            // The rounding of quantised values stands in composites for all models.
            !e.selector.is_general()
                && !matches!(e.rule, Rule::Rounding(_))
                && !graph.nodes().any(|id| e.selector.selects(graph, id, role(id), positions))
        };
        let unmatched = self.entries.iter().filter(is_unmatched);
        unmatched.map(|e| format!("{}: the entry selects no node", e.location)).collect()
    }
}
