//! `dlbc inspect`: shows every node with its rule, and everything that is not supported.

use std::collections::BTreeMap;
use std::fmt::Write;

use dlbc_compiler::{Inspection, NodeRow};
use dlbc_ops::program::{Output, Program, TreesEntry};
use dlbc_proto::DataType;
use dlbc_proto::onnx::tensor_shape_proto::{self, dimension};
use dlbc_proto::onnx::{ValueInfoProto, type_proto};
use serde::Serialize;

use crate::cli::args::InspectArgs;
use crate::cli::terminal::{Align, Console, Table, print};
use dlbc::error::Error;
use dlbc::explainer::{artifact, load};
use dlbc::input::caches::next_value;
use dlbc::wording::{json_text, plural, visible};

/// Maximum number of node names to list for each unsupported operator.
const LISTED: usize = 5;

/// Prints the nodes and rules of a model.
///
/// # Errors
/// Fails for an invalid model. Unsupported nodes are not an error, but part of the output.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let options = args.explain.options(&args.limits)?;
    let source = load::read(&args.model, &args.limits.model(), &Console { quiet: true })?;
    let exported = dlbc_artifact::export_metadata(&source.proto);
    let mut inspection = match artifact::read(&source)? {
        Some(program) => {
            load::check_artifact(&program, &args.explain.load_options(&args.limits)?)?;
            inspect_artifact(&program)
        }
        None => {
            let is_unset = !args.explain.names_rules();
            let options = load::chosen_rules(&source, options, is_unset, &Console { quiet: true });
            dlbc_compiler::inspect(&source, &options).map_err(Error::from)?
        }
    };
    if inspection.rows.is_empty() {
        // The compiler could not read the whole model: fall back to the declarations of the file.
        let graph = source.graph();
        let inputs = graph.input.iter().filter(|i| graph.initializer.iter().all(|t| t.name() != i.name()));
        inspection.inputs = inputs.map(declared).collect();
        inspection.outputs = graph.output.iter().map(declared).collect();
    }
    let outputs: Vec<&str> = inspection.outputs.iter().map(|(name, _)| name.as_str()).collect();
    let cache = |(input, _): &(String, String)| {
        let next = next_value(input, outputs.iter().copied())?;
        Some((input.clone(), next.to_string()))
    };
    let caches = inspection.inputs.iter().filter_map(cache).collect();
    let shown = Shown { inspection, caches, exported };
    print(&if args.json { json_text(&shown)? + "\n" } else { shown.text() })
}

/// Inspection of a model, and its metadata if `dlbc export` wrote it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    inspection: Inspection,
    /// Outputs with the next values of inputs that are caches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    caches: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exported: BTreeMap<String, String>,
}

impl Shown {
    fn text(&self) -> String {
        let mut out = text(&self.inspection, &self.caches);
        if let Some(explained) = self.exported.get("explained") {
            let _ = writeln!(out, "\nan exported explanation of `{}`", visible(explained));
            for (key, value) in self.exported.iter().filter(|(key, _)| *key != "explained") {
                let _ = writeln!(out, "  {:12} {}", visible(key), visible(value));
            }
        }
        out
    }
}

/// Returns the name and the type of a value as the file declares them.
fn declared(value: &ValueInfoProto) -> (String, String) {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return (value.name().into(), String::new());
    };
    let dim = |d: &tensor_shape_proto::Dimension| match &d.value {
        Some(dimension::Value::DimValue(n)) => n.to_string(),
        Some(dimension::Value::DimParam(symbol)) if !symbol.is_empty() => symbol.clone(),
        _ => "?".into(),
    };
    let dims = tensor.shape.iter().flat_map(|s| &s.dim).map(dim).collect::<Vec<_>>().join(",");
    let dtype = DataType::from_onnx(tensor.elem_type()).map(|d| format!("{d:?}").to_lowercase());
    (value.name().into(), format!("{}[{dims}]", dtype.unwrap_or_else(|| "?".into())))
}

