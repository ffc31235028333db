//! Roles of operators: the algebra that rules are written against, so that operators and rules add up instead of
//! multiplying.

use crate::graph::Value;
use crate::prim::{AttentionPart, Builder, Transform};

/// Lowered values of the node to which a rule is applied.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Operands of the node.
    pub inputs: &'a [Value],
    /// Results of the node.
    pub outputs: &'a [Value],
    /// For each operand, whether it carries relevance.
    pub live: &'a [bool],
}

impl Site<'_> {
    /// Returns the first result.
    pub fn y(&self) -> Value {
        self.outputs[0]
    }

    /// Returns the index of the first operand that carries relevance.
    pub fn data(&self) -> usize {
        self.live.iter().position(|l| *l).unwrap_or(0)
    }
}

/// Algebra of a node that is linear in one operand, with the others constant: `y = A(w) x + b`.
pub trait LinearMap {
    /// Returns whether the map has a weight. Without one every coefficient is 1 and `transform` has no effect.
    fn has_weight(&self) -> bool;
    /// Builds `A(transform(w)) x`, without bias.
    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value;
    /// Builds `Aᵀ(transform(w)) s`, of the shape of the live operand.
    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value;
    /// Builds the bias, of a shape that broadcasts to `y`; `None` without bias.
    fn bias(&self, b: &mut Builder, site: &Site) -> Option<Value>;
}

/// Algebra of a node that is bilinear in two operands: `y = a · b`.
pub trait BilinearMap {
    /// Builds `x · y`.
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value;
    /// Builds the adjoint in the left operand: `s · yᵀ`, of the left operand's shape.
    fn left(&self, b: &mut Builder, site: &Site, s: Value, y: Value) -> Value;
    /// Builds the adjoint in the right operand: `xᵀ · s`, of the right operand's shape.
    fn right(&self, b: &mut Builder, site: &Site, s: Value, x: Value) -> Value;
}

/// Algebra of an attention. Operands: q `[…, m, d]`, k `[…, n, d]`, v `[…, n, e]`, mask (optional).
pub trait AttentionMap {
    /// Builds the relevance of one operand, from the relevance `r` of the result shared by magnitude of contribution;
    /// the values take the share `value`.
    fn share(&self, b: &mut Builder, site: &Site, r: Value, value: f32, part: AttentionPart) -> Value;

    /// Builds the weights of all pairs of queries and keys, `[…, m, n]`.
    fn weights(&self, b: &mut Builder, site: &Site) -> Value;
}

/// Algebra of a data movement or choice: each element of the result is an element of an operand, or an equal share of
/// several.
pub trait Route {
    /// Builds the relevance of each operand, of its shape; `None` for operands such as indices and conditions.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>>;

    /// Builds the same with all relevance to the first of several winners that tie; `None` if the operator divides ties
    /// in any case.
    fn winner(&self, _: &mut Builder, _: &Site, _: Value) -> Option<Vec<Option<Value>>> {
        None
    }
}

/// Role of an operator for a rule, with its algebra.
pub enum Role<'a> {
    /// Linear in the live operand, with weights.
    Linear(&'a dyn LinearMap),
    /// Sum or mean over positions of the live operand, without weights.
    Pool(&'a dyn LinearMap),
    /// Bilinear in two live operands.
    Bilinear(&'a dyn BilinearMap),
    /// Attention of queries to keys and values.
    Attention(&'a dyn AttentionMap),
    /// Recurrence; the rules of its step apply step by step.
    Recurrence,
    /// Sum of operands, with broadcasting.
    Sum {
        /// True if the second operand is subtracted.
        subtracts: bool,
    },
    /// Elementwise product of operands, with broadcasting.
    Product,
    /// First live operand divided or transformed by the others, with broadcasting; it takes all relevance.
    Scaled,
    /// Elementwise function of the first operand.
    Elementwise,
    /// Normalisation of the first operand.
    Normalize,
    /// Choice: the largest, the smallest or the selected element.
    Select(&'a dyn Route),
    /// Data movement.
    Rearrange(&'a dyn Route),
    /// Look-up in a constant table (operand 0) by live integer ids (operand 1).
    Embedding,
    /// Node that never carries relevance, such as indices, predicates and shapes.
    NoRelevance,
}

/// Kind of a role, without its algebra. Composites select nodes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleKind {
    /// Linear map with weights.
    Linear,
    /// Linear map without weights, such as an average.
    Pool,
    /// Matrix product of two computed operands.
    Bilinear,
    /// Attention.
    Attention,
    /// Recurrence over time.
    Recurrence,
    /// Sum of operands.
    Sum,
    /// Elementwise product of operands.
    Product,
    /// Product or quotient of which one operand carries relevance.
    Scaled,
    /// Elementwise function.
    Elementwise,
    /// Normalisation over axes.
    Normalize,
    /// Choice among elements.
    Select,
    /// Change of shape or order.
    Rearrange,
    /// Look-up of a table's rows by ids.
    Embedding,
    /// Node that carries no relevance.
    NoRelevance,
}

impl RoleKind {
    /// Roles that relevance passes, by their names in composites.
    pub const NAMED: &[(&str, RoleKind)] = &[
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

    /// Returns the name in composites, or `none` for [`RoleKind::NoRelevance`].
    pub fn name(self) -> &'static str {
        RoleKind::NAMED.iter().find(|(_, kind)| *kind == self).map_or("none", |(name, _)| name)
    }
}

impl<'a> Role<'a> {
    /// Returns the algebra of a map that is linear in its live operand, with or without weights.
    pub fn linear(&self) -> Option<&'a dyn LinearMap> {
        let (Role::Linear(map) | Role::Pool(map)) = self else { return None };
        Some(*map)
    }

    /// Returns the algebra of a bilinear map.
    pub fn bilinear(&self) -> Option<&'a dyn BilinearMap> {
        let Role::Bilinear(map) = self else { return None };
        Some(*map)
    }

    /// Returns the algebra of an attention.
    pub fn attention(&self) -> Option<&'a dyn AttentionMap> {
        let Role::Attention(map) = self else { return None };
        Some(*map)
    }

    /// Returns whether the second operand is subtracted; `None` unless the role is a sum.
    pub fn sum(&self) -> Option<bool> {
        let Role::Sum { subtracts } = self else { return None };
        Some(*subtracts)
    }

    /// Returns the algebra of a choice.
    pub fn select(&self) -> Option<&'a dyn Route> {
        let Role::Select(route) = self else { return None };
        Some(*route)
    }

    /// Returns the algebra of a choice or a data movement.
    pub fn route(&self) -> Option<&'a dyn Route> {
        let (Role::Rearrange(route) | Role::Select(route)) = self else { return None };
        Some(*route)
    }

    /// Returns the kind of the role.
    pub fn kind(&self) -> RoleKind {
        match self {
            Role::Linear(_) => RoleKind::Linear,
            Role::Pool(_) => RoleKind::Pool,
            Role::Bilinear(_) => RoleKind::Bilinear,
            Role::Attention(_) => RoleKind::Attention,
            Role::Recurrence => RoleKind::Recurrence,
            Role::Sum { .. } => RoleKind::Sum,
            Role::Product => RoleKind::Product,
            Role::Scaled => RoleKind::Scaled,
            Role::Elementwise => RoleKind::Elementwise,
            Role::Normalize => RoleKind::Normalize,
            Role::Select(_) => RoleKind::Select,
            Role::Rearrange(_) => RoleKind::Rearrange,
            Role::Embedding => RoleKind::Embedding,
            Role::NoRelevance => RoleKind::NoRelevance,
        }
    }
}
