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
use dlbc_ops::rule::{Policy, Rule};
use serde::Deserialize;
use toml::{Spanned, Table};

use super::keywords::parse_keyword;
use super::mistake::Mistake;
use super::model::{Composite, Entry, Quantity};
use super::repeat;
use super::selector::{LayerPosition, POSITIONS, Selector};
use crate::error::CompileError;

/// Keys of a composite file.
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
    rule: Vec<Spanned<Table>>,
}

/// Parses the TOML text of a composite file named `file`.
///
/// # Errors
/// For invalid TOML, unknown names and parameters out of range, and for a role without a rule, with file and line.
pub(super) fn read(text: &str, file: &str, hash: String) -> Result<Composite, CompileError> {
    let line_of = |at: usize| text[..at.min(text.len())].bytes().filter(|b| *b == b'\n').count() + 1;
    let parsed: File = toml::from_str(text).map_err(|e| {
        Mistake::from(e.message()).at(format!("{file}:{}", e.span().map_or(1, |s| line_of(s.start))))
    })?;
    let known = [
        ("relevance", Quantity::Relevance),
        ("gradient", Quantity::Gradient),
        ("gradient-times-input", Quantity::GradientTimesInput),
    ];
    let quantity =
        parse_keyword(parsed.passes, "passes", &known).map_err(|mistake| mistake.at(format!("{file}:1")))?;
    let repeat = match parsed.repeat {
        None => None,
        Some(table) => {
            let place = format!("{file}:{}", line_of(table.span().start));
            let repeat = repeat::read(table.into_inner(), quantity);
            Some(repeat.map_err(|mistake| mistake.at(place))?)
        }
    };
    let mut entries = vec![];
    for line in parsed.rule {
        let place = format!("{file}:{}", line_of(line.span().start));
        match entry(line.into_inner()) {
            Ok((selector, rule)) => entries.push(Entry { selector, rule, location: place }),
            Err(mistake) => return Err(mistake.at(place)),
        }
    }
    for (name, kind) in RoleKind::NAMED {
        // No node has role `attention` unless `recover_attention` is on.
        let is_absent = *kind == RoleKind::Attention && !parsed.recover_attention;
        let is_default =
            |e: &Entry| e.selector.is_general() && e.selector.role.is_none_or(|role| role == *kind);
        if !is_absent && !entries.iter().any(is_default) {
            let mistake = Mistake::from(format!("no entry gives role `{name}` a rule"));
            return Err(mistake.at(format!("{file}:1")));
        }
    }
    Ok(Composite {
        name: parsed.name,
        description: parsed.description,
        hash,
        fold_batch_norm: parsed.fold_batch_norm,
        recover_attention: parsed.recover_attention,
        quantity,
        repeat,
        entries,
    })
}

/// Parses a `[[rule]]` table into its selector and its rule.
fn entry(mut line: Table) -> Result<(Selector, Rule), Mistake> {
    let selector = selector(&mut line)?;
    let rule = rule(line)?;
    if let Some(role) = selector.role
        && !rule.fits(role)
    {
        let fitting: Vec<String> =
            Rule::samples().iter().filter(|r| r.fits(role)).map(|r| format!("`{}`", r.name())).collect();
        let (rule, role) = (rule.name(), role.name());
        return Err(
            format!("rule `{rule}` does not fit role `{role}`: expected {}", fitting.join(", ")).into()
        );
    }
    Ok((selector, rule))
}

/// Removes the selector keys from a `[[rule]]` table and parses them.
fn selector(line: &mut Table) -> Result<Selector, Mistake> {
    let mut take = |key: &str| -> Result<Option<String>, String> {
        let value = line.remove(key).map(String::deserialize);
        value.transpose().map_err(|e| format!("{key}: {}", e.message()))
    };
    let role = take("role")?.map(|name| {
        let known = RoleKind::NAMED.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind);
        known.ok_or_else(|| Mistake::unknown("role", &name, RoleKind::NAMED.iter().map(|r| r.0)))
    });
    let position = take("place")?.map(|word| {
        let known = POSITIONS.iter().find(|(name, _)| *name == word).map(|(_, position)| *position);
        known.ok_or_else(|| Mistake::unknown("place", &word, POSITIONS.iter().map(|p| p.0)))
    });
    let selector = Selector {
        role: role.transpose()?,
        op: take("op")?,
        name: take("name")?,
        scope: take("scope")?,
        position: position.transpose()?,
    };
    if let (Some(LayerPosition::First | LayerPosition::Last), Some(role)) = (selector.position, selector.role)
        && role != RoleKind::Linear
    {
        let message = format!(
            "places `first` and `last` apply to layers with weights only: expected role `linear`, found `{}`; place \
             `scaler` selects the normalisation before them",
            role.name()
        );
        return Err(message.into());
    }
    Ok(selector)
}

/// Parses the rest of a `[[rule]]` table, the name and parameters of its rule.
fn rule(line: Table) -> Result<Rule, Mistake> {
    if let Some(name) = line.get("rule").and_then(|name| name.as_str()) {
        let Some(parameters) = Rule::parameters(name) else {
            return Err(Mistake::unknown("rule", name, Rule::NAMES.iter().copied()));
        };
        if let Some(other) = line.keys().find(|key| *key != "rule" && !parameters.contains(&key.as_str())) {
            return Err(Mistake::parameter(name, other, parameters));
        }
    }
    let rule = Rule::deserialize(line).map_err(|e| e.message().to_string())?;
    rule.check()?;
    Ok(rule)
}
