//! Relevance rules: one redistribution formula a file.
//!
//! A rule supplies policy and names no operator: it is written once against the algebra that
//! [`Role`] offers. Each takes the relevance `r` of a node's result and gives the relevance of each
//! operand, plus what was *absorbed*: the share of biases, constants and positions that nothing contributed to. The books
//! close: `Σ r = Σ operands + absorbed`.

mod alpha_beta;
mod attention;
mod attention_magnitudes;
mod bilinear;
mod epsilon;
mod fit;
mod flat;
mod gamma;
mod gradient;
mod options;
mod parameters;
mod pass;
mod policy;
mod product;
mod product_by_value;
mod proportional;
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

/// The stabiliser of a rule whose entry gives none.
const EPSILON: f32 = 1e-6;

/// The result of a rule on one track.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The relevance of each operand, of the operand's shape; `None` where it gets none.
    pub operands: Vec<Option<Value>>,
    /// Scalars that add up to what was absorbed.
    pub absorbed: Vec<Value>,
}

macro_rules! rules {
    ($($(#[$about:meta])* $rule:ident = $name:literal,)+) => {
        /// A relevance rule with its parameters, read from a table whose key `rule` is its name. The table of rules; the
        /// dispatch is generated from it.
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(tag = "rule")]
        pub enum Rule {
            $($(#[$about])* #[serde(rename = $name)] $rule($rule),)+
        }

        impl Rule {
            /// The names of the rules, as composites have them.
            pub const NAMES: &[&str] = &[$($name),+];

            /// The name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Rule::$rule(_) => $name,)+
                }
            }

            /// The parameters that composites give a rule; `None`: there is no rule of the name.
            pub fn parameters(name: &str) -> Option<&'static [&'static str]> {
                match name {
                    $($name => Some(parameters::fields::<$rule>()),)+
                    _ => None,
                }
            }

            /// Each rule with its default parameters.
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
    /// Shares by contribution magnitude.
    Proportional = "proportional",
    /// Shares by contribution magnitude, an activation's saturation counted.
    Saturated = "saturated",
    /// By value, stabilised.
    Epsilon = "epsilon",
    /// Positive contributions alone.
    ZPlus = "z-plus",
    /// Positive and negative contributions apart.
    AlphaBeta = "alpha-beta",
    /// By value, one sign favoured.
    Gamma = "gamma",
    /// By squared weights.
    WSquare = "w-square",
    /// All alike.
    Flat = "flat",
    /// For operands within bounds.
    ZBox = "z-box",
    /// Half to each factor, by contribution magnitude.
    Bilinear = "bilinear",
    /// Shares of an attention by its weights.
    Attention = "attention",
    /// Shares of an attention by magnitudes.
    AttentionMagnitudes = "attention-magnitudes",
    /// Shares of a sum.
    Sum = "sum",
    /// Shares of a sum by value.
    SumEpsilon = "sum-epsilon",
    /// Fixed shares of a product.
    Product = "product",
    /// Shares of a product by how far it is from each factor.
    ProductByValue = "product-by-value",
    /// Unchanged to the first live operand.
    Pass = "pass",
    /// The way back of a data movement or a choice.
    Route = "route",
    /// The way back of a choice, to the first where several tie.
    Winner = "winner",
    /// The sum over the embedding axis.
    Token = "token",
    /// The sum over the embedding axis of derivatives times the embeddings.
    TokenTimes = "token-times",
    /// A derivative.
    Gradient = "gradient",
    /// A derivative by the quotient of result and operand.
    Slope = "slope",
    /// Nothing passes.
    Stop = "stop",
    /// Through each step of a recurrence, backwards in time.
    Stepwise = "stepwise",
}

/// A node of the relevance graph: the rule of one forward node.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleNode {
    /// The rule; `None` for a seed.
    pub rule: Option<Rule>,
    /// The forward node's operator.
    pub op: String,
    /// The forward node's results, by name.
    pub results: Vec<String>,
    /// The forward node's operands, by name.
    pub operands: Vec<String>,
    /// The operands that get relevance: output slot `i` is that of operand `targets[i]`.
    pub targets: Vec<usize>,
}

/// An output of a relevance graph: one wire of the relevance of a tensor at which relevance ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sink {
    /// The tensor's name.
    pub name: String,
    /// Index of the tensor among those at which relevance ends.
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
