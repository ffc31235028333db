//! The TOML form of a composite.
//!
//! ```toml
//! name = "mine"
//! description = "…"
//! fold_batch_norm = true
//! recover_attention = true
//!
//! [[rule]]                 # a default for each role
//! role = "linear"
//! rule = "epsilon"
//! epsilon = 1e-6
//!
//! [[rule]]                 # later entries win
//! op = "Conv"
//! place = "first"
//! rule = "flat"
//! ```

use dlbc_ops::op::role::RoleKind;
use dlbc_ops::rule::{
    AlphaBeta, Attention, Bias, Constants, Contribution, Counted, Epsilon, Gamma, Gradient, Proportional,
    Rule, SignedSum, Sum, ZBox,
};
use serde::Deserialize;
use toml::Spanned;

use super::saturation::Variant;
use super::select::{PLACES, Place, ROLES, Selector, role_name};
use super::{Composite, Entry, Passes, Recipe, repeat};
use crate::error::CompileError;

/// The stabiliser of the signed rules where an entry gives none.
const EPSILON: f32 = 1e-6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    description: String,
    #[serde(default)]
    fold_batch_norm: bool,
    #[serde(default)]
    recover_attention: bool,
    passes: Option<String>,
    repeat: Option<Spanned<repeat::Table>>,
    rule: Vec<Spanned<Line>>,
}

/// An entry: selectors, the rule's name, and parameters.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    role: Option<String>,
    op: Option<String>,
    name: Option<String>,
    scope: Option<String>,
    place: Option<String>,
    rule: String,
    bias: Option<String>,
    by: Option<String>,
    constants: Option<String>,
    gates: Option<String>,
    saturation: Option<String>,
    value: Option<f32>,
    epsilon: Option<f32>,
    alpha: Option<f32>,
    beta: Option<f32>,
    gamma: Option<f32>,
    low: Option<f32>,
    high: Option<f32>,
    divisors: Option<String>,
    factors: Option<String>,
}

pub(super) fn read(text: &str, file: &str, hash: String) -> Result<Composite, CompileError> {
    let line_of = |at: usize| text[..at.min(text.len())].bytes().filter(|b| *b == b'\n').count() + 1;
    let parsed: File = toml::from_str(text).map_err(|e| CompileError::Rules {
        place: format!("{file}:{}", e.span().map_or(1, |s| line_of(s.start))),
        message: e.message().into(),
    })?;
    let known = [
        ("relevance", Passes::Relevance),
        ("gradient", Passes::Gradient),
        ("gradient-times-input", Passes::GradientTimesInput),
    ];
    let passes = choice(parsed.passes, "passes", &known)
        .map_err(|message| CompileError::Rules { place: format!("{file}:1"), message })?;
    let repeat = match parsed.repeat {
        None => None,
        Some(table) => {
            let place = format!("{file}:{}", line_of(table.span().start));
            let made = repeat::read(table.into_inner(), passes);
            Some(made.map_err(|message| CompileError::Rules { place, message })?)
        }
    };
    let mut entries = vec![];
    for line in parsed.rule {
        let place = format!("{file}:{}", line_of(line.span().start));
        let made = entry(line.into_inner());
        let (selector, recipe) =
            made.map_err(|message| CompileError::Rules { place: place.clone(), message })?;
        entries.push(Entry { selector, recipe, place });
    }
    for (name, kind) in ROLES {
        // Attention that keeps its pieces is none.
        let absent = *kind == RoleKind::Attention && !parsed.recover_attention;
        let covered = |e: &Entry| e.selector.is_general() && e.selector.role.is_none_or(|role| role == *kind);
        if !absent && !entries.iter().any(covered) {
            let message = format!("no entry gives role `{name}` a rule");
            return Err(CompileError::Rules { place: format!("{file}:1"), message });
        }
    }
    Ok(Composite {
        name: parsed.name,
        description: parsed.description,
        hash,
        fold_batch_norm: parsed.fold_batch_norm,
        recover_attention: parsed.recover_attention,
        passes,
        repeat,
        entries,
    })
}