/// Returns the inspection of an artifact, which contains only the nodes that have a rule.
fn inspect_artifact(program: &Program) -> Inspection {
    let info = &program.info;
    let graph = &program.graph;
    let row = |r: &dlbc_ops::program::LedgerRowInfo| NodeRow {
        node: r.node.clone(),
        onnx_op: r.op.clone(),
        op: r.op.clone(),
        rule: Some(r.rule.clone()),
        shape: graph.find(&r.node).map(|v| graph.ty(v).to_string()).unwrap_or_default(),
        step_of: None,
    };
    let output = |name: &String| {
        let value = graph.output(&Output::from(name));
        (name.clone(), value.map(|v| graph.ty(v).to_string()).unwrap_or_default())
    };
    let trees = info.trees.iter().map(|_| NodeRow {
        node: info.explained.clone(),
        onnx_op: "TreeEnsemble".into(),
        op: "TreeEnsemble".into(),
        rule: Some(info.rules.clone()),
        shape: output(&info.explained).1,
        step_of: None,
    });
    let background = graph.output(&TreesEntry::Background.of(0)).map(|rows| graph.ty(rows).dim(0));
    Inspection {
        rules: info.rules.clone(),
        inputs: info.inputs.iter().map(|i| (i.name.clone(), i.ty.to_string())).collect(),
        outputs: info.outputs.iter().map(output).collect(),
        // The ledger runs from the output to the inputs.
        rows: info.ledger.iter().rev().map(row).chain(trees).collect(),
        unsupported: vec![],
        note: background.map(|rows| format!("the background has {rows} rows")),
    }
}

/// Maximum width of a cell, in characters: a node of many fused operators has a name as long as a paragraph.
const MAX_WIDTH: usize = 60;

/// Shortens a name for a table to its end, which tells it from others of its module; `--json` prints it in full.
fn fitted(name: &str) -> String {
    let count = name.chars().count();
    if count <= MAX_WIDTH {
        return name.to_string();
    }
    let end: String = name.chars().skip(count + 1 - MAX_WIDTH).collect();
    format!("…{end}")
}

fn text(inspection: &Inspection, caches: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    if !inspection.rows.is_empty() {
        let columns = ["node", "ONNX op", "op", "rule", "shape"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        for row in &inspection.rows {
            let rule = row.rule.clone().unwrap_or_else(|| "-".into());
            // The nodes of a step are indented below their recurrence.
            let node = if row.step_of.is_some() { format!("  {}", row.node) } else { row.node.clone() };
            let cells = [fitted(&node), fitted(&row.onnx_op), fitted(&row.op), rule, fitted(&row.shape)];
            table.row(cells);
        }
        out.push_str(&table.text(0));
        let _ = writeln!(out, "{}, rules {}\n", plural(inspection.rows.len(), "node"), inspection.rules);
    }
    for (what, values) in [("input ", &inspection.inputs), ("output", &inspection.outputs)] {
        for (name, ty) in values {
            let cache = caches.get(name).filter(|_| what == "input ");
            let next = cache.map(|next| format!(", a cache: `{}` is next", visible(next)));
            let _ = writeln!(out, "{what} {} {}{}", visible(name), visible(ty), next.unwrap_or_default());
        }
    }
    if !inspection.unsupported.is_empty() {
        let columns = [
            ("unsupported", Align::Left),
            ("nodes", Align::Right),
            ("names", Align::Left),
            ("why", Align::Left),
        ];
        let mut table = Table::new(&columns);
        for item in &inspection.unsupported {
            let mut names = item.nodes.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
            if item.nodes.len() > LISTED {
                names.push_str(", ..");
            }
            table.row([item.op.clone(), item.nodes.len().to_string(), names, item.reason.clone()]);
        }
        out.push_str(&table.text(0));
    }
    if let Some(note) = &inspection.note {
        let _ = writeln!(out, "note: {}", visible(note));
    }
    out
}
