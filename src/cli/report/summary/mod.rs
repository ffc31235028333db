//! The summary of a run: one JSON object, or tables.

mod books;
mod detected;
mod model;
mod picture;
mod pictures;
mod units;

use std::fmt::Write;
use std::io::IsTerminal;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Start, Target};

use crate::cli::args::{Color, RunArgs};
use crate::cli::checks::Checks;
use crate::cli::report;
use crate::cli::terminal::{Align, Console, Table};
use books::Books;
use detected::Detected;
use dlbc::answer::Answer;
use dlbc::experts::layers;
use dlbc::explained::Explained;
use dlbc::features::Features;
use dlbc::input::Inputs;
use dlbc::scene::Scene;
use dlbc::tokens;
use dlbc::wording::{json_text, number, plural, visible};
use model::{LISTED, OfTarget};
use picture::Picture;
use units::Units;

pub use model::{Summary, Times};
pub use pictures::{json, text};

/// When less than this share of the start reaches the inputs, it is noted.
const REACHES: f64 = 1e-3;

impl Summary {
    /// The summary of at least one explanation.
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
        let mut by_target: Vec<OfTarget> =
            explained.iter().map(|e| OfTarget::new(info, e, inputs, scene, args)).collect();
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
        // At the position that is explained, which need not be the last.
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

    /// The summary with what was found about the maps.
    pub fn with(mut self, checks: &Checks) -> Summary {
        self.target_correlation.clone_from(&checks.correlations);
        for (of, zero) in self.by_target.iter_mut().zip(&checks.zeros) {
            of.zero.clone_from(zero);
        }
        self.first.zero = checks.zeros.first().cloned().flatten();
        self
    }

    /// The targets in order, one or several.
    fn targets(&self) -> &[OfTarget] {
        if self.by_target.is_empty() { std::slice::from_ref(&self.first) } else { &self.by_target }
    }

    /// One line of JSON.
    ///
    /// # Errors
    /// Never for these types.
    pub fn json(&self) -> anyhow::Result<String> {
        Ok(json_text(self)? + "\n")
    }

    /// Tables.
    pub fn text(&self) -> String {
        let mut out = self.header();
        // The last axis of a detector's outputs has no units of which the greatest says anything.
        let units = self.targets().iter().all(|of| of.boxes.is_empty());
        for (name, output) in &self.outputs {
            let answer = if units { output.text() } else { String::new() };
            let _ = writeln!(out, "output   {} {:?}{}", visible(name), output.shape, visible(&answer));
        }
        let several = !self.by_target.is_empty();
        for of in self.targets() {
            let listed = !of.shown.is_empty() || of.features.is_some();
            if !several || listed || of.books.has_parts() || !of.experts.is_empty() {
                let (explained, position) = (visible(&self.explained), of.position());
                let _ = writeln!(out, "target   {}{} of {explained}{position}", of.target, of.units());
            }
            if !several || of.features.is_some() {
                out.push('\n');
            }
            if !of.shown.is_empty() {
                out.push_str(&of.shown);
                out.push('\n');
            }
            if let Some(features) = &of.features {
                out.push_str(&report::features::text(features));
                out.push('\n');
            }
            if !of.experts.is_empty() {
                out.push_str(&report::experts::table(&of.experts).text(0));
                out.push('\n');
            }
            for (i, (name, books)) in of.tracks().into_iter().enumerate() {
                if i > 0 {
                    out.push('\n');
                }
                if !several {
                    out.push_str(&books.balance(&format!("{name}relevance")).text(0));
                }
                out.push_str(&books.parts(if several { name } else { "" }));
            }
        }
        for of in self.targets().iter().filter(|of| of.zero.is_some()) {
            let which = if several { format!(" of target {}", of.target) } else { String::new() };
            let _ = writeln!(out, "every relevance{which} is 0");
        }
        if several {
            let _ = writeln!(out, "targets  {} of {}\n", self.by_target.len(), visible(&self.explained));
            out.push_str(&balances(&self.by_target).text(0));
        }
        out.push_str(&self.times(&self.seconds));
        out
    }

    /// The line of the model.
    fn header(&self) -> String {
        let model = visible(&self.model);
        format!("model    {model} ({}, rules {}, mode {})\n", self.device, self.rules, self.mode)
    }

    /// The line of the seconds.
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

