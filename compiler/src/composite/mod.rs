//! Composites: which rule for which node. They are data: TOML files in `rules/`, or the user's own.

mod facts;
mod file;
mod gates;
mod repeat;
mod saturation;
mod select;

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::{Role, RoleKind};
use dlbc_ops::program::{Mode, Repeat};
use dlbc_ops::rule::{Policy, Rule};
use dlbc_proto::Name;
use sha2::{Digest, Sha256};

use crate::error::CompileError;
use facts::Facts;
pub(crate) use select::Places;
use select::Selector;

/// The composites that come with dlbc, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("dlb", include_str!("../../../rules/dlb.toml")),
    ("dlb-v2", include_str!("../../../rules/dlb-v2.toml")),
    ("dlb-v1", include_str!("../../../rules/dlb-v1.toml")),
    ("dlb-v1-literal", include_str!("../../../rules/dlb-v1-literal.toml")),
    ("dlb-values", include_str!("../../../rules/dlb-values.toml")),
    ("lrp-epsilon", include_str!("../../../rules/lrp-epsilon.toml")),
    ("lrp-zplus", include_str!("../../../rules/lrp-zplus.toml")),
    ("lrp-gamma", include_str!("../../../rules/lrp-gamma.toml")),
    ("lrp-alpha2-beta1", include_str!("../../../rules/lrp-alpha2-beta1.toml")),
    ("lrp-alpha1-beta0", include_str!("../../../rules/lrp-alpha1-beta0.toml")),
    ("lrp-flat", include_str!("../../../rules/lrp-flat.toml")),
    ("lrp-w2", include_str!("../../../rules/lrp-w2.toml")),
    ("lrp-box", include_str!("../../../rules/lrp-box.toml")),
    ("epsilon-plus", include_str!("../../../rules/epsilon-plus.toml")),
    ("epsilon-plus-flat", include_str!("../../../rules/epsilon-plus-flat.toml")),
    ("epsilon-alpha2-beta1", include_str!("../../../rules/epsilon-alpha2-beta1.toml")),
    ("epsilon-alpha2-beta1-flat", include_str!("../../../rules/epsilon-alpha2-beta1-flat.toml")),
    ("epsilon-gamma-box", include_str!("../../../rules/epsilon-gamma-box.toml")),
    ("attnlrp", include_str!("../../../rules/attnlrp.toml")),
    ("cp-lrp", include_str!("../../../rules/cp-lrp.toml")),
    ("gradient", include_str!("../../../rules/gradient.toml")),
    ("grad-x-input", include_str!("../../../rules/grad-x-input.toml")),
    ("integrated-gradients", include_str!("../../../rules/integrated-gradients.toml")),
    ("smoothgrad", include_str!("../../../rules/smoothgrad.toml")),
];

/// The names of the composites that come with dlbc.
pub fn shipped() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The TOML of a composite that comes with dlbc.
pub fn source(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// The choice of rules for a model. Total over roles: a composite that lacks one is refused when it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// The name.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Of the file that it was read from: SHA-256, in hexadecimal.
    pub hash: String,
    /// Fold batch normalisation into the layer before it.
    pub fold_batch_norm: bool,
    /// Give attention a rule of its own; else its pieces have theirs.
    pub recover_attention: bool,
    /// What the rules pass on.
    pub passes: Passes,
    /// Runs whose mean is the result.
    pub repeat: Option<Repeat>,
    /// In order; the last that selects a node counts.
    entries: Vec<Entry>,
}

/// What the rules of a composite pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Relevance: shares of what arrives.
    Relevance,
    /// Derivatives, which are the result.
    Gradient,
    /// Derivatives; the relevance of a tensor is its values times them. The start is that of the output's relevance.
    GradientTimesInput,
}

/// A rule and the nodes that it is for.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    selector: Selector,
    rule: Rule,
    /// The file and the line, for messages.
    place: String,
}

impl Composite {
    /// A composite that comes with dlbc, by name.
    ///
    /// # Errors
    /// When there is none, with the names that there are.
    pub fn named(name: &str) -> Result<Composite, CompileError> {
        let text = source(name)
            .ok_or_else(|| CompileError::UnknownRules { name: name.into(), known: shipped().collect() })?;
        Composite::parse(text, &format!("rules/{name}.toml"))
    }

    /// A composite from the text of the TOML file `file`.
    ///
    /// # Errors
    /// For a mistake in it, with file and line.
    pub fn parse(text: &str, file: &str) -> Result<Composite, CompileError> {
        let hash = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        file::read(text, file, hash)
    }

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
        Err(CompileError::OneTrack { composite: self.name.clone(), rules })
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
        let rule = entry.rule.at(&Facts { graph, node, live });
        if rule.formula(role).is_none() {
            return Err(CompileError::Rules {
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
