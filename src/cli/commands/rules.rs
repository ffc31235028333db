//! `dlbc rules`: lists the composites, or prints the TOML of one.

use std::fmt::Write;

use dlbc_compiler::{Composite, built_in_names, built_in_source};
use serde_json::json;

use crate::cli::terminal::{Align, Table, print};
use dlbc::wording::json_text;

/// Recommended composites by kind of model.
pub const ADVICE: &str = "\
Convolutional networks: epsilon-plus; lrp-gamma on small ones. Transformers: attnlrp or cp-lrp.
Tables: lrp-epsilon or integrated-gradients. Why one class and not another: dlb with `--mode contrastive`.
\"Which composite to trust\" (docs/src/concepts/which-composite.md) says why; `dlbc eval` measures your own model.";

/// Lists the composites, or prints one.
///
/// # Errors
/// Fails if no composite has that name.
pub fn rules(name: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    if let Some(name) = name {
        let composite = Composite::named(name).map_err(dlbc::error::Error::from)?;
        let text = built_in_source(name).unwrap_or_default();
        let all = json!({
            "name": composite.name, "description": composite.description, "hash": composite.hash, "toml": text,
        });
        return print(&if as_json { json_text(&all)? + "\n" } else { text.into() });
    }
    let all = built_in_names().map(Composite::named).collect::<Result<Vec<_>, _>>()?;
    if as_json {
        let list: Vec<_> = all
            .iter()
            .map(|c| json!({ "name": c.name, "description": c.description, "hash": c.hash }))
            .collect();
        return print(&(json_text(&list)? + "\n"));
    }
    let mut table = Table::new(&[("composite", Align::Left), ("what", Align::Left)]);
    for composite in &all {
        table.row([composite.name.clone(), composite.description.clone()]);
    }
    let mut out = table.text(0);
    let _ = writeln!(out, "\n{ADVICE}\n\n`dlbc rules NAME` prints one, as a start for a file of your own.");
    print(&out)
}
