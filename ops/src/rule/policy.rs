//! The contract of a rule: its formula, and the facts that the compiler asks for.

use std::fmt;

use super::{Flow, Rule, Tracks};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// A rule. Each has a file of its own; [`Rule`] is the table of them.
pub trait Policy: fmt::Display + Clone + Into<Rule> {
    /// The formula over a role's algebra; `None`: the rule does not fit the role. Builds nothing.
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>>;

    /// The operands that get relevance.
    fn receives(&self) -> Receives;

    /// The way in which relevance is divided, given the operands that carry it.
    fn sharing(&self, live: &[bool]) -> Sharing;

    /// The rule with what depends on its node filled in.
    fn for_node(&self, _: &dyn NodeFacts) -> Rule {
        self.clone().into()
    }

    /// Checks that parameters are in range.
    ///
    /// # Errors
    /// The parameter, the range, and the value.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Returns whether a constant that is added to the data keeps a share, or changes what the data is multiplied with.
    fn counts_constants(&self) -> bool {
        false
    }
}

/// The operands that a rule gives relevance to, among those that carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receives {
    /// The first.
    First,
    /// Each.
    All,
    /// None.
    Nothing,
    /// Those at these positions.
    Only(Vec<usize>),
}

impl Receives {
    /// The operands by position, where `live` are those that carry relevance.
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

/// The way in which a rule divides relevance: by values with a sign or not, and as relevance or as a derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Relevance by values with their signs: a negative value passes it on negated.
    ByValue,
    /// Relevance by magnitudes, by counts, or by contributions of one sign.
    ByMagnitude,
    /// Relevance in parts that do not depend on values.
    Fixed,
    /// Relevance, all of it to the one operand that takes part.
    Single,
    /// A derivative, the quotient of result and operand; relevance passes unchanged.
    Slope,
    /// Relevance or a derivative, each element to where the result's came from.
    Moves,
    /// Relevance or a derivative that goes no further: it is summed up or dropped.
    Ends,
    /// A derivative.
    Derivative,
    /// By the rules of what each step of a recurrence does.
    Stepwise,
}

/// The bounds beyond which an activation hides one side of its layer's contributions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Below it the positive side is out.
    pub lower: Option<f32>,
    /// Above it the negative side is out.
    pub upper: Option<f32>,
    /// Slope of an activation `x · σ(slope · x)`, which is not monotone.
    pub swish: Option<f32>,
}

/// Facts of the node that a rule is for, besides its role.
pub trait NodeFacts {
    /// For each operand, whether it carries relevance.
    fn live(&self) -> &[bool];

    /// Returns whether operand `k` is the result of a sigmoid-like function: a factor from 0 to 1.
    fn is_gate(&self, k: usize) -> bool;

    /// The bounds of the activation that alone reads the result; `None` where there is none.
    fn bounds(&self) -> Option<Bounds>;

    /// Returns whether the node is a convolution.
    fn convolves(&self) -> bool;
}

/// Builds the relevance of a node's operands from that of its result.
pub type FlowFn<'a> = Box<dyn Fn(&mut Builder, &Site, Value) -> Flow + 'a>;

/// Builds the relevance of a node's operands on both tracks from that of its result on both.
pub type TracksFn<'a> = Box<dyn Fn(&mut Builder, &Site, Tracks) -> [Flow; 2] + 'a>;

/// The formula of a rule for a node, and its contrastive form.
pub enum Formula<'a> {
    /// Without a contrastive form.
    OneTrack(FlowFn<'a>),
    /// Each of two tracks alone.
    EachTrack(FlowFn<'a>),
    /// Two tracks coupled by the sign of contributions.
    Coupled(FlowFn<'a>, TracksFn<'a>),
    /// By the rules of each step of a recurrence, on one track or two. The compiler lowers it.
    PerStep,
}

impl<'a> Formula<'a> {
    /// A formula without a contrastive form.
    pub fn one_track(flow: impl Fn(&mut Builder, &Site, Value) -> Flow + 'a) -> Formula<'a> {
        Formula::OneTrack(Box::new(flow))
    }

    /// A formula that serves each track alone.
    pub fn each_track(flow: impl Fn(&mut Builder, &Site, Value) -> Flow + 'a) -> Formula<'a> {
        Formula::EachTrack(Box::new(flow))
    }

    /// A formula whose contrastive form couples the tracks.
    pub fn coupled(
        flow: impl Fn(&mut Builder, &Site, Value) -> Flow + 'a,
        tracks: impl Fn(&mut Builder, &Site, Tracks) -> [Flow; 2] + 'a,
    ) -> Formula<'a> {
        Formula::Coupled(Box::new(flow), Box::new(tracks))
    }

    /// Returns whether there is a contrastive form.
    pub fn contrasts(&self) -> bool {
        match self {
            Formula::OneTrack(_) => false,
            Formula::EachTrack(_) | Formula::Coupled(..) | Formula::PerStep => true,
        }
    }

    /// Builds the relevance of the operands from `r`, the relevance of the result; `None` for a formula per step.
    pub fn flow(&self, b: &mut Builder, site: &Site, r: Value) -> Option<Flow> {
        match self {
            Formula::OneTrack(flow) | Formula::EachTrack(flow) | Formula::Coupled(flow, _) => {
                let flow = flow(b, site, r);
                Some(settled(b, site, flow))
            }
            Formula::PerStep => None,
        }
    }

    /// Builds the relevance of the operands on both tracks from `r`, that of the result; `None` without a contrastive form,
    /// and for a formula per step.
    pub fn flows(&self, b: &mut Builder, site: &Site, r: Tracks) -> Option<[Flow; 2]> {
        match self {
            Formula::OneTrack(_) | Formula::PerStep => None,
            Formula::EachTrack(flow) => Some(r.both().map(|r| {
                let flow = flow(b, site, r);
                settled(b, site, flow)
            })),
            Formula::Coupled(_, tracks) => Some(tracks(b, site, r).map(|flow| settled(b, site, flow))),
        }
    }
}

/// One share for each operand; the share of a constant one is absorbed.
fn settled(b: &mut Builder, site: &Site, mut flow: Flow) -> Flow {
    flow.operands.resize(site.inputs.len(), None);
    for (k, share) in flow.operands.iter_mut().enumerate() {
        if !site.live[k] {
            flow.absorbed.extend(share.take().map(|v| b.total(v)));
        }
    }
    flow
}

/// Checks that a parameter is a number from 0 on.
pub(super) fn from_zero(name: &str, value: f32) -> Result<(), String> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(format!("{name} is a number from 0 on, found {value}"))
}
