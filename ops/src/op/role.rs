//! Roles of operators for rules: their algebra behind a small trait, so that ops and rules add instead of multiply.

use crate::graph::Value;
use crate::prim::{AttentionPart, Builder, Transform};

/// A node as rules see it: the lowered values it reads and makes.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The operands.
    pub inputs: &'a [Value],
    /// The results.
    pub outputs: &'a [Value],
    /// For each operand, whether it carries relevance.
    pub live: &'a [bool],
}

impl Site<'_> {
    /// The first result.
    pub fn y(&self) -> Value {
        self.outputs[0]
    }

    /// The first live operand.
    pub fn data(&self) -> usize {
        self.live.iter().position(|l| *l).unwrap_or(0)
    }
}

/// `y = A(w) x + b`: linear in one operand, the others constant.
pub trait LinearMap {
    /// Returns whether there is a weight (without one, every coefficient is 1 and `part` has no effect).
    fn has_weight(&self) -> bool;
    /// `A(part(w)) x`, without bias.
    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value;
    /// `Aᵀ(part(w)) s`, of the shape of the data operand.
    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value;
    /// The bias, of a shape that broadcasts to `y`.
    fn bias(&self, b: &mut Builder, site: &Site) -> Option<Value>;
}

/// `y = a · b`, bilinear in two operands.
pub trait BilinearMap {
    /// `x · y`.
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value;
    /// The adjoint in the left operand: `s · yᵀ`, of the shape of the left operand.
    fn left(&self, b: &mut Builder, site: &Site, s: Value, y: Value) -> Value;
    /// The adjoint in the right operand: `xᵀ · s`, of the shape of the right operand.
    fn right(&self, b: &mut Builder, site: &Site, s: Value, x: Value) -> Value;
}

/// Weights of keys for each query, made of products of both, that mix values. Operands: q, k, v, mask.
pub trait AttentionMap {
    /// `r`, relevance of the result, shared by contribution magnitude, the values getting the share `value`.
    fn share(&self, b: &mut Builder, site: &Site, r: Value, value: f32, of: AttentionPart) -> Value;

    /// The weights of all pairs of queries and keys, `[…, m, n]`.
    fn weights(&self, b: &mut Builder, site: &Site) -> Value;
}

/// Each element of `y` is an element of some operand (or equal shares of several): relevance goes the way back.
pub trait Route {
    /// The relevance of each operand, of its shape; `None` for an operand that only steers (indices, conditions).
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>>;

    /// The same with all to the first where several tie; `None` when this operator shares in any case.
    fn winner(&self, _: &mut Builder, _: &Site, _: Value) -> Option<Vec<Option<Value>>> {
        None
    }
}

/// The role of an operator for a rule, with its algebra.
pub enum Role<'a> {
    /// Linear in the live operand, with weights.
    Linear(&'a dyn LinearMap),
    /// A plain sum or mean over positions of the live operand.
    Pool(&'a dyn LinearMap),
    /// Bilinear in two live operands.
    Bilinear(&'a dyn BilinearMap),
    /// Attention of queries over keys and values.
    Attention(&'a dyn AttentionMap),
    /// A recurrence: the rules of what it repeats, step by step.
    Recurrence,
    /// Operands add up, with broadcasting.
    Sum {
        /// The second is subtracted.
        subtracts: bool,
    },
    /// Operands multiply, with broadcasting.
    Product,
    /// The first live operand is divided or transformed by the others, with broadcasting; it takes all.
    Scaled,
    /// An elementwise function of the first operand.
    Elementwise,
    /// A normalisation of the first operand.
    Normalize,
    /// The greatest, the smallest or the chosen wins.
    Select(&'a dyn Route),
    /// Data movement.
    Rearrange(&'a dyn Route),
    /// A constant table looked up by live integer ids (operand 1).
    Embedding,
    /// Never carries relevance: indices, predicates, shapes.
    NoRelevance,
}

/// The kinds of role, for composites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleKind {
    /// A linear map with weights.
    Linear,
    /// A linear map without weights, such as an average.
    Pool,
    /// A product of two computed operands that sums.
    Bilinear,
    /// An attention.
    Attention,
    /// A recurrence over time.
    Recurrence,
    /// A sum of operands.
    Sum,
    /// An elementwise product of operands.
    Product,
    /// A product or quotient with one operand that carries relevance.
    Scaled,
    /// A function of each element.
    Elementwise,
    /// A normalisation over some axes.
    Normalize,
    /// A choice among elements.
    Select,
    /// A change of shape or order.
    Rearrange,
    /// Rows of a table.
    Embedding,
    /// A node that carries none.
    NoRelevance,
}

impl RoleKind {
    /// The roles that relevance passes, by the names that composites have for them.
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

    /// The name in composites; `none` of a role that relevance does not pass.
    pub fn name(self) -> &'static str {
        RoleKind::NAMED.iter().find(|(_, kind)| *kind == self).map_or("none", |(name, _)| name)
    }
}

impl<'a> Role<'a> {
    /// The algebra of an operator that is linear in its live operand, with or without weights.
    pub fn linear(&self) -> Option<&'a dyn LinearMap> {
        let (Role::Linear(map) | Role::Pool(map)) = self else { return None };
        Some(*map)
    }

    /// The algebra of a product of two live operands that sums.
    pub fn bilinear(&self) -> Option<&'a dyn BilinearMap> {
        let Role::Bilinear(map) = self else { return None };
        Some(*map)
    }

    /// The algebra of an attention.
    pub fn attention(&self) -> Option<&'a dyn AttentionMap> {
        let Role::Attention(map) = self else { return None };
        Some(*map)
    }

    /// Returns whether the second operand is subtracted; `None` for a role that is no sum.
    pub fn sum(&self) -> Option<bool> {
        let Role::Sum { subtracts } = self else { return None };
        Some(*subtracts)
    }

    /// The way back of a choice.
    pub fn select(&self) -> Option<&'a dyn Route> {
        let Role::Select(route) = self else { return None };
        Some(*route)
    }

    /// The way back of a choice or a data movement.
    pub fn route(&self) -> Option<&'a dyn Route> {
        let (Role::Rearrange(route) | Role::Select(route)) = self else { return None };
        Some(*route)
    }

    /// The kind.
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
