//! Reasons why every relevance of a map is 0.

use dlbc_ops::program::Info;
use dlbc_runtime::{Explanation, LedgerRow, Target};

use super::again::{Again, map};
use super::family::Family;
use super::finding::Finding;
use dlbc::explained::Explained;
use dlbc::wording::{number, visible};

/// Returns the reason and a flag that helps; `None` if some relevance is not 0.
pub fn reason(again: &Again, explained: &Explained) -> Option<Finding> {
    let finding = |text: &str, help: String| Finding { text: text.into(), help };
    let explanation = &explained.explanation;
    let info = again.info();
    let carrying = explanation.tracks().any(|track| !track.relevance.is_empty());
    if !carrying || map(explanation, info).iter().any(|v| *v != 0.0) {
        return None;
    }
    let family = Family::of(info);
    let opposed = explanation.opposing.is_some();
    if opposed && inputs(explanation, info).any(|v| v != 0.0) {
        let flags = family.flags(info, None);
        let text = "the supporting and the opposing track are the same, element by element";
        return Some(finding(text, format!("{flags} tells them apart")));
    }
    if let Target::Difference(a, b) = explained.target.target
        && a == b
    {
        return Some(finding("a unit minus itself is 0", format!("`--target {a}` explains the unit")));
    }
    if let Target::Difference(a, b) = explained.target.target
        && let Some(same) = same_units(again, a, b)
    {
        return Some(same);
    }
    if explanation.seed.to_f64().iter().all(|v| *v == 0.0) {
        if again.request.seed.is_some() {
            let help = "`--start one` and `--start value` start at a target";
            return Some(finding("the start is 0 everywhere", help.into()));
        }
        let output = if info.rules == "integrated-gradients" { " with another `--output`" } else { "" };
        let help = format!("`--rules integrated-gradients`{output} starts with a derivative");
        return Some(finding("the explained value is 0, so that nothing starts", help));
    }
    let floats = info.inputs.iter().filter(|i| i.explained && i.ty.dtype.is_float());
    let empty = floats.clone().count() > 0
        && floats
            .filter_map(|i| again.inputs.tensors.get(&i.name))
            .all(|t| t.to_f64().iter().all(|v| *v == 0.0));
    if empty {
        let help = "`--rules gradient` needs no contribution";
        return Some(finding("every value of the inputs is 0 and contributes nothing", help.into()));
    }
    let flags = family.flags(info, None);
    Some(match absorber(again, explained) {
        Some(row) => Finding {
            text: format!(
                "{} % of what starts stays at node `{}` ({}, rule {})",
                number(100.0 * row.absorbed / explanation.supporting.seed_sum, 3),
                visible(&row.node),
                visible(&row.op),
                visible(&row.rule)
            ),
            help: format!("`--ledger` shows every node; try {flags}"),
        },
        None => finding(
            "no derivative of the explained value by an input is other than 0",
            format!("try {flags}"),
        ),
    })
}

/// Returns the relevance of the inputs on all tracks.
fn inputs<'a>(explanation: &'a Explanation, info: &'a Info) -> impl Iterator<Item = f64> + 'a {
    let names = info.inputs.iter().filter(|i| i.explained).map(|i| &i.name);
    names.flat_map(|name| {
        let tracks = explanation.tracks().filter_map(|track| track.relevance.get(name));
        tracks.flat_map(|t| t.to_f64()).collect::<Vec<_>>()
    })
}

/// Returns the finding that both units of a difference have the same nonzero map; `None` if their maps differ.
fn same_units(again: &Again, a: i64, b: i64) -> Option<Finding> {
    let mut request = again.request.clone();
    (request.ledger, request.keep_all) = (false, false);
    request.keep.clear();
    let maps: Vec<Vec<f64>> = again
        .explain(&[Target::Index(a), Target::Index(b)], &request)?
        .iter()
        .map(|e| map(e, again.info()))
        .collect();
    let [first, second] = maps.as_slice() else { return None };
    let some = first.iter().any(|v| *v != 0.0);
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let same = some && first.iter().zip(second).all(close);
    same.then(|| {
        let info = again.info();
        let flags = Family::of(info).flags(info, Some(&format!("{a}-{b}")));
        Finding {
            text: format!("units {a} and {b} have the same map, so that nothing is left of their difference"),
            help: format!("`--target {a}` explains unit {a}; {flags} tells them apart"),
        }
    })
}

/// Returns the ledger row of the node that absorbed most; `None` if no node absorbed relevance.
fn absorber(again: &Again, explained: &Explained) -> Option<LedgerRow> {
    if again.info().repeat.is_some() || explained.explanation.supporting.seed_sum == 0.0 {
        return None;
    }
    let request = again.request.clone().ledger();
    let again = again.explain(&[explained.target.target], &request)?;
    let rows = again.into_iter().next()?.supporting.ledger?;
    let most = rows.into_iter().max_by(|a, b| a.absorbed.abs().total_cmp(&b.absorbed.abs()))?;
    (most.absorbed != 0.0).then_some(most)
}