fn entry(mut line: Line) -> Result<(Selector, Recipe), String> {
    let role = line.role.take().map(|name| {
        let known = ROLES.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind);
        known.ok_or_else(|| {
            format!("no role is named `{name}`: there are {}", names(ROLES.iter().map(|r| r.0)))
        })
    });
    let place = line.place.take().map(|place| {
        let found = PLACES.iter().find(|(name, _)| *name == place).map(|(_, place)| *place);
        found.ok_or_else(|| format!("place is one of {}, found `{place}`", names(PLACES.iter().map(|p| p.0))))
    });
    let selector = Selector {
        role: role.transpose()?,
        op: line.op.take(),
        name: line.name.take(),
        scope: line.scope.take(),
        place: place.transpose()?,
    };
    if let (Some(Place::First | Place::Last), Some(role)) = (selector.place, selector.role)
        && role != RoleKind::Linear
    {
        return Err(format!(
            "places `first` and `last` are of layers with weights: role `linear` expected, found `{}`; `scaler` selects \
             the normalisation before them",
            role_name(role)
        ));
    }
    let recipe = recipe(&mut line)?;
    if let Some(left) = line.left() {
        return Err(format!("rule `{}` has no parameter `{left}`", line.rule));
    }
    if let Some(role) = selector.role
        && !recipe.fits(role)
    {
        return Err(format!("rule `{}` does not fit role `{}`", line.rule, role_name(role)));
    }
    Ok((selector, recipe))
}

/// The rules by name, each taking its parameters.
fn recipe(line: &mut Line) -> Result<Recipe, String> {
    const NAMES: &[&str] = &[
        "proportional",
        "saturated",
        "epsilon",
        "z-plus",
        "alpha-beta",
        "gamma",
        "w-square",
        "flat",
        "z-box",
        "bilinear",
        "attention",
        "attention-magnitudes",
        "sum",
        "sum-epsilon",
        "product",
        "product-by-value",
        "pass",
        "route",
        "winner",
        "token",
        "token-times",
        "gradient",
        "slope",
        "stop",
        "stepwise",
    ];
    let positive = |v: Option<f32>, what: &str, default: f32| match v {
        Some(v) if v >= 0.0 && v.is_finite() => Ok(v),
        Some(v) => Err(format!("{what} is a number from 0 on, found {v}")),
        None => Ok(default),
    };
    let mut epsilon = || positive(line.epsilon.take(), "epsilon", EPSILON);
    let rule = match line.rule.as_str() {
        "proportional" => Rule::Proportional(Proportional {
            bias: choice(
                line.bias.take(),
                "bias",
                &[("ledger", Bias::Ledger), ("redistribute", Bias::Redistribute)],
            )?,
            by: contribution(line.by.take())?,
        }),
        "saturated" => {
            let known = [("net", Variant::Net), ("v1", Variant::Literal)];
            return Ok(Recipe::Saturated(choice(line.saturation.take(), "saturation", &known)?));
        }
        "epsilon" => Rule::Epsilon(Epsilon { epsilon: epsilon()? }),
        "z-plus" | "alpha-beta" => {
            let epsilon = epsilon()?;
            let bias = choice(line.bias.take(), "bias", &[("ledger", true), ("ignored", false)])?;
            let (mut alpha, mut beta) = (1.0, 0.0);
            if line.rule == "alpha-beta" {
                alpha = positive(line.alpha.take(), "alpha", 2.0)?;
                beta = positive(line.beta.take(), "beta", 1.0)?;
            }
            Rule::AlphaBeta(AlphaBeta { alpha, beta, epsilon, bias })
        }
        "gamma" => {
            let epsilon = epsilon()?;
            Rule::Gamma(Gamma { gamma: positive(line.gamma.take(), "gamma", 0.25)?, epsilon })
        }
        "w-square" => Rule::Counted(Counted { square: true, epsilon: epsilon()? }),
        "flat" => Rule::Counted(Counted { square: false, epsilon: epsilon()? }),
        "z-box" => {
            let epsilon = epsilon()?;
            let (low, high) = (line.low.take(), line.high.take());
            if [low, high].iter().flatten().any(|v| !v.is_finite())
                || low.zip(high).is_some_and(|(l, h)| l >= h)
            {
                return Err("low and high are numbers, low the smaller".into());
            }
            Rule::ZBox(ZBox { low, high, epsilon })
        }
        "bilinear" => Rule::Bilinear,
        "attention" => match line.value.take().unwrap_or(0.5) {
            value if (0.0..=1.0).contains(&value) => Rule::Attention(Attention::Weights { value }),
            value => return Err(format!("value is a share from 0 to 1, found {value}")),
        },
        "attention-magnitudes" => Rule::Attention(Attention::Magnitudes),
        "sum" => Rule::Sum(Sum {
            by: contribution(line.by.take())?,
            constants: choice(
                line.constants.take(),
                "constants",
                &[("data", Constants::Data), ("ledger", Constants::Ledger)],
            )?,
        }),
        "sum-epsilon" => Rule::SignedSum(SignedSum {
            epsilon: epsilon()?,
            constants: choice(
                line.constants.take(),
                "constants",
                &[("ledger", Constants::Ledger), ("data", Constants::Data)],
            )?,
        }),
        "product" => {
            let gates = choice(line.gates.take(), "gates", &[("give", true), ("share", false)])?;
            return Ok(Recipe::Product { gates });
        }
        "product-by-value" => Rule::ValueProduct,
        "gradient" => {
            let gradient = Gradient {
                detach: choice(
                    line.divisors.take(),
                    "divisors",
                    &[("differentiated", false), ("constant", true)],
                )?,
                share: choice(line.factors.take(), "factors", &[("all", false), ("share", true)])?,
                only: None,
            };
            if choice(line.gates.take(), "gates", &[("share", false), ("give", true)])? {
                return Ok(Recipe::Values(gradient));
            }
            Rule::Gradient(gradient)
        }
        "slope" => Rule::Slope,
        "stop" => Rule::Stop,
        "token-times" => Rule::TokenTimes,
        "pass" => Rule::Pass,
        "route" => Rule::Route,
        "winner" => Rule::Winner,
        "token" => Rule::Token,
        "stepwise" => Rule::Stepwise,
        other => {
            return Err(format!("no rule is named `{other}`: there are {}", names(NAMES.iter().copied())));
        }
    };
    Ok(Recipe::Rule(rule))
}

