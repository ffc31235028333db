//! Relevance rules: one redistribution formula a file.
//!
//! A rule supplies policy and names no operator: it is written once against the algebra that
//! [`Role`] offers. Each takes the relevance `r` of a node's result and gives the relevance of each
//! operand, plus what was *absorbed*: the share of biases, constants and positions that nothing contributed to. The books
//! close: `Σ r = Σ operands + absorbed`.

mod alpha_beta;
mod attention;
mod bilinear;
mod contrast;
mod counted;
mod epsilon;
mod gamma;
mod gradient;
mod pass;
mod product;
mod proportional;
mod route;
mod saturated;
mod sides;
mod signed;
mod signed_sum;
mod slope;
mod sum;
mod token;
mod value_product;
mod z_box;

pub use alpha_beta::AlphaBeta;
pub use attention::Attention;
pub use contrast::Argument;
pub use counted::Counted;
pub use epsilon::Epsilon;
pub use gamma::Gamma;
pub use gradient::Gradient;
pub use product::Product;
pub use proportional::{Bias, Contribution, Proportional};
pub use saturated::{Decided, Saturated};
pub use signed_sum::SignedSum;
pub use sum::{Constants, Sum};
pub use z_box::Box as ZBox;

use std::fmt;

use crate::graph::{FanIn, PrintOp, Value, Vocabulary};
use crate::op::role::{Role, RoleKind, Site};
use crate::prim::Builder;

/// What a rule makes.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The relevance of each operand, of the operand's shape; `None` where it gets none.
    pub operands: Vec<Option<Value>>,
    /// Scalars that add up to what was absorbed.
    pub absorbed: Vec<Value>,
}

/// A relevance rule with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Shares by contribution magnitude.
    Proportional(Proportional),
    /// Shares by contribution magnitude, an activation's saturation counted.
    Saturated(Saturated),
    /// By value, stabilised.
    Epsilon(Epsilon),
    /// Positive and negative contributions apart.
    AlphaBeta(AlphaBeta),
    /// By value, one sign favoured.
    Gamma(Gamma),
    /// By the weights alone.
    Counted(Counted),
    /// For operands within bounds.
    ZBox(ZBox),
    /// Half to each factor, by contribution magnitude.
    Bilinear,
    /// Shares of an attention.
    Attention(Attention),
    /// Shares of a sum.
    Sum(Sum),
    /// Shares of a sum by value.
    SignedSum(SignedSum),
    /// Fixed shares of a product.
    Product(Product),
    /// Shares of a product by how far it is from each factor.
    ValueProduct,
    /// Unchanged to the first live operand.
    Pass,
    /// The way back of a data movement or a choice.
    Route,
    /// The way back of a choice, to the first where several tie.
    Winner,
    /// A derivative.
    Gradient(Gradient),
    /// A derivative by the quotient of result and operand.
    Slope,
    /// Nothing passes.
    Stop,
    /// The sum over the embedding axis.
    Token,
    /// The sum over the embedding axis of derivatives times the embeddings.
    TokenTimes,
    /// Through each step, backwards in time, by the rules of what the step does. The compiler lowers it.
    Stepwise,
}

impl Rule {
    /// Which roles the rule fits.
    pub fn fits(&self, role: RoleKind) -> bool {
        match self {
            Rule::Proportional(_) | Rule::Epsilon(_) | Rule::Counted(_) => {
                matches!(role, RoleKind::Linear | RoleKind::Pool)
            }
            Rule::Saturated(_) | Rule::AlphaBeta(_) | Rule::Gamma(_) | Rule::ZBox(_) => {
                matches!(role, RoleKind::Linear | RoleKind::Pool)
            }
            Rule::Bilinear => role == RoleKind::Bilinear,
            Rule::Attention(_) => role == RoleKind::Attention,
            Rule::Sum(_) | Rule::SignedSum(_) => role == RoleKind::Sum,
            Rule::Product(_) | Rule::ValueProduct => role == RoleKind::Product,
            Rule::Pass => matches!(role, RoleKind::Elementwise | RoleKind::Normalize | RoleKind::Scaled),
            Rule::Route => matches!(role, RoleKind::Rearrange | RoleKind::Select),
            Rule::Winner => role == RoleKind::Select,
            Rule::Gradient(_) => {
                !matches!(role, RoleKind::Embedding | RoleKind::Recurrence | RoleKind::Attention)
            }
            Rule::Slope => role == RoleKind::Elementwise,
            Rule::Stop => true,
            Rule::Token | Rule::TokenTimes => role == RoleKind::Embedding,
            Rule::Stepwise => role == RoleKind::Recurrence,
        }
    }

