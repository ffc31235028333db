//! Summaries of one or several pictures.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::model::{Summary, Times};
use crate::cli::terminal::{Align, Table};
use dlbc::wording::{json_text, number, visible};

/// Keys of a summary whose values all pictures of a run share.
const COMMON: [&str; 9] =
    ["model", "device", "rules", "rules_hash", "mode", "explained", "repeat", "hashes", "version"];

/// Formats the summaries of a run as one line of JSON; several pictures become a list in it.
///
/// # Errors
/// Never for these types.
pub fn json(summaries: &[Summary]) -> anyhow::Result<String> {
    let [first, _, ..] = summaries else {
        return summaries.iter().map(Summary::json).collect();
    };
    let mut all = Map::new();
    let mut pictures = vec![];
    for summary in summaries {
        let Value::Object(mut values) = serde_json::to_value(summary)? else { continue };
        for key in COMMON {
            values.remove(key).map(|value| all.insert(key.into(), value));
        }
        pictures.push(Value::Object(values));
    }
    all.insert("pictures".into(), Value::Array(pictures));
    let seconds = summaries.iter().map(|s| s.seconds).fold(Times::default(), Times::plus);
    all.insert("seconds".into(), serde_json::to_value(Times { compile: first.seconds.compile, ..seconds })?);
    Ok(json_text(&all)? + "\n")
}

/// Formats the summaries of a run as tables: a single one in full, several pictures as one row each.
pub fn text(summaries: &[Summary]) -> String {
    let [first, _, ..] = summaries else {
        return summaries.iter().map(Summary::text).collect();
    };
    let mut out = first.header();
    let _ = writeln!(out, "pictures {}, target of {}\n", summaries.len(), visible(&first.explained));
    let tracks = first.first.tracks();
    let inputs: Vec<String> =
        first.first.supporting.inputs.keys().map(|name| format!("input {}", visible(name))).collect();
    let right = |name| (name, Align::Right);
    let columns = [("picture", Align::Left), ("target", Align::Left), right("score"), right("start")];
    let columns: Vec<(&str, Align)> = columns
        .into_iter()
        .chain(inputs.iter().map(|name| right(name.as_str())))
        .chain([right("absorbed")])
        .collect();
    let mut table = Table::new(&columns);
    for summary in summaries {
        let file = summary.picture.as_ref().map_or(String::new(), |p| visible(&p.file).into_owned());
        for target in summary.targets() {
            for (name, track) in target.tracks() {
                let sums =
                    [track.start].into_iter().chain(track.inputs.values().copied()).chain([track.absorbed]);
                let prefix = if tracks.len() > 1 { name } else { "" };
                let cells =
                    [file.clone(), format!("{prefix}{}{}", target.target, target.units()), target.score()];
                table.row(cells.into_iter().chain(sums.map(|v| number(v, 6))).collect::<Vec<_>>());
            }
        }
    }
    out.push_str(&table.text(0));
    let seconds = summaries.iter().map(|s| s.seconds).fold(Times::default(), Times::plus);
    out.push_str(&first.times(&Times { compile: first.seconds.compile, ..seconds }));
    out
}

impl Times {
    fn plus(self, other: Times) -> Times {
        Times {
            load: self.load + other.load,
            compile: self.compile + other.compile,
            prepare: self.prepare + other.prepare,
            forward: self.forward + other.forward,
            reverse: self.reverse + other.reverse,
        }
    }
}
