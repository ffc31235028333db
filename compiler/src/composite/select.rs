//! Which nodes an entry of a composite is for.

use std::collections::{BTreeMap, HashMap};

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::RoleKind;

/// Where a layer with weights stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// No layer with weights lies between it and an input.
    First,
    /// No layer with weights lies between it and the explained output.
    Last,
}

/// The layers with weights that stand first and last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<NodeId, (bool, bool)>);

impl Places {
    /// Finds them among the nodes of those roles.
    pub fn find(graph: &Graph<Op>, roles: &HashMap<NodeId, RoleKind>) -> Places {
        let layer = |id: NodeId| roles.get(&id) == Some(&RoleKind::Linear);
        let order = graph.topological();
        let mut before: HashMap<NodeId, bool> = HashMap::new();
        let mut places = BTreeMap::new();
        for id in &order {
            // Relevance alone counts: the layers of a branch that carries none do not stand before anything.
            let any = graph.node_inputs(*id).iter().any(|v| before[&v.node]);
            before.insert(*id, any || layer(*id));
            if layer(*id) {
                places.insert(*id, (!any, true));
            }
        }
        let mut after: HashMap<NodeId, bool> = HashMap::new();
        for id in order.iter().rev() {
            let behind = after.get(id).copied().unwrap_or(false);
            if let Some(place) = places.get_mut(id) {
                place.1 = !behind;
            }
            for v in graph.node_inputs(*id) {
                *after.entry(v.node).or_default() |= behind || layer(*id);
            }
        }
        Places(places)
    }

    fn stands(&self, id: NodeId, place: Place) -> bool {
        self.0.get(&id).is_some_and(|(first, last)| if place == Place::First { *first } else { *last })
    }
}

/// What an entry asks of a node; all that is given must hold.
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
    /// Whether it asks for a role alone, or for nothing.
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

/// The roles by name.
pub(super) const ROLES: &[(&str, RoleKind)] = &[
    ("linear", RoleKind::Linear),
    ("pool", RoleKind::Pool),
    ("bilinear", RoleKind::Bilinear),
    ("attention", RoleKind::Attention),
    ("recurrence", RoleKind::Recurrence),
    ("sum", RoleKind::Sum),
    ("product", RoleKind::Product),
    ("scaled", RoleKind::Scaled),
    ("elementwise", RoleKind::Elementwise),
    ("normalize", RoleKind::Normalize),
    ("select", RoleKind::Select),
    ("rearrange", RoleKind::Rearrange),
    ("embedding", RoleKind::Embedding),
];

/// The name of a role.
pub(super) fn role_name(kind: RoleKind) -> &'static str {
    ROLES.iter().find(|(_, k)| *k == kind).map_or("none", |(name, _)| name)
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
