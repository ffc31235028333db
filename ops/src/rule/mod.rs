//! Relevance rules: one redistribution formula per file.
//!
//! A rule names no operator: its formula is written once against the algebra that a [`Role`] offers. The formula takes
//! the relevance `r` of a node's result and returns the relevance of each operand and the *absorbed* relevance: the
//! share of biases, constants and positions without contributions. The ledger of each node closes:
//! `Σ r = Σ operands + absorbed`.

mod alpha_beta;
mod attention;
mod attention_magnitudes;
mod bilinear;
mod epsilon;
mod fit;
mod flat;
mod gamma;
mod gradient;
mod infinite;
mod options;
mod parameters;
mod pass;
mod policy;
mod product;
mod product_by_value;
mod proportional;
mod rounding;
mod route;
mod saturated;
mod signed_sums;
mod slope;
mod stepwise;
mod stop;
mod sum;
mod sum_epsilon;
mod terms;
#[cfg(test)]
mod tests;
mod token;
mod token_times;
mod tracks;
mod w_square;
mod weight_shares;
mod winner;
mod z_box;
mod z_plus;

pub use alpha_beta::{AlphaBeta, SignedBias};
pub use attention::Attention;
pub use attention_magnitudes::AttentionMagnitudes;
pub use bilinear::Bilinear;
pub use epsilon::Epsilon;
pub use flat::Flat;
pub use gamma::Gamma;
pub use gradient::{Divisors, Factors, Gradient};
pub use options::{Bias, Constants, Contribution, Gates};
pub use pass::Pass;
pub use policy::{Bounds, FlowFn, Formula, NodeFacts, Policy, Receives, Sharing, TracksFn};
pub use product::Product;
pub use product_by_value::ProductByValue;
pub use proportional::Proportional;
pub use rounding::Rounding;
pub use route::Route;
pub use saturated::{DecidedBy, Saturated, Saturation};
pub use slope::Slope;
pub use stepwise::Stepwise;
pub use stop::Stop;
pub use sum::Sum;
pub use sum_epsilon::SumEpsilon;
pub use token::Token;
pub use token_times::TokenTimes;
pub use tracks::{Argument, Tracks};
pub use w_square::WSquare;
pub use winner::Winner;
pub use z_box::ZBox;
pub use z_plus::ZPlus;

use std::fmt;

use serde::Deserialize;

use crate::graph::{FanIn, PrintOp, Value, Vocabulary};
use crate::op::role::Role;

/// Default stabiliser.
const EPSILON: f32 = 1e-6;

/// Relevance of a node's operands on one track.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Relevance of each operand, of the operand's shape; `None` if the operand receives none.
    pub operands: Vec<Option<Value>>,
    /// Scalars whose sum is the absorbed relevance.
    pub absorbed: Vec<Value>,
}

macro_rules! rules {
    ($($(#[$about:meta])* $rule:ident = $name:literal,)+) => {
        /// Relevance rule with its parameters. Deserialised from a composite's table whose key `rule` holds the rule's
        /// name. The enum and its dispatch are generated from the table of rules.
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(tag = "rule")]
        pub enum Rule {
            $($(#[$about])* #[serde(rename = $name)] $rule($rule),)+
        }

        impl Rule {
            /// Names of all rules, as composites write them.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Returns the name of the rule, as composites write it.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Rule::$rule(_) => $name,)+
                }
            }

            /// Returns the names of a rule's parameters in composites; `None` if no rule has the name.
            pub fn parameters(name: &str) -> Option<&'static [&'static str]> {
                match name {
                    $($name => Some(parameters::fields::<$rule>()),)+
                    _ => None,
                }
            }

            /// Returns each rule with its default parameters.
            pub fn samples() -> Vec<Rule> {
                vec![$(Rule::$rule($rule::default())),+]
            }
        }

        impl Policy for Rule {
            fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
                match self {
                    $(Rule::$rule(rule) => rule.formula(role),)+
                }
            }

            fn receives(&self) -> Receives {
                match self {
                    $(Rule::$rule(rule) => rule.receives(),)+
                }
            }

            fn sharing(&self, live: &[bool]) -> Sharing {
                match self {
                    $(Rule::$rule(rule) => rule.sharing(live),)+
                }
            }

            fn for_node(&self, node: &dyn NodeFacts) -> Rule {
                match self {
                    $(Rule::$rule(rule) => rule.for_node(node),)+
                }
            }

            fn check(&self) -> Result<(), String> {
                match self {
                    $(Rule::$rule(rule) => rule.check(),)+
                }
            }

            fn counts_constants(&self) -> bool {
                match self {
                    $(Rule::$rule(rule) => rule.counts_constants(),)+
                }
            }
        }

        impl fmt::Display for Rule {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Rule::$rule(rule) => rule.fmt(f),)+
                }
            }
        }

        $(impl From<$rule> for Rule {
            fn from(rule: $rule) -> Rule {
                Rule::$rule(rule)
            }
        })+
    };
}

