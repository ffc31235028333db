//! Summary of a run that explains nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::summary::{Picture, Times, in_order};
use dlbc::answer::Answer;
use dlbc::classes::Classes;
use dlbc::input::Inputs;
use dlbc::wording::{json_text, number, visible};
use dlbc_ops::program::Info;
use dlbc_runtime::Tensors;

/// Outputs of a run for one picture, or for inputs without pictures.
#[derive(Serialize)]
pub struct ForwardSummary {
    #[serde(flatten)]
    picture: Option<Picture>,
    #[serde(serialize_with = "in_order")]
    outputs: Vec<(String, Answer)>,
    #[serde(skip)]
    common: Common,
    #[serde(skip)]
    seconds: Times,
}

/// Fields that all pictures of a run share.
#[derive(Clone, Serialize)]
struct Common {
    model: String,
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<usize>,
    hashes: BTreeMap<String, String>,
    version: &'static str,
}

/// Seconds of each phase of a run without relevance.
#[derive(Serialize)]
struct Seconds {
    load: f64,
    compile: f64,
    forward: f64,
}

/// A run as JSON: the outputs themselves, or a list of pictures with theirs.
#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    common: &'a Common,
    #[serde(flatten)]
    single: Option<&'a ForwardSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pictures: Option<&'a [ForwardSummary]>,
    seconds: Seconds,
}

impl ForwardSummary {
    /// Creates the summary of a run's outputs.
    pub fn new(
        info: &Info,
        device: &str,
        outputs: &Tensors,
        classes: &Classes,
        inputs: &Inputs,
        seconds: Times,
        repeat: Option<usize>,
    ) -> ForwardSummary {
        let in_file = info.outputs.iter().filter_map(|name| Some((name, outputs.get(name)?)));
        let answers =
            in_file.map(|(name, tensor)| (name.clone(), Answer::new(info, name, tensor, classes))).collect();
        ForwardSummary {
            picture: inputs.picture.as_ref().map(Picture::new),
            outputs: answers,
            common: Common {
                model: info.model.clone(),
                device: device.into(),
                repeat,
                hashes: info.hashes.iter().cloned().collect(),
                version: env!("CARGO_PKG_VERSION"),
            },
            seconds,
        }
    }
}

/// Returns the seconds of all pictures: the model is compiled once.
fn total(summaries: &[ForwardSummary]) -> Seconds {
    let sum = |f: fn(&Times) -> f64| summaries.iter().map(|s| f(&s.seconds)).sum();
    let compile = summaries.first().map_or(0.0, |s| s.seconds.compile);
    Seconds { load: sum(|t| t.load), compile, forward: sum(|t| t.forward) }
}

/// Formats a run as one line of JSON; several pictures become a list in it.
///
/// # Errors
/// Never for these types.
pub fn json(summaries: &[ForwardSummary]) -> anyhow::Result<String> {
    let Some(first) = summaries.first() else { return Ok(String::new()) };
    let several = summaries.len() > 1;
    let run = Run {
        common: &first.common,
        single: (!several).then_some(first),
        pictures: several.then_some(summaries),
        seconds: total(summaries),
    };
    Ok(json_text(&run)? + "\n")
}

/// Formats a run as lines: the model, the outputs, the seconds.
pub fn text(summaries: &[ForwardSummary]) -> String {
    let Some(first) = summaries.first() else { return String::new() };
    let mut out =
        format!("model    {} ({}, forward only)\n", visible(&first.common.model), first.common.device);
    for summary in summaries {
        if let Some(picture) = summary.picture.as_ref().filter(|_| summaries.len() > 1) {
            let _ = writeln!(out, "picture  {}", visible(&picture.file));
        }
        for (name, output) in &summary.outputs {
            let _ = writeln!(out, "output   {} {:?}{}", visible(name), output.shape, visible(&output.text()));
        }
    }
    let Seconds { load, compile, forward } = total(summaries);
    let medians = first.common.repeat.map(|n| format!(" (forward: median of {n})")).unwrap_or_default();
    let [load, compile, forward] = [load, compile, forward].map(|s| number(s, 3));
    let _ = writeln!(out, "\nload {load} s, compile {compile} s, forward {forward} s{medians}");
    out
}
