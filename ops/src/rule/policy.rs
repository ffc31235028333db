//! Interface of a rule: its formula, and the facts that the compiler asks for.

use std::fmt;

use super::{Flow, Rule, Tracks};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Interface of a rule. Each rule has its own file; [`Rule`] is the table of all rules.
pub trait Policy: fmt::Display + Clone + Into<Rule> {
    /// Returns the formula over a role's algebra; `None` if the rule does not fit the role. Builds no nodes.
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>>;

    /// Returns the operands that receive relevance.
    fn receives(&self) -> Receives;

    /// Returns how relevance is divided among the operands, of which `live` carry relevance.
    fn sharing(&self, live: &[bool]) -> Sharing;

    /// Returns the rule with the parameters that depend on its node filled in.
    fn for_node(&self, _: &dyn NodeFacts) -> Rule {
        self.clone().into()
    }

    /// Checks that the parameters are in range.
    ///
    /// # Errors
    /// Text with the parameter, its range, and the actual value.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Returns whether constants that are added to the data absorb a share, or change the factor of the data.
    fn counts_constants(&self) -> bool {
        false
    }
}

/// Operands to which a rule passes relevance, among those that carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receives {
    /// The first operand that carries relevance.
    First,
    /// All operands that carry relevance.
    All,
    /// No operand.
    Nothing,
    /// The operands at these indices.
    Only(Vec<usize>),
}

impl Receives {
    /// Returns the indices of the operands that receive relevance, where `live` marks those that carry it.
    pub fn among(&self, live: &[bool]) -> Vec<usize> {
        let all = (0..live.len()).filter(|k| live[*k]);
        match self {
            Receives::First => all.take(1).collect(),
            Receives::All => all.collect(),
            Receives::Nothing => vec![],
            Receives::Only(positions) => all.filter(|k| positions.contains(k)).collect(),
        }
    }
}

/// Kind of division of relevance: by signed values or magnitudes, and whether relevance or derivatives pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Relevance by signed values: a negative value passes it on negated.
    ByValue,
    /// Relevance by magnitudes, counts, or contributions of one sign.
    ByMagnitude,
    /// Relevance in shares that do not depend on values.
    Fixed,
    /// All relevance to the single operand that takes part.
    Single,
    /// Derivative as the quotient of result and operand; relevance passes unchanged.
    Slope,
    /// Relevance or derivative, moved from each element of the result to the element that it came from.
    Moves,
    /// Relevance or derivative that ends here: it is summed or dropped.
    Ends,
    /// Derivative.
    Derivative,
    /// Rules of a recurrence's step.
    Stepwise,
}

/// Bounds beyond which an activation hides the positive or the negative contributions of its layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Value below which positive contributions have no effect.
    pub lower: Option<f32>,
    /// Value above which negative contributions have no effect.
    pub upper: Option<f32>,
    /// Slope `a` of an activation `x · σ(a · x)`, which is not monotone.
    pub swish: Option<f32>,
}

/// Facts about the node of a rule, besides its role.
pub trait NodeFacts {
    /// Returns, for each operand, whether it carries relevance.
    fn live(&self) -> &[bool];

    /// Returns whether operand `k` is the result of a sigmoid-like function: a factor in 0..=1.
    fn is_gate(&self, k: usize) -> bool;

    /// Returns the bounds of the activation that is the only reader of the result; `None` if there is none.
    fn bounds(&self) -> Option<Bounds>;

    /// Returns whether the node is a convolution.
    fn convolves(&self) -> bool;
}

/// Builds the relevance of a node's operands from the relevance of its result.
pub type FlowFn<'a> = Box<dyn Fn(&mut Builder, &Site, Value) -> Flow + 'a>;

/// Builds the relevance of a node's operands on both tracks from the relevance of its result on both.
pub type TracksFn<'a> = Box<dyn Fn(&mut Builder, &Site, Tracks) -> [Flow; 2] + 'a>;

/// Formula of a rule for a node, with its contrastive form.
pub enum Formula<'a> {
    /// Formula without a contrastive form.
    OneTrack(FlowFn<'a>),
    /// Formula that is applied to each of two tracks separately.
    EachTrack(FlowFn<'a>),
    /// Formula, and its contrastive form, which couples two tracks by the signs of contributions.
    Coupled(FlowFn<'a>, TracksFn<'a>),
    /// Rules of a recurrence's step, on one or two tracks. The compiler lowers them.
    PerStep,
}

impl<'a> Formula<'a> {
    /// Creates a formula without a contrastive form.
    pub fn one_track(flow: impl Fn(&mut Builder, &Site, Value) -> Flow + 'a) -> Formula<'a> {
        Formula::OneTrack(Box::new(flow))
    }

    /// Creates a formula that is applied to each track separately.
    pub fn each_track(flow: impl Fn(&mut Builder, &Site, Value) -> Flow + 'a) -> Formula<'a> {
        Formula::EachTrack(Box::new(flow))
    }

    /// Creates a formula with a contrastive form that couples the tracks.
    pub fn coupled(
        flow: impl Fn(&mut Builder, &Site, Value) -> Flow + 'a,
        tracks: impl Fn(&mut Builder, &Site, Tracks) -> [Flow; 2] + 'a,
    ) -> Formula<'a> {
        Formula::Coupled(Box::new(flow), Box::new(tracks))
    }

    /// Returns whether the formula has a contrastive form.
    pub fn contrasts(&self) -> bool {
        match self {
            Formula::OneTrack(_) => false,
            Formula::EachTrack(_) | Formula::Coupled(..) | Formula::PerStep => true,
        }
    }

    /// Builds the relevance of the operands from `r`, the relevance of the result; `None` for [`Formula::PerStep`].
    pub fn flow(&self, b: &mut Builder, site: &Site, r: Value) -> Option<Flow> {
        match self {
            Formula::OneTrack(flow) | Formula::EachTrack(flow) | Formula::Coupled(flow, _) => {
                let flow = flow(b, site, r);
                Some(absorb_constant_shares(b, site, flow))
            }
            Formula::PerStep => None,
        }
    }

    /// Builds the relevance of the operands on both tracks from `r`, the relevance of the result. `None` without a
    /// contrastive form and for [`Formula::PerStep`].
    pub fn flows(&self, b: &mut Builder, site: &Site, r: Tracks) -> Option<[Flow; 2]> {
        match self {
            Formula::OneTrack(_) | Formula::PerStep => None,
            Formula::EachTrack(flow) => Some(r.both().map(|r| {
                let flow = flow(b, site, r);
                absorb_constant_shares(b, site, flow)
            })),
            Formula::Coupled(_, tracks) => {
                Some(tracks(b, site, r).map(|flow| absorb_constant_shares(b, site, flow)))
            }
        }
    }
}

/// Completes a flow to one entry per operand; shares of operands that do not carry relevance are absorbed.
fn absorb_constant_shares(b: &mut Builder, site: &Site, mut flow: Flow) -> Flow {
    flow.operands.resize(site.inputs.len(), None);
    for (k, share) in flow.operands.iter_mut().enumerate() {
        if !site.live[k] {
            flow.absorbed.extend(share.take().map(|v| b.total(v)));
        }
    }
    flow
}

/// Checks that a parameter is finite and ≥ 0.
pub(super) fn check_non_negative(name: &str, value: f32) -> Result<(), String> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(format!("invalid {name}: expected at least 0, found {value}"))
}
