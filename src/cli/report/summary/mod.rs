//! Summary of a run, as one JSON object or as tables.

mod detected;
mod model;
mod picture;
mod pictures;
mod track;
mod units;

use std::fmt::Write;
use std::io::IsTerminal;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, SeedValue, Target};

use crate::cli::args::{Color, RunArgs, Start};
use crate::cli::checks::Checks;
use crate::cli::report;
use crate::cli::terminal::{Align, Console, Table};
use detected::Detected;
use dlbc::answer::Answer;
use dlbc::experts::layers;
use dlbc::explained::Explained;
use dlbc::features::Features;
use dlbc::input::Inputs;
use dlbc::scene::Scene;
use dlbc::tokens;
use dlbc::wording::{json_text, number, plural, visible};
use model::{LISTED, TargetSummary};
use track::TrackSummary;
use units::Units;

pub use model::{Summary, Times, in_order};
pub use picture::Picture;
pub use pictures::{json, text};

/// Share of the starting relevance below which a note says how little reaches the inputs.
const REACHES: f64 = 1e-3;

impl Summary {
    /// Creates the summary of the explanations, at least one.
    pub fn new(
        info: &Info,
        device: &str,
        explained: &[Explained],
        inputs: &Inputs,
        scene: &Scene,
        seconds: Times,
        args: &RunArgs,
    ) -> Summary {
        let explanation = &explained[0].explanation;
        let classes = &explained[0].classes;
        let answer =
            |(name, tensor): (&String, &Tensor)| (name.clone(), Answer::new(info, name, tensor, classes));
        let mut outputs: Vec<(String, Answer)> = explanation.outputs.iter().map(answer).collect();
        outputs.sort_by_key(|(name, _)| info.outputs.iter().position(|declared| declared == name));
        let mut by_target: Vec<TargetSummary> =
            explained.iter().map(|e| TargetSummary::new(info, e, inputs, scene, args)).collect();
        let first = by_target[0].clone();
        if by_target.len() == 1 {
            by_target.clear();
        }
        let mut summary = Summary {
            picture: inputs.picture.as_ref().map(Picture::new),
            model: info.model.clone(),
            device: device.into(),
            rules: info.rules.clone(),
            rules_hash: info.rules_hash.clone(),
            mode: info.mode.name(),
            explained: info.explained.clone(),
            first,
            outputs,
            by_target,
            target_correlation: vec![],
            seconds,
            repeat: args.repeat,
            hashes: info.hashes.iter().cloned().collect(),
            version: env!("CARGO_PKG_VERSION"),
        };
        if let Some((at, (_, output))) = explanation
            .at_positions
            .as_ref()
            .zip(summary.outputs.iter_mut().find(|(name, _)| *name == info.explained))
        {
            output.set_shape(&at.dims);
        }
        // The argmax at the explained position, which need not be the last.
        if let Some((_, explained)) = summary.outputs.iter_mut().find(|(name, _)| *name == info.explained)
            && !explanation.argmax.is_empty()
        {
            explained.set_argmax(explanation.argmax.clone(), classes);
            if let Some(max) = units::largest(explanation, &info.explained, &summary.first.positions, args) {
                explained.set_max(max);
            }
        }
        summary
    }

    /// Returns the summary with the findings about the maps.
    pub fn with(mut self, checks: &Checks) -> Summary {
        self.target_correlation.clone_from(&checks.correlations);
        for (target, zero) in self.by_target.iter_mut().zip(&checks.zeros) {
            target.zero = zero.as_ref().map(ToString::to_string);
        }
        self.first.zero = checks.zeros.first().and_then(Option::as_ref).map(ToString::to_string);
        self
    }

    /// Returns the targets in order, one or several.
    fn targets(&self) -> &[TargetSummary] {
        if self.by_target.is_empty() { std::slice::from_ref(&self.first) } else { &self.by_target }
    }

    /// Formats the summary as one line of JSON.
    ///
    /// # Errors
    /// Never for these types.
    pub fn json(&self) -> anyhow::Result<String> {
        Ok(json_text(self)? + "\n")
    }

