//! A composite: entries that select nodes and give them rules.

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::{Role, RoleKind};
use dlbc_ops::program::{Mode, Repeat};
use dlbc_ops::rule::{Policy, Rule};
use dlbc_proto::Name;

use super::facts::Facts;
use super::select::{Places, Selector};
use crate::error::CompileError;

/// The choice of rules for a model. Total over roles: a composite that lacks one is refused when it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// The name.
    pub name: String,
    /// Its purpose, in a sentence.
    pub description: String,
    /// SHA-256 of the file that it was read from, in hexadecimal.
    pub hash: String,
    /// Fold batch normalisation into the layer before it.
    pub fold_batch_norm: bool,
    /// Give attention a rule of its own; else its pieces have theirs.
    pub recover_attention: bool,
    /// The quantity that the rules pass on.
    pub quantity: Quantity,
    /// Runs whose mean is the result.
    pub repeat: Option<Repeat>,
    /// In order; the last that selects a node counts.
    pub(super) entries: Vec<Entry>,
}

/// The quantity that the rules of a composite pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Relevance: shares of what arrives.
    Relevance,
    /// Derivatives, which are the result.
    Gradient,
    /// Derivatives; the relevance of a tensor is its values times them. The start is that of the output's relevance.
    GradientTimesInput,
}

/// A rule and the nodes that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub selector: Selector,
    pub rule: Rule,
    /// The file and the line, for messages.
    pub place: String,
}

impl Composite {
    /// Refuses what cannot be done in a mode.
    ///
    /// # Errors
    /// For the first entry whose rule has no contrastive form, with file and line.
    pub fn check_mode(&self, mode: Mode) -> Result<(), CompileError> {
        if mode == Mode::Default {
            return Ok(());
        }
        let alone = self.entries.iter().filter(|e| !e.rule.contrasts());
        let rules: Vec<(String, String)> = alone.map(|e| (e.place.clone(), e.rule.to_string())).collect();
        if rules.is_empty() {
            return Ok(());
        }
        Err(CompileError::NotContrastive { composite: self.name.clone(), rules })
    }

    /// The rule of a node; `None` where relevance ends.
    ///
    /// # Errors
    /// When the rule selected for the node does not fit what it is.
    pub(crate) fn rule(
        &self,
        graph: &Graph<Op>,
        node: NodeId,
        role: &Role,
        live: &[bool],
        places: &Places,
    ) -> Result<Option<Rule>, CompileError> {
        let kind = role.kind();
        if kind == RoleKind::NoRelevance {
            return Ok(None);
        }
        let selected = self.entries.iter().rev().find(|e| e.selector.selects(graph, node, kind, places));
        let Some(entry) = selected else { return Ok(None) };
        let rule = entry.rule.for_node(&Facts { graph, node, live });
        if rule.formula(role).is_none() {
            return Err(CompileError::InvalidComposite {
                place: entry.place.clone(),
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

    /// Entries of the user's that select no node, by file and line.
    pub(crate) fn unmatched(
        &self,
        graph: &Graph<Op>,
        live: impl Fn(NodeId) -> RoleKind,
        places: &Places,
    ) -> Vec<String> {
        let idle = |e: &&Entry| {
            !e.selector.is_general()
                && !graph.nodes().any(|id| e.selector.selects(graph, id, live(id), places))
        };
        self.entries.iter().filter(idle).map(|e| format!("{}: the entry selects no node", e.place)).collect()
    }
}
