//! The summary of a run: one JSON object, or tables.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::Explanation;
use serde::Serialize;

use crate::args::{Color, RunArgs, Start};
use crate::input::Texts;
use crate::terminal::{Align, Console, Table, json_text, number, visible};
use crate::tokens::{self, TokenRelevance};

/// A ledger that misses more than this share of the start is reported.
const TOLERANCE: f64 = 1e-4;

/// When less than this share of the start reaches the inputs, it is noted.
const REACHES: f64 = 1e-3;

/// The most rows whose greatest unit is listed in the tables.
const LISTED: usize = 8;

/// Seconds of each phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// Reading the model and the inputs.
    pub load: f64,
    /// Compiling the model.
    pub compile: f64,
    /// Planning for the inputs' shapes.
    pub prepare: f64,
    /// The forward.
    pub forward: f64,
    /// The reverse.
    pub reverse: f64,
}

/// The summary of a run.
#[derive(Serialize)]
pub struct Summary {
    model: String,
    device: String,
    rules: String,
    rules_hash: String,
    mode: String,
    explained: String,
    target: String,
    targets: Vec<i64>,
    outputs: BTreeMap<String, Output>,
    start: f64,
    inputs: BTreeMap<String, f64>,
    absorbed: f64,
    /// Of each text, its tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<Vec<TokenRelevance>>,
    seconds: Times,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Audit>,
    hashes: BTreeMap<String, String>,
    version: &'static str,
    /// The tokens as text.
    #[serde(skip)]
    shown: String,
    /// Absolute relevance of the inputs over that of the start.
    #[serde(skip)]
    reached: f64,
}

#[derive(Serialize)]
struct Output {
    shape: Vec<usize>,
    argmax: Vec<i64>,
    /// The greatest value of each row.
    max: Vec<f64>,
}

#[derive(Serialize)]
struct Audit {
    closed: bool,
    /// Start minus inputs minus absorbed.
    residual: f64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    node: String,
    op: String,
    rule: String,
    operands: Vec<String>,
    received: f64,
    passed: f64,
    absorbed: f64,
    residual: f64,
}

impl Summary {
    /// The summary of an explanation.
    pub fn new(
        info: &Info,
        device: &str,
        explanation: &Explanation,
        seconds: Times,
        args: &RunArgs,
    ) -> Summary {
        let outputs =
            explanation.outputs.iter().map(|(name, tensor)| (name.clone(), output(tensor))).collect();
        let mut summary = Summary {
            model: info.model.clone(),
            device: device.into(),
            rules: info.rules.clone(),
            rules_hash: info.rules_hash.clone(),
            mode: info.mode.clone(),
            explained: info.explained.clone(),
            target: args.target.to_string(),
            targets: explanation.targets.clone(),
            outputs,
            start: explanation.start,
            inputs: explanation.inputs.clone(),
            absorbed: explanation.absorbed,
            tokens: vec![],
            seconds,
            shown: String::new(),
            repeat: args.repeat,
            audit: explanation.ledger.as_ref().map(|rows| audit(explanation, rows)),
            hashes: info.hashes.iter().cloned().collect(),
            version: env!("CARGO_PKG_VERSION"),
            reached: reached(info, explanation, args),
        };
        if let Some(explained) = summary.outputs.get_mut(&info.explained) {
            explained.argmax.clone_from(&explanation.argmax);
        }
        summary
    }

    /// Adds the tokens of texts.
    pub fn with_tokens(mut self, texts: &Texts, explanation: &Explanation, args: &RunArgs) -> Summary {
        self.tokens = tokens::rows(texts, explanation);
        let color = match args.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        self.shown = tokens::text(texts, &self.tokens, color.then_some(args.colors));
        self
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
        let mut out = String::new();
        let _ = writeln!(
            out,
            "model    {} ({}, rules {}, mode {})",
            visible(&self.model),
            self.device,
            self.rules,
            self.mode
        );
        for (name, output) in &self.outputs {
            let _ = writeln!(out, "output   {} {:?}{}", visible(name), output.shape, greatest(output));
        }
        let unit = match (self.targets.as_slice(), self.target.contains('-')) {
            ([], _) | (_, true) => String::new(),
            (units, _) if self.target == "argmax" => {
                let shown: Vec<String> = units.iter().take(LISTED).map(ToString::to_string).collect();
                format!(" = {}{}", shown.join(", "), if units.len() > LISTED { ", .." } else { "" })
            }
            _ => String::new(),
        };
        let _ = writeln!(out, "target   {}{unit} of {}", self.target, visible(&self.explained));
        out.push('\n');
        if !self.shown.is_empty() {
            out.push_str(&self.shown);
            out.push('\n');
        }
        out.push_str(&self.balance().text(0));
        if let Some(audit) = &self.audit {
            out.push('\n');
            out.push_str(&ledger(audit).text(0));
            let _ =
                writeln!(out, "closes to {} of the start", number(relative(audit.residual, self.start), 2));
        }
        let t = &self.seconds;
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
        let _ = writeln!(out, "\n{}{medians}", times.join(", "));
        out
    }