    /// Formats the summary as tables.
    pub fn text(&self) -> String {
        let mut out = self.header();
        // The largest value on the last axis of a detector's output means nothing.
        let units = self.targets().iter().all(|target| target.boxes.is_empty());
        for (name, output) in &self.outputs {
            let answer = if units { output.text() } else { String::new() };
            let _ = writeln!(out, "output   {} {:?}{}", visible(name), output.shape, visible(&answer));
        }
        let several = !self.by_target.is_empty();
        for target in self.targets() {
            let listed = !target.shown.is_empty() || target.features.is_some();
            if !several || listed || target.supporting.has_parts() || !target.experts.is_empty() {
                let (explained, position) = (visible(&self.explained), target.position());
                let _ =
                    writeln!(out, "target   {}{} of {explained}{position}", target.target, target.units());
            }
            if !several || target.features.is_some() {
                out.push('\n');
            }
            if !target.shown.is_empty() {
                out.push_str(&target.shown);
                out.push('\n');
            }
            if let Some(features) = &target.features {
                out.push_str(&report::features::text(features));
                out.push('\n');
            }
            if !target.experts.is_empty() {
                out.push_str(&report::experts::table(&target.experts).text(0));
                out.push('\n');
            }
            for (i, (name, track)) in target.tracks().into_iter().enumerate() {
                if i > 0 {
                    out.push('\n');
                }
                if !several {
                    out.push_str(&track.balance(&format!("{name}relevance")).text(0));
                }
                out.push_str(&track.parts(if several { name } else { "" }));
            }
        }
        for target in self.targets().iter().filter(|target| target.zero.is_some()) {
            let which = if several { format!(" of target {}", target.target) } else { String::new() };
            let _ = writeln!(out, "every relevance{which} is 0");
        }
        if several {
            let _ = writeln!(out, "targets  {} of {}\n", self.by_target.len(), visible(&self.explained));
            out.push_str(&balances(&self.by_target).text(0));
        }
        out.push_str(&self.times(&self.seconds));
        out
    }

    /// Returns the line about the model.
    fn header(&self) -> String {
        let model = visible(&self.model);
        format!("model    {model} ({}, rules {}, mode {})\n", self.device, self.rules, self.mode)
    }

    /// Returns the line about the seconds.
    fn times(&self, t: &Times) -> String {
        let times = [
            ("load", t.load),
            ("compile", t.compile),
            ("prepare", t.prepare),
            ("forward", t.forward),
            ("reverse", t.reverse),
        ];
        let times: Vec<String> =
            times.iter().map(|(name, s)| format!("{name} {} s", number(*s, 3))).collect();
        let medians =
            self.repeat.map(|n| format!(" (forward and reverse: medians of {n})")).unwrap_or_default();
        format!("\n{}{medians}\n", times.join(", "))
    }

    /// Warns if a ledger does not close, and notes if hardly any relevance reaches the inputs. With `several`, the messages
    /// name the picture.
    pub fn warn(&self, several: bool, console: Console) {
        let file = self.picture.as_ref().filter(|_| several);
        let picture = file.map(|p| format!("`{}`: ", p.file)).unwrap_or_default();
        for target in self.targets() {
            let which =
                if self.by_target.is_empty() { String::new() } else { format!("target {}: ", target.target) };
            let which = format!("{picture}{which}");
            if target.reached < REACHES && target.zero.is_none() && !target.supporting.inputs.is_empty() {
                let (note, help) = target.little_arrives();
                console.note_with_help(&format!("{which}{note}"), help);
            }
            for (name, track) in target.tracks() {
                if let Some(share) = track.open() {
                    let share = number(share, 2);
                    console.warn(format!(
                        "{which}the {name}ledger does not close: {share} of the start is unaccounted for"
                    ));
                }
            }
        }
    }
}

impl TargetSummary {
    fn new(
        info: &Info,
        explained: &Explained,
        inputs: &Inputs,
        scene: &Scene,
        args: &RunArgs,
    ) -> TargetSummary {
        let explanation = &explained.explanation;
        let texts = inputs.texts.as_ref();
        let table = inputs.table.as_ref();
        let color = match args.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        let tokens = texts.map(|texts| tokens::rows(texts, explanation)).unwrap_or_default();
        let verdicts = texts.map(|texts| tokens::verdicts(texts, explained, info, &tokens));
        let verdicts = verdicts.unwrap_or_default();
        let shown = texts.map(|texts| {
            let units =
                texts.texts.iter().zip(&tokens).map(|(t, row)| tokens::shown_units(t, row, args.words));
            let units: Vec<_> = units.collect();
            let listed = texts.texts.iter().zip(&units).zip(&verdicts);
            let listed =
                listed.map(|((text, units), verdict)| report::tokens::Listed { text, units, verdict });
            let word = if args.words { "word" } else { "token" };
            report::tokens::text(&listed.collect::<Vec<_>>(), word, color.then_some(args.colors))
        });
        let words = texts.filter(|_| args.words).map(|texts| {
            texts.texts.iter().zip(&tokens).map(|(text, row)| tokens::words(text, row)).collect()
        });
        let units = Units::new(explanation, &info.explained, args.target.positions_first);
        TargetSummary {
            target: explained.target.name.clone(),
            targets: explanation.targets.clone(),
            target_name: explained.target_name(),
            target_names: explained.target_names(),
            values: units.values,
            positions: units.positions,
            length: units.length,
            boxes: explanation
                .boxes
                .iter()
                .map(|detected| Detected::new(detected, scene, &explained.classes))
                .collect(),
            pixels: matches!(explained.target.target, Target::Pixels(_)).then(|| started(&explanation.seed)),
            zero: None,
            supporting: TrackSummary::new(&explanation.supporting),
            opposing: explanation.opposing.as_ref().map(TrackSummary::new),
            tokens,
            words: words.unwrap_or_default(),
            texts: verdicts,
            features: table.map(|table| Features::new(table, &inputs.tensors, explanation)),
            experts: if args.experts { layers(explanation) } else { vec![] },
            shown: shown.unwrap_or_default(),
            reached: reached(info, explanation, args),
            shows_units: match explained.target.target {
                Target::Argmax | Target::Rank(_) => true,
                Target::Index(_) => explained.target_name().is_some(),
                Target::Pixels(pixels) => pixels.class.is_none() && !explanation.targets.is_empty(),
                _ => false,
            },
        }
    }

