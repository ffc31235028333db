//! Selectors: the conditions under which an entry of a composite applies to a node.

use std::collections::{BTreeSet, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::RoleKind;

/// Position of a node relative to the layers with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerPosition {
    /// A layer with weights without another such layer between it and an input.
    First,
    /// A layer with weights without another such layer between it and the explained output.
    Last,
    /// A node of the model's own input normalisation: it adds a constant before the first layer with weights, or lies between
    /// such a node and the input, and works element by element. A look-up of embeddings and a recurrence count as layers with
    /// weights here.
    Scaler,
}

/// Values of the key `place`.
pub(super) const POSITIONS: &[(&str, LayerPosition)] =
    &[("first", LayerPosition::First), ("last", LayerPosition::Last), ("scaler", LayerPosition::Scaler)];

/// Positions of all nodes relative to the layers with weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerPositions {
    /// First layers with weights.
    first: BTreeSet<NodeId>,
    /// Last layers with weights.
    last: BTreeSet<NodeId>,
    /// Nodes that add a constant before the first layer with weights.
    shifts: BTreeSet<NodeId>,
    /// Nodes in `shifts`, and the nodes between them and the inputs.
    scaler: HashSet<NodeId>,
}

impl LayerPositions {
    /// Finds the positions of the nodes with these roles. `live_operands` gives for each operand of a node whether it carries
    /// relevance. An input for which `is_inner` is true lies inside the model, so that no node after it normalises an input.
    pub fn find(
        graph: &Graph<Op>,
        roles: &HashMap<NodeId, RoleKind>,
        live_operands: impl Fn(NodeId) -> Vec<bool>,
        is_inner: impl Fn(NodeId) -> bool,
    ) -> LayerPositions {
        let role = |id: NodeId| roles.get(&id).copied().unwrap_or(RoleKind::NoRelevance);
        let is_layer = |id: NodeId| role(id) == RoleKind::Linear;
        let order = graph.topological();
        // True for nodes that are or follow a layer with weights.
        let mut has_layer: HashMap<NodeId, bool> = HashMap::new();
        // Nodes that depend on inputs element by element, without a layer with weights.
        let mut elementwise: HashSet<NodeId> = HashSet::new();
        let mut positions = LayerPositions::default();
        for id in &order {
            // Layers of a branch without relevance have no role, so they do not count.
            let inputs = graph.node_inputs(*id);
            let follows_layer = inputs.iter().any(|v| has_layer[&v.node]);
            has_layer.insert(*id, follows_layer || is_layer(*id));
            if is_layer(*id) && !follows_layer {
                positions.first.insert(*id);
            }
            let live = live_operands(*id);
            let mut operands = inputs.iter().zip(&live).filter(|(_, live)| **live).map(|(v, _)| v.node);
            let is_single = live.iter().filter(|live| **live).count() == 1;
            let is_elementwise = match role(*id) {
                _ if matches!(graph.op(*id), Op::Input) => !is_inner(*id),
                RoleKind::Sum | RoleKind::Scaled | RoleKind::Elementwise | RoleKind::Rearrange => true,
                RoleKind::Product | RoleKind::Select => is_single,
                RoleKind::Normalize => matches!(graph.op(*id), Op::BatchNorm(_)),
                _ => false,
            };
            if is_elementwise && operands.all(|id| elementwise.contains(&id)) {
                elementwise.insert(*id);
                let is_shift = role(*id) == RoleKind::Sum || matches!(graph.op(*id), Op::BatchNorm(_));
                let is_rounding = matches!(graph.op(*id), Op::Quantisation(_));
                if is_shift && !is_rounding && is_single && live.len() > 1 {
                    positions.shifts.insert(*id);
                }
            }
        }
        // True for nodes before a layer with weights.
        let mut precedes_layer: HashMap<NodeId, bool> = HashMap::new();
        for id in order.iter().rev() {
            let precedes = precedes_layer.get(id).copied().unwrap_or(false);
            if is_layer(*id) && !precedes {
                positions.last.insert(*id);
            }
            for v in graph.node_inputs(*id) {
                *precedes_layer.entry(v.node).or_default() |= precedes || is_layer(*id);
            }
        }
        let mut stack: Vec<NodeId> = positions.shifts.iter().copied().collect();
        while let Some(id) = stack.pop() {
            if positions.scaler.insert(id) {
                let inputs = graph.node_inputs(id).into_iter().zip(live_operands(id));
                stack.extend(inputs.filter(|(_, live)| *live).map(|(v, _)| v.node));
            }
        }
        positions
    }

    /// Nodes that add a constant before the first layer with weights.
    pub fn shifts(&self) -> &BTreeSet<NodeId> {
        &self.shifts
    }

    fn is_at(&self, id: NodeId, position: LayerPosition) -> bool {
        match position {
            LayerPosition::First => self.first.contains(&id),
            LayerPosition::Last => self.last.contains(&id),
            LayerPosition::Scaler => self.scaler.contains(&id),
        }
    }
}

/// Conditions of an entry on a node; all that are present must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector {
    /// Role of the node.
    pub role: Option<RoleKind>,
    /// Name of the operator after canonicalisation, such as `Linear`.
    pub op: Option<String>,
    /// Glob pattern for the name of the node's first result.
    pub name: Option<String>,
    /// Glob pattern for the name of one of the ONNX nodes that the node stands for.
    pub scope: Option<String>,
    /// Position relative to the layers with weights; key `place` of the file.
    pub position: Option<LayerPosition>,
}

impl Selector {
    /// Returns whether the selector has no condition besides a role.
    pub fn is_general(&self) -> bool {
        Selector { role: None, ..self.clone() } == Selector::default()
    }

    /// Returns whether a node with the role `kind` fulfils all conditions. A node without relevance fulfils none.
    pub fn selects(&self, graph: &Graph<Op>, id: NodeId, kind: RoleKind, positions: &LayerPositions) -> bool {
        let node = graph.node(id);
        let matches = |pattern: &String, text: &str| matches_glob(pattern.as_bytes(), text.as_bytes());
        kind != RoleKind::NoRelevance
            && self.role.is_none_or(|r| r == kind)
            && self.op.as_ref().is_none_or(|op| *op == node.op.title())
            && self.name.as_ref().is_none_or(|p| matches(p, node.name()))
            && self.scope.as_ref().is_none_or(|p| node.origin.nodes.iter().any(|(name, _)| matches(p, name)))
            && self.position.is_none_or(|p| positions.is_at(id, p))
    }
}

/// Matches `text` against a pattern in which `*` stands for any text and `?` for one byte.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    // Index of the last star, and of the text after the part that the star matches.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((index, end)) => {
                    star = Some((index, end + 1));
                    (p, t) = (index + 1, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches_glob;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*/attn/*", "/h.0/attn/Add", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*a*", "banana", true),
            ("*a*a*a*a", "banana", false),
        ] {
            assert_eq!(matches_glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