fn contribution(by: Option<String>) -> Result<Contribution, String> {
    choice(by, "by", &[("magnitude", Contribution::Magnitude), ("uniform", Contribution::Uniform)])
}

/// The value of a name; of the first when there is none.
fn choice<T: Copy>(given: Option<String>, what: &str, known: &[(&str, T)]) -> Result<T, String> {
    let Some(given) = given else { return Ok(known[0].1) };
    let found = known.iter().find(|(name, _)| *name == given).map(|(_, v)| *v);
    found.ok_or_else(|| format!("{what} is one of {}, found `{given}`", names(known.iter().map(|k| k.0))))
}

pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

impl Line {
    /// A parameter that the rule did not take. Every field is named, so that a new one is not forgotten here.
    fn left(&self) -> Option<&'static str> {
        let Line {
            // The selectors and the rule's name, which every rule takes.
            role: _,
            op: _,
            name: _,
            scope: _,
            place: _,
            rule: _,
            bias,
            by,
            constants,
            gates,
            saturation,
            value,
            epsilon,
            alpha,
            beta,
            gamma,
            low,
            high,
            divisors,
            factors,
        } = self;
        let given = [
            ("bias", bias.is_some()),
            ("by", by.is_some()),
            ("constants", constants.is_some()),
            ("gates", gates.is_some()),
            ("saturation", saturation.is_some()),
            ("value", value.is_some()),
            ("epsilon", epsilon.is_some()),
            ("alpha", alpha.is_some()),
            ("beta", beta.is_some()),
            ("gamma", gamma.is_some()),
            ("low", low.is_some()),
            ("high", high.is_some()),
            ("divisors", divisors.is_some()),
            ("factors", factors.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}