rules! {
    /// Shares by magnitude of contribution.
    Proportional = "proportional",
    /// Shares by magnitude of contribution, with the saturation of the activation that follows.
    Saturated = "saturated",
    /// Shares by signed contribution, with a stabiliser.
    Epsilon = "epsilon",
    /// Shares of positive contributions.
    ZPlus = "z-plus",
    /// Separate shares of positive and negative contributions.
    AlphaBeta = "alpha-beta",
    /// Shares by signed contribution, with contributions of the result's sign favoured.
    Gamma = "gamma",
    /// Shares by squared weight.
    WSquare = "w-square",
    /// Equal shares.
    Flat = "flat",
    /// Shares relative to the bounds of the operand.
    ZBox = "z-box",
    /// Half of the relevance to each factor, by magnitude of contribution.
    Bilinear = "bilinear",
    /// Shares of an attention's operands by its weights.
    Attention = "attention",
    /// Shares of an attention's operands by their magnitudes.
    AttentionMagnitudes = "attention-magnitudes",
    /// Shares of a sum's operands by magnitude.
    Sum = "sum",
    /// Shares of a sum's operands by signed value.
    SumEpsilon = "sum-epsilon",
    /// Share of a rounded value before its rounding.
    Rounding = "rounding",
    /// Fixed shares of a product's factors.
    Product = "product",
    /// Shares of a product's factors by their distance from the product.
    ProductByValue = "product-by-value",
    /// All relevance to the first live operand, unchanged.
    Pass = "pass",
    /// Adjoint of a data movement; the winner of a choice, with ties divided equally.
    Route = "route",
    /// The winner of a choice; the first of several that tie.
    Winner = "winner",
    /// Sum over the embedding axes.
    Token = "token",
    /// Sum over the embedding axes of derivative times embedding.
    TokenTimes = "token-times",
    /// Derivative.
    Gradient = "gradient",
    /// Quotient of result and operand in place of the derivative.
    Slope = "slope",
    /// No relevance to any operand.
    Stop = "stop",
    /// Rules of a recurrence's step, applied to each step backwards in time.
    Stepwise = "stepwise",
}

/// Node of the relevance graph: the rule of one forward node.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleNode {
    /// Rule of the node; `None` for a seed.
    pub rule: Option<Rule>,
    /// Operator of the forward node.
    pub op: String,
    /// Names of the forward node's results.
    pub results: Vec<String>,
    /// Names of the forward node's operands.
    pub operands: Vec<String>,
    /// Indices of the operands that receive relevance: output slot `i` holds the relevance of operand `targets[i]`.
    pub targets: Vec<usize>,
}

/// Output of a relevance graph: one wire of the relevance of a tensor at which relevance ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sink {
    /// Name of the tensor.
    pub name: String,
    /// Index of the wire among those of the same tensor.
    pub index: usize,
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.index)
    }
}

impl Vocabulary for RuleNode {
    type Output = Sink;
    const FAN_IN: FanIn = FanIn::Sum;
}

impl PrintOp for RuleNode {
    fn name(&self) -> String {
        self.rule.as_ref().map_or_else(|| "seed".into(), ToString::to_string)
    }

    fn attributes(&self) -> String {
        String::new()
    }

    fn is_const(&self) -> bool {
        false
    }
}
