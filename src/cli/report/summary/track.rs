//! Summary of one relevance track.

use std::collections::BTreeMap;
use std::fmt::Write;

use dlbc_runtime::LedgerRow;
use serde::Serialize;

use crate::cli::report::modules::{self, Heads, Layer};
use crate::cli::terminal::{Align, Table};
use dlbc::wording::number;

/// Largest residual of a ledger that closes, as a share of the start.
const TOLERANCE: f64 = 1e-4;

/// Sums and ledger of one relevance track.
#[derive(Clone, Serialize)]
pub struct TrackSummary {
    /// Starting relevance, summed.
    pub start: f64,
    /// Relevance of each input, summed.
    pub inputs: BTreeMap<String, f64>,
    /// Relevance absorbed between the start and the inputs, summed.
    pub absorbed: f64,
    #[serde(rename = "audit", skip_serializing_if = "Option::is_none")]
    ledger: Option<Ledger>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heads: Option<Vec<Heads>>,
}

#[derive(Clone, Serialize)]
struct Ledger {
    /// True if the residual is within [`TOLERANCE`].
    closed: bool,
    /// Start minus inputs minus absorbed.
    residual: f64,
    rows: Vec<Row>,
}

#[derive(Clone, Serialize)]
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

impl TrackSummary {
    /// Creates the summary of a track.
    pub fn new(track: &dlbc_runtime::Track) -> TrackSummary {
        TrackSummary {
            start: track.seed_sum,
            inputs: track.input_sums.clone(),
            absorbed: track.absorbed,
            ledger: track
                .ledger
                .as_deref()
                .map(|rows| ledger(track.seed_sum, &track.input_sums, track.absorbed, rows)),
            layers: modules::layers(track.modules.as_deref()),
            heads: modules::heads(track.heads.as_deref()),
        }
    }

    /// Returns whether there is a ledger by node, module or head.
    pub fn has_parts(&self) -> bool {
        self.ledger.is_some() || self.layers.is_some() || self.heads.is_some()
    }

    /// Formats the ledgers by node, module and head; `track` is the prefix of their titles, empty for a single track.
    pub fn parts(&self, track: &str) -> String {
        let mut out = String::new();
        let title = |out: &mut String, what: &str| {
            let _ = if track.is_empty() { writeln!(out) } else { writeln!(out, "{track}{what}") };
        };
        if let Some(ledger) = &self.ledger {
            title(&mut out, "ledger");
            out.push_str(&ledger_table(ledger).text(0));
            let share = number(relative(ledger.residual, self.start), 2);
            let _ = writeln!(out, "closes to {share} of the start");
        }
        if let Some(rows) = &self.layers {
            title(&mut out, "modules");
            out.push_str(&modules::layer_text(rows));
        }
        if let Some(rows) = &self.heads {
            title(&mut out, "heads");
            out.push_str(&modules::head_text(rows));
        }
        out
    }

    /// Returns the residual of a ledger that does not close, as a share of the start; `None` if it closes.
    pub fn open(&self) -> Option<f64> {
        let ledger = self.ledger.as_ref().filter(|ledger| !ledger.closed)?;
        Some(relative(ledger.residual, self.start))
    }

    /// Returns the balance of the starting relevance as a table: inputs, absorbed, start.
    pub fn balance(&self, title: &str) -> Table {
        let mut table = Table::new(&[(title, Align::Left), ("sum", Align::Right), ("share", Align::Right)]);
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
}

/// Returns a residual as a share of the start, or its magnitude if the start is 0.
fn relative(residual: f64, start: f64) -> f64 {
    if start == 0.0 { residual.abs() } else { (residual / start).abs() }
}

fn ledger(start: f64, inputs: &BTreeMap<String, f64>, absorbed: f64, rows: &[LedgerRow]) -> Ledger {
    let residual = start - inputs.values().sum::<f64>() - absorbed;
    Ledger {
        closed: relative(residual, start) <= TOLERANCE,
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

fn ledger_table(ledger: &Ledger) -> Table {
    let mut table = Table::new(&[
        ("node", Align::Left),
        ("op", Align::Left),
        ("rule", Align::Left),
        ("received", Align::Right),
        ("passed", Align::Right),
        ("absorbed", Align::Right),
        ("residual", Align::Right),
    ]);
    for row in &ledger.rows {
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
    let absorbed: f64 = ledger.rows.iter().map(|r| r.absorbed).sum();
    let blank = String::new;
    table.footer([
        "total".into(),
        blank(),
        blank(),
        blank(),
        blank(),
        number(absorbed, 6),
        number(ledger.residual, 2),
    ]);
    table
}
