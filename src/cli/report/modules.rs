//! Ledger by module and relevance by attention head, as tables, JSON and keys of a result file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use dlbc_ops::tensor::{DType, Tensor};
use dlbc_runtime::{HeadRow, ModuleRow};
use serde::Serialize;

use crate::cli::terminal::{Align, Table};
use dlbc::results::keys;
use dlbc::wording::number;

/// Maximum number of heads with one column each; of more heads, the strongest are listed.
const COLUMNS: usize = 16;

/// Number of strongest heads to list.
const STRONGEST: usize = 8;

/// Name of the whole model in a table.
const MODEL: &str = "(model)";

/// Ledger row of a module.
#[derive(Clone, Serialize)]
pub struct Layer {
    scope: String,
    nodes: usize,
    received: f64,
    passed: f64,
    absorbed: f64,
}

/// Relevance of the heads of one attention.
#[derive(Clone, Serialize)]
pub struct Heads {
    node: String,
    scope: String,
    received: Vec<f64>,
    operands: BTreeMap<String, Vec<f64>>,
}

/// Returns the ledger by module; `None` if the track has none.
pub fn layers(rows: Option<&[ModuleRow]>) -> Option<Vec<Layer>> {
    let row = |r: &ModuleRow| Layer {
        scope: r.scope.join("/"),
        nodes: r.nodes,
        received: r.received,
        passed: r.passed,
        absorbed: r.absorbed,
    };
    Some(rows?.iter().map(row).collect())
}

/// Returns the relevance by head; `None` if the track has none.
pub fn heads(rows: Option<&[HeadRow]>) -> Option<Vec<Heads>> {
    let row = |r: &HeadRow| Heads {
        node: r.node.clone(),
        scope: r.scope.join("/"),
        received: r.received.clone(),
        operands: r.operands.iter().cloned().collect(),
    };
    Some(rows?.iter().map(row).collect())
}

/// Formats the modules as a table; a submodule is indented below its module.
pub fn layer_text(rows: &[Layer]) -> String {
    let right = |name| (name, Align::Right);
    let columns =
        [("module", Align::Left), right("nodes"), right("received"), right("passed"), right("absorbed")];
    let mut table = Table::new(&columns);
    // The modules that contain the row's module, outermost first.
    let mut outer: Vec<&str> = vec![];
    for row in rows {
        let within = |module: &str| row.scope.strip_prefix(module).and_then(|rest| rest.strip_prefix('/'));
        while outer.last().is_some_and(|module| within(module).is_none()) {
            outer.pop();
        }
        let relative = outer.last().and_then(|module| within(module)).unwrap_or(&row.scope);
        let shown = if row.scope.is_empty() { MODEL } else { relative };
        table.row([
            format!("{}{shown}", "  ".repeat(outer.len())),
            row.nodes.to_string(),
            number(row.received, 6),
            number(row.passed, 6),
            number(row.absorbed, 6),
        ]);
        if !row.scope.is_empty() {
            outer.push(&row.scope);
        }
    }
    let note = if rows.len() == 1 { "no node of the file says which module it is part of\n" } else { "" };
    table.text(0) + note
}

/// Formats the heads as a table: one row for each attention, one column for each head.
pub fn head_text(rows: &[Heads]) -> String {
    let head_count = rows.iter().map(|r| r.received.len()).max().unwrap_or(0);
    let name = |r: &Heads| if r.scope.is_empty() { r.node.clone() } else { r.scope.clone() };
    if head_count == 0 {
        return "no attention with heads of its own was found: see `dlbc inspect`\n".into();
    }
    let right = |name| (name, Align::Right);
    if head_count > COLUMNS {
        let mut table =
            Table::new(&[("attention", Align::Left), right("received"), ("strongest heads", Align::Left)]);
        for r in rows {
            let mut order: Vec<(usize, f64)> = r.received.iter().copied().enumerate().collect();
            order.sort_by(|(i, a), (j, b)| b.abs().total_cmp(&a.abs()).then(i.cmp(j)));
            let mut shown = String::new();
            for (head, v) in order.into_iter().take(STRONGEST) {
                let _ = write!(shown, "{head}: {}  ", number(v, 3));
            }
            table.row([name(r), number(r.received.iter().sum(), 6), shown]);
        }
        return table.text(0);
    }
    let titles: Vec<String> = (0..head_count).map(|head| format!("head {head}")).collect();
    let columns: Vec<(&str, Align)> = [("attention", Align::Left), right("received")]
        .into_iter()
        .chain(titles.iter().map(|title| right(title.as_str())))
        .collect();
    let mut table = Table::new(&columns);
    for r in rows {
        let heads = (0..head_count).map(|head| r.received.get(head).map_or(String::new(), |v| number(*v, 4)));
        let row = [name(r), number(r.received.iter().sum(), 6)];
        table.row(row.into_iter().chain(heads).collect::<Vec<_>>());
    }
    table.text(0)
}

/// Returns the tensors of a result file: `layers/SCOPE` holds received, passed and absorbed; `heads/NODE` the relevance that
/// each head received. `track` is the suffix of `layers` and `heads`.
pub fn tensors(
    layers: Option<&[ModuleRow]>,
    heads: Option<&[HeadRow]>,
    track: &str,
) -> Vec<(String, Tensor)> {
    let vector = |values: &[f64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor::from_bytes(DType::F64, vec![values.len()], Arc::new(bytes))
    };
    let layers = layers.into_iter().flatten().filter_map(|r| {
        let scope = if r.scope.is_empty() { MODEL.to_string() } else { r.scope.join("/") };
        Some((keys::module(track, &scope), vector(&[r.received, r.passed, r.absorbed])?))
    });
    let heads = heads.into_iter().flatten();
    let heads = heads.filter_map(|r| Some((keys::heads(track, &r.node), vector(&r.received)?)));
    layers.chain(heads).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_below_what_they_are_part_of() {
        let row =
            |scope: &str| Layer { scope: scope.into(), nodes: 1, received: 2.0, passed: 1.5, absorbed: 0.5 };
        let rows = ["", "m/a", "m/a/b/c", "m/ab", "z"].map(row);
        let text = layer_text(&rows);
        let names: Vec<&str> =
            text.lines().skip(2).map(|l| l.split("  1").next().unwrap().trim_end()).collect();
        assert_eq!(names, ["(model)", "m/a", "  b/c", "m/ab", "z"]);
    }

    #[test]
    fn many_heads_list_the_strongest() {
        let heads = |n: usize| Heads {
            node: "y".into(),
            scope: "attn".into(),
            received: (0..n).map(|i| i as f64).collect(),
            operands: BTreeMap::new(),
        };
        assert!(head_text(&[heads(4)]).contains("head 3"));
        assert!(head_text(&[heads(40)]).contains("39: 39  38: 38"));
        assert!(head_text(&[]).contains("no attention"));
    }
}
