//! Roles that a rule fits, determined without a node.

use super::{Formula, Policy, Rule};
use crate::graph::Value;
use crate::op::role::{AttentionMap, BilinearMap, LinearMap, Role, RoleKind, Route, Site};
use crate::prim::{AttentionPart, Builder, Transform};

impl Rule {
    /// Returns whether the rule has a formula for the role.
    pub fn fits(&self, kind: RoleKind) -> bool {
        self.formula(&sample(kind)).is_some()
    }

    /// Returns whether the rule has a contrastive form for each role that it fits.
    pub fn contrasts(&self) -> bool {
        let roles: Vec<Role> = RoleKind::NAMED.iter().map(|(_, kind)| sample(*kind)).collect();
        roles.iter().filter_map(|role| self.formula(role)).all(|formula: Formula| formula.contrasts())
    }
}

/// Returns a role of the kind with a placeholder algebra: formulas are created but never evaluated.
fn sample(kind: RoleKind) -> Role<'static> {
    match kind {
        RoleKind::Linear => Role::Linear(&Sample),
        RoleKind::Pool => Role::Pool(&Sample),
        RoleKind::Bilinear => Role::Bilinear(&Sample),
        RoleKind::Attention => Role::Attention(&Sample),
        RoleKind::Recurrence => Role::Recurrence,
        RoleKind::Sum => Role::Sum { subtracts: false },
        RoleKind::Product => Role::Product,
        RoleKind::Scaled => Role::Scaled,
        RoleKind::Elementwise => Role::Elementwise,
        RoleKind::Normalize => Role::Normalize,
        RoleKind::Select => Role::Select(&Sample),
        RoleKind::Rearrange => Role::Rearrange(&Sample),
        RoleKind::Embedding => Role::Embedding,
        RoleKind::NoRelevance => Role::NoRelevance,
    }
}

/// Placeholder algebra: the identity.
struct Sample;

impl LinearMap for Sample {
    fn has_weight(&self) -> bool {
        false
    }

    fn apply(&self, _: &mut Builder, _: &Site, x: Value, _: Transform) -> Value {
        x
    }

    fn transpose(&self, _: &mut Builder, _: &Site, s: Value, _: Transform) -> Value {
        s
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}

impl BilinearMap for Sample {
    fn product(&self, _: &mut Builder, x: Value, _: Value) -> Value {
        x
    }

    fn left(&self, _: &mut Builder, _: &Site, s: Value, _: Value) -> Value {
        s
    }

    fn right(&self, _: &mut Builder, _: &Site, s: Value, _: Value) -> Value {
        s
    }
}

impl AttentionMap for Sample {
    fn share(&self, _: &mut Builder, _: &Site, r: Value, _: f32, _: AttentionPart) -> Value {
        r
    }

    fn weights(&self, _: &mut Builder, site: &Site) -> Value {
        site.y()
    }
}

impl Route for Sample {
    fn route(&self, _: &mut Builder, _: &Site, r: Value) -> Vec<Option<Value>> {
        vec![Some(r)]
    }
}
