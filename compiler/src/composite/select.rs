//! Selection of the nodes that an entry of a composite is for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::RoleKind;

/// Position of a node relative to the layers with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A layer with weights without another one between it and an input.
    First,
    /// A layer with weights without another one between it and the explained output.
    Last,
    /// The model's own normalisation of an input: a constant that is added before the first layer with weights, and what
    /// stands between it and the input, all of it element by element. A look-up of embeddings and a recurrence count as layers
    /// with weights here.
    Scaler,
}

/// The places by name.
pub(super) const PLACES: &[(&str, Place)] =
    &[("first", Place::First), ("last", Place::Last), ("scaler", Place::Scaler)];

/// Nodes by their place among the layers with weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Layers with weights: whether it is a first one, whether it is a last one.
    layers: BTreeMap<NodeId, (bool, bool)>,
    /// Nodes that add a constant before the first layer with weights.
    shifts: BTreeSet<NodeId>,
    /// Those, and what stands between them and the inputs.
    scaler: HashSet<NodeId>,
}

impl Places {
    /// Finds the places of the nodes with these roles. `live` says which operands of a node carry relevance; an input that
    /// `inner` selects lies inside the model, and nothing that reads it normalises an input.
    pub fn find(
        graph: &Graph<Op>,
        roles: &HashMap<NodeId, RoleKind>,
        live: impl Fn(NodeId) -> Vec<bool>,
        inner: impl Fn(NodeId) -> bool,
    ) -> Places {
        let role = |id: NodeId| roles.get(&id).copied().unwrap_or(RoleKind::NoRelevance);
        let layer = |id: NodeId| role(id) == RoleKind::Linear;
        let order = graph.topological();
        let mut before: HashMap<NodeId, bool> = HashMap::new();
        // Nodes that an input reaches element by element, without a layer with weights.
        let mut elementwise: HashSet<NodeId> = HashSet::new();
        let mut places = Places::default();
        for id in &order {
            // Relevance alone counts: the layers of a branch that carries none do not stand before anything.
            let inputs = graph.node_inputs(*id);
            let any = inputs.iter().any(|v| before[&v.node]);
            before.insert(*id, any || layer(*id));
            if layer(*id) {
                places.layers.insert(*id, (!any, true));
            }
            let carries = live(*id);
            let mut operands = inputs.iter().zip(&carries).filter(|(_, live)| **live).map(|(v, _)| v.node);
            let one = carries.iter().filter(|live| **live).count() == 1;
            let plain = match role(*id) {
                _ if matches!(graph.op(*id), Op::Input) => !inner(*id),
                RoleKind::Sum | RoleKind::Scaled | RoleKind::Elementwise | RoleKind::Rearrange => true,
                RoleKind::Product | RoleKind::Select => one,
                RoleKind::Normalize => matches!(graph.op(*id), Op::BatchNorm(_)),
                _ => false,
            };
            if plain && operands.all(|id| elementwise.contains(&id)) {
                elementwise.insert(*id);
                let shifts = role(*id) == RoleKind::Sum || matches!(graph.op(*id), Op::BatchNorm(_));
                if shifts && one && carries.len() > 1 {
                    places.shifts.insert(*id);
                }
            }
        }
        let mut after: HashMap<NodeId, bool> = HashMap::new();
        for id in order.iter().rev() {
            let behind = after.get(id).copied().unwrap_or(false);
            if let Some(place) = places.layers.get_mut(id) {
                place.1 = !behind;
            }
            for v in graph.node_inputs(*id) {
                *after.entry(v.node).or_default() |= behind || layer(*id);
            }
        }
        let mut stack: Vec<NodeId> = places.shifts.iter().copied().collect();
        while let Some(id) = stack.pop() {
            if places.scaler.insert(id) {
                let inputs = graph.node_inputs(id).into_iter().zip(live(id));
                stack.extend(inputs.filter(|(_, live)| *live).map(|(v, _)| v.node));
            }
        }
        places
    }

    /// Nodes that add a constant before the first layer with weights.
    pub fn shifts(&self) -> &BTreeSet<NodeId> {
        &self.shifts
    }

    fn stands(&self, id: NodeId, place: Place) -> bool {
        match place {
            Place::First => self.layers.get(&id).is_some_and(|(first, _)| *first),
            Place::Last => self.layers.get(&id).is_some_and(|(_, last)| *last),
            Place::Scaler => self.scaler.contains(&id),
        }
    }
}

/// Conditions of an entry on a node; all that are present must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub role: Option<RoleKind>,
    /// The operator's name.
    pub op: Option<String>,
    /// A pattern of the tensor that the node makes.
    pub name: Option<String>,
    /// A pattern of the model's node names.
    pub scope: Option<String>,
    pub place: Option<Place>,
}

impl Selector {
    /// Returns whether it asks for a role alone, or for nothing.
    pub fn is_general(&self) -> bool {
        Selector { role: None, ..self.clone() } == Selector::default()
    }

    pub fn selects(&self, graph: &Graph<Op>, id: NodeId, kind: RoleKind, places: &Places) -> bool {
        let node = graph.node(id);
        let matches = |pattern: &String, text: &str| matches_glob(pattern.as_bytes(), text.as_bytes());
        kind != RoleKind::NoRelevance
            && self.role.is_none_or(|r| r == kind)
            && self.op.as_ref().is_none_or(|op| *op == node.op.title())
            && self.name.as_ref().is_none_or(|p| matches(p, node.name()))
            && self.scope.as_ref().is_none_or(|p| node.origin.nodes.iter().any(|(name, _)| matches(p, name)))
            && self.place.is_none_or(|p| places.stands(id, p))
    }
}

/// `*` stands for any text, `?` for one byte.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    // The last star, and where it began to match.
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
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
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