    /// Where the starting relevance went.
    fn balance(&self) -> Table {
        let mut table =
            Table::new(&[("relevance", Align::Left), ("sum", Align::Right), ("share", Align::Right)]);
        let share = |v: f64| {
            if self.start == 0.0 { String::new() } else { format!("{:.2} %", 100.0 * v / self.start) }
        };
        for (name, sum) in &self.inputs {
            table.row([format!("input {name}"), number(*sum, 6), share(*sum)]);
        }
        table.row(["absorbed".into(), number(self.absorbed, 6), share(self.absorbed)]);
        table.footer(["start".into(), number(self.start, 6), String::new()]);
        table
    }

    /// Says when the ledger does not close, and when next to nothing reaches the inputs.
    pub fn warn(&self, console: Console) {
        if self.reached < REACHES && !self.inputs.is_empty() {
            let share = number(100.0 * self.reached, 2);
            console.note(format!(
                "only {share} % of the starting relevance reaches the inputs; `--audit` shows where the rest stays"
            ));
        }
        if let Some(audit) = &self.audit
            && !audit.closed
        {
            let share = number(relative(audit.residual, self.start), 2);
            console.warn(format!("the ledger does not close: {share} of the start is unaccounted for"));
        }
    }
}

/// How much relevance, signs aside, reaches the inputs for each unit that starts.
fn reached(info: &Info, explanation: &Explanation, args: &RunArgs) -> f64 {
    let inputs = info.inputs.iter().filter_map(|i| explanation.relevance.get(&i.name));
    let arrived: f64 = inputs.flat_map(|t| t.to_f64()).map(f64::abs).sum();
    let started = match args.start {
        Start::One => args.multiplier.abs() * explanation.argmax.len() as f64,
        Start::Value => explanation.start.abs(),
    };
    if started > 0.0 { arrived / started } else { 1.0 }
}

fn relative(residual: f64, start: f64) -> f64 {
    if start == 0.0 { residual.abs() } else { (residual / start).abs() }
}

/// The greatest unit of each row: the last axis of one, two or three, of three at the last position.
fn output(tensor: &Tensor) -> Output {
    let dims = tensor.dims();
    let units = dims.last().copied().unwrap_or(1);
    let positions = if let [_, p, _] = dims { *p } else { 1 };
    let (mut argmax, mut max) = (vec![], vec![]);
    if dims.len() <= 3 && units > 0 {
        let values = tensor.to_f64();
        let rows: Vec<&[f64]> = values.chunks(units).collect();
        for row in rows.chunks(positions.max(1)).filter_map(<[_]>::last) {
            let best = (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
            argmax.push(best as i64);
            max.push(row[best]);
        }
    }
    Output { shape: dims.to_vec(), argmax, max }
}

fn greatest(output: &Output) -> String {
    let pairs: Vec<String> = output
        .argmax
        .iter()
        .zip(&output.max)
        .take(LISTED)
        .map(|(unit, v)| format!("{unit} ({})", number(*v, 5)))
        .collect();
    match (output.argmax.len(), pairs.is_empty()) {
        (_, true) => String::new(),
        (n, _) if n > LISTED => format!("  argmax {}, ..", pairs.join(", ")),
        _ => format!("  argmax {}", pairs.join(", ")),
    }
}

fn audit(explanation: &Explanation, rows: &[dlbc_runtime::LedgerRow]) -> Audit {
    let residual = explanation.start - explanation.inputs.values().sum::<f64>() - explanation.absorbed;
    Audit {
        closed: relative(residual, explanation.start) <= TOLERANCE,
        residual,
        rows: rows
            .iter()
            .map(|r| Row {
                node: r.node.clone(),
                op: r.op.clone(),
                rule: r.rule.clone(),
                operands: r.operands.clone(),
                received: r.received,
                passed: r.passed,
                absorbed: r.absorbed,
                residual: r.residual(),
            })
            .collect(),
    }
}

fn ledger(audit: &Audit) -> Table {
    let mut table = Table::new(&[
        ("node", Align::Left),
        ("op", Align::Left),
        ("rule", Align::Left),
        ("received", Align::Right),
        ("passed", Align::Right),
        ("absorbed", Align::Right),
        ("residual", Align::Right),
    ]);
    for row in &audit.rows {
        table.row([
            row.node.clone(),
            row.op.clone(),
            row.rule.clone(),
            number(row.received, 6),
            number(row.passed, 6),
            number(row.absorbed, 6),
            number(row.residual, 2),
        ]);
    }
    let absorbed: f64 = audit.rows.iter().map(|r| r.absorbed).sum();
    let none = String::new;
    table.footer([
        "total".into(),
        none(),
        none(),
        none(),
        none(),
        number(absorbed, 6),
        number(audit.residual, 2),
    ]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_unit_of_each_row() {
        let of = |dims: &[usize], values: &[f32]| output(&Tensor::from_f32(dims, values)).argmax;
        assert_eq!(of(&[2, 3], &[0.0, 2.0, 1.0, 5.0, 5.0, 4.0]), [1, 0]);
        assert_eq!(of(&[1, 2, 2], &[9.0, 0.0, 0.0, 1.0]), [1]);
        assert_eq!(of(&[3], &[0.0, 0.0, 1.0]), [2]);
        assert_eq!(of(&[], &[4.0]), [0]);
        assert!(of(&[1, 1, 1, 1], &[4.0]).is_empty());
        assert!(of(&[0, 3], &[]).is_empty());
    }
}