    /// Builds the relevance of the operands from `r`, the relevance of the result.
    ///
    /// The rule fits the role ([`Rule::fits`]); composites check that when they are made.
    pub fn lower(&self, b: &mut Builder, role: &Role, site: &Site, r: Value) -> Flow {
        let flow = match (self, role) {
            (Rule::Proportional(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::Saturated(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::Epsilon(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::AlphaBeta(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::Gamma(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::Counted(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::ZBox(p), Role::Linear(map) | Role::Pool(map)) => p.lower(b, *map, site, r),
            (Rule::SignedSum(s), Role::Sum { subtracts }) => s.lower(b, site, *subtracts, r),
            (Rule::Bilinear, Role::Bilinear(map)) => bilinear::lower(b, *map, site, r),
            (Rule::Attention(a), Role::Attention(map)) => a.lower(b, *map, site, r),
            (Rule::Sum(s), _) => s.lower(b, site, r),
            (Rule::Product(p), _) => p.lower(b, site, r),
            (Rule::ValueProduct, _) => value_product::lower(b, site, r),
            (Rule::Pass, _) => pass::lower(b, site, r),
            (Rule::Route, Role::Rearrange(route) | Role::Select(route)) => {
                route::lower(b, *route, site, r, false)
            }
            (Rule::Winner, Role::Select(route)) => route::lower(b, *route, site, r, true),
            (Rule::Gradient(g), _) => g.lower(b, site, r),
            (Rule::Slope, _) => slope::lower(b, site, r),
            (Rule::Stop, _) => Flow { operands: vec![], absorbed: vec![b.total(r)] },
            (Rule::Token, _) => token::lower(b, site, r),
            (Rule::TokenTimes, _) => {
                let times = b.mul(r, site.y());
                token::lower(b, site, times)
            }
            _ => {
                let message = format!("rule {self} does not fit role {:?}", role.kind());
                b.fail(crate::OpError::Invalid(message));
                Flow::default()
            }
        };
        settled(b, site, flow)
    }
}

/// One share for each operand; what a constant one was given stays there.
fn settled(b: &mut Builder, site: &Site, mut flow: Flow) -> Flow {
    flow.operands.resize(site.inputs.len(), None);
    for (k, share) in flow.operands.iter_mut().enumerate() {
        if !site.live[k] {
            flow.absorbed.extend(share.take().map(|v| b.total(v)));
        }
    }
    flow
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Proportional(p) => write!(f, "{p}"),
            Rule::Saturated(p) => write!(f, "{p}"),
            Rule::Epsilon(p) => write!(f, "{p}"),
            Rule::AlphaBeta(p) => write!(f, "{p}"),
            Rule::Gamma(p) => write!(f, "{p}"),
            Rule::Counted(p) => write!(f, "{p}"),
            Rule::ZBox(p) => write!(f, "{p}"),
            Rule::SignedSum(s) => write!(f, "{s}"),
            Rule::Bilinear => f.write_str("bilinear-half"),
            Rule::Attention(a) => write!(f, "{a}"),
            Rule::Sum(s) => write!(f, "{s}"),
            Rule::Product(p) => write!(f, "{p}"),
            Rule::ValueProduct => f.write_str("product-by-value"),
            Rule::Pass => f.write_str("pass"),
            Rule::Route => f.write_str("route"),
            Rule::Winner => f.write_str("winner"),
            Rule::Gradient(g) => write!(f, "{g}"),
            Rule::Slope => f.write_str("slope"),
            Rule::Stop => f.write_str("stop"),
            Rule::Token => f.write_str("token-sum"),
            Rule::TokenTimes => f.write_str("token-sum(times)"),
            Rule::Stepwise => f.write_str("stepwise"),
        }
    }
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
    /// Which operands get relevance: output slot `i` is that of operand `targets[i]`.
    pub targets: Vec<usize>,
}

impl Vocabulary for RuleNode {
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
