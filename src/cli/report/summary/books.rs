//! What a summary says of the relevance of one track.

use std::collections::BTreeMap;
use std::fmt::Write;

use dlbc_runtime::LedgerRow;
use serde::Serialize;

use crate::cli::report::modules::{self, Heads, Layer};
use crate::cli::terminal::{Align, Table};
use dlbc::wording::number;

/// A ledger that misses more than this share of the start is reported.
const TOLERANCE: f64 = 1e-4;

/// The books of one track.
#[derive(Clone, Serialize)]
pub struct Books {
    /// What started.
    pub start: f64,
    /// What each input received.
    pub inputs: BTreeMap<String, f64>,
    /// What stayed on the way.
    pub absorbed: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Audit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heads: Option<Vec<Heads>>,
}

#[derive(Clone, Serialize)]
struct Audit {
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

impl Books {
    /// Those of a track.
    pub fn new(track: &dlbc_runtime::Track) -> Books {
        Books {
            start: track.start,
            inputs: track.inputs.clone(),
            absorbed: track.absorbed,
            audit: track
                .ledger
                .as_deref()
                .map(|rows| audit(track.start, &track.inputs, track.absorbed, rows)),
            layers: modules::layers(track.modules.as_deref()),
            heads: modules::heads(track.heads.as_deref()),
        }
    }

    /// Whether there is more than sums.
    pub fn has_parts(&self) -> bool {
        self.audit.is_some() || self.layers.is_some() || self.heads.is_some()
    }

    /// The ledger by node, module and head, as far as there are any; `track` names them where there are several.
    pub fn parts(&self, track: &str) -> String {
        let mut out = String::new();
        let title = |out: &mut String, what: &str| {
            let _ = if track.is_empty() { writeln!(out) } else { writeln!(out, "{track}{what}") };
        };
        if let Some(audit) = &self.audit {
            title(&mut out, "ledger");
            out.push_str(&ledger(audit).text(0));
            let share = number(relative(audit.residual, self.start), 2);
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

    /// The share of the start that a ledger which does not close has lost.
    pub fn open(&self) -> Option<f64> {
        let audit = self.audit.as_ref().filter(|audit| !audit.closed)?;
        Some(relative(audit.residual, self.start))
    }

    /// Where the starting relevance went.
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

fn relative(residual: f64, start: f64) -> f64 {
    if start == 0.0 { residual.abs() } else { (residual / start).abs() }
}

fn audit(start: f64, inputs: &BTreeMap<String, f64>, absorbed: f64, rows: &[LedgerRow]) -> Audit {
    let residual = start - inputs.values().sum::<f64>() - absorbed;
    Audit {
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