    /// Says when a ledger does not close, and when next to nothing reaches the inputs.
    /// With `several`, the picture is named.
    pub fn warn(&self, several: bool, console: Console) {
        let file = self.picture.as_ref().filter(|_| several);
        let picture = file.map(|p| format!("`{}`: ", p.file)).unwrap_or_default();
        for of in self.targets() {
            let which =
                if self.by_target.is_empty() { String::new() } else { format!("target {}: ", of.target) };
            let which = format!("{picture}{which}");
            if of.reached < REACHES && of.zero.is_none() && !of.books.inputs.is_empty() {
                console.note(format!("{which}{}", of.little_arrives()));
            }
            for (name, books) in of.tracks() {
                if let Some(share) = books.open() {
                    let share = number(share, 2);
                    console.warn(format!(
                        "{which}the {name}ledger does not close: {share} of the start is unaccounted for"
                    ));
                }
            }
        }
    }
}

impl OfTarget {
    fn new(info: &Info, explained: &Explained, inputs: &Inputs, scene: &Scene, args: &RunArgs) -> OfTarget {
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
        OfTarget {
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
                .map(|found| Detected::new(found, scene, &explained.classes))
                .collect(),
            pixels: matches!(explained.target.target, Target::Pixels(_)).then(|| started(&explanation.seed)),
            zero: None,
            books: Books::new(&explanation.supporting),
            opposing: explanation.opposing.as_ref().map(Books::new),
            tokens,
            words: words.unwrap_or_default(),
            texts: verdicts,
            features: table.map(|table| Features::new(table, &inputs.tensors, explanation)),
            experts: if args.experts { layers(explanation) } else { vec![] },
            shown: shown.unwrap_or_default(),
            reached: reached(info, explanation, args),
            found: match explained.target.target {
                Target::Argmax | Target::Rank(_) => true,
                Target::Index(_) => explained.target_name().is_some(),
                Target::Pixels(pixels) => pixels.class.is_none() && !explanation.targets.is_empty(),
                _ => false,
            },
        }
    }

    /// The units that the target is, where its name does not say.
    fn units(&self) -> String {
        let rest = if self.targets.len() > LISTED { ", .." } else { "" };
        if !self.boxes.is_empty() {
            let shown: Vec<String> = self.boxes.iter().take(LISTED).map(Detected::text).collect();
            return format!(" = {}{rest}", shown.join("; "));
        }
        let pixels = self.pixels.map(|n| format!(" ({})", plural(n, "pixel"))).unwrap_or_default();
        if !self.found {
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

    /// The tracks, each with what goes before `relevance` and `ledger` to name it.
    fn tracks(&self) -> Vec<(&'static str, &Books)> {
        match &self.opposing {
            None => vec![("", &self.books)],
            Some(opposing) => vec![("supporting ", &self.books), ("opposing ", opposing)],
        }
    }
}

/// How many elements start.
fn started(seed: &Tensor) -> usize {
    seed.to_f64().iter().filter(|v| **v != 0.0).count()
}

/// Where the starting relevance of each target went: a row a target and track.
fn balances(targets: &[OfTarget]) -> Table {
    let inputs: Vec<String> = targets[0].books.inputs.keys().map(|name| format!("input {name}")).collect();
    let right = |name| (name, Align::Right);
    let sums = inputs.iter().map(|name| right(name.as_str()));
    let columns: Vec<(&str, Align)> = [("target", Align::Left), right("start")]
        .into_iter()
        .chain(sums)
        .chain([right("absorbed")])
        .collect();
    let mut table = Table::new(&columns);
    for of in targets {
        for (name, books) in of.tracks() {
            let sums =
                [books.start].into_iter().chain(books.inputs.values().copied()).chain([books.absorbed]);
            let cells = sums.map(|v| number(v, 6));
            let title = format!("{name}{}{}", of.target, of.units());
            table.row([title].into_iter().chain(cells).collect::<Vec<_>>());
        }
    }
    table
}

/// How much relevance, signs aside, reaches the inputs for each unit that starts.
fn reached(info: &Info, explanation: &Explanation, args: &RunArgs) -> f64 {
    let inputs = info.inputs.iter().filter_map(|i| explanation.supporting.relevance.get(&i.name));
    let arrived: f64 = inputs.flat_map(|t| t.to_f64()).map(f64::abs).sum();
    let started = match args.target.start {
        Start::One if !explanation.argmax.is_empty() => {
            args.target.total().abs() * explanation.argmax.len() as f64
        }
        Start::One | Start::Value => explanation.supporting.start.abs(),
    };
    if started > 0.0 { arrived / started } else { 1.0 }
}