    /// Returns the units or boxes of the target, in words that follow its name; empty if its name tells them.
    fn units(&self) -> String {
        let rest = if self.targets.len() > LISTED { ", .." } else { "" };
        if !self.boxes.is_empty() {
            let shown: Vec<String> = self.boxes.iter().take(LISTED).map(Detected::text).collect();
            return format!(" = {}{rest}", shown.join("; "));
        }
        let pixels = self.pixels.map(|n| format!(" ({})", plural(n, "pixel"))).unwrap_or_default();
        if !self.shows_units {
            return pixels;
        }
        // An index has its name beside it, a name its index.
        if let ([unit, ..], Some(name)) = (self.targets.as_slice(), &self.target_name)
            && unit.to_string() == self.target
        {
            return format!(" {}", visible(name));
        }
        if self.target_name.as_ref() == Some(&self.target) {
            return self.targets.first().map(|unit| format!(" = {unit}")).unwrap_or_default();
        }
        let titled = |(i, unit): (usize, &i64)| match self.target_names.get(i) {
            Some(Some(name)) if *name != unit.to_string() && *name != self.target => {
                format!("{unit} {}", visible(name))
            }
            _ => unit.to_string(),
        };
        let shown: Vec<String> = self.targets.iter().enumerate().take(LISTED).map(titled).collect();
        let class = if pixels.is_empty() { "" } else { "class " };
        format!(" = {class}{}{rest}{pixels}", shown.join(", "))
    }

    /// Returns the tracks, each with its prefix for the words `relevance` and `ledger`.
    fn tracks(&self) -> Vec<(&'static str, &TrackSummary)> {
        match &self.opposing {
            None => vec![("", &self.supporting)],
            Some(opposing) => vec![("supporting ", &self.supporting), ("opposing ", opposing)],
        }
    }
}

/// Returns the number of elements with starting relevance.
fn started(seed: &Tensor) -> usize {
    seed.to_f64().iter().filter(|v| **v != 0.0).count()
}

/// Returns the balance of the relevance as a table, one row for each target and track.
fn balances(targets: &[TargetSummary]) -> Table {
    let inputs: Vec<String> =
        targets[0].supporting.inputs.keys().map(|name| format!("input {name}")).collect();
    let right = |name| (name, Align::Right);
    let sums = inputs.iter().map(|name| right(name.as_str()));
    let columns: Vec<(&str, Align)> = [("target", Align::Left), right("start")]
        .into_iter()
        .chain(sums)
        .chain([right("absorbed")])
        .collect();
    let mut table = Table::new(&columns);
    for target in targets {
        for (name, track) in target.tracks() {
            let sums =
                [track.start].into_iter().chain(track.inputs.values().copied()).chain([track.absorbed]);
            let cells = sums.map(|v| number(v, 6));
            let title = format!("{name}{}{}", target.target, target.units());
            table.row([title].into_iter().chain(cells).collect::<Vec<_>>());
        }
    }
    table
}

/// Returns the ratio of absolute relevance: all inputs over the start.
fn reached(info: &Info, explanation: &Explanation, args: &RunArgs) -> f64 {
    let inputs = info.inputs.iter().filter_map(|i| explanation.supporting.relevance.get(&i.name));
    let arrived: f64 = inputs.flat_map(|t| t.to_f64()).map(f64::abs).sum();
    let started = match args.target.start() {
        _ if info.trees.is_some() => explanation.supporting.seed_sum.abs(),
        Start::Units(SeedValue::One) if !explanation.argmax.is_empty() => {
            args.target.total().abs() * explanation.argmax.len() as f64
        }
        Start::Units(SeedValue::One | SeedValue::Value) => explanation.supporting.seed_sum.abs(),
        Start::File(_) => explanation.seed.to_f64().iter().map(|v| v.abs()).sum(),
    };
    if started > 0.0 { arrived / started } else { 1.0 }
}
