//! Relevance of the experts of a run, as a table.

use crate::cli::terminal::{Align, Table};
use dlbc::experts::Layer;
use dlbc::wording::number;

/// Returns a table with one row for each expert, layer by layer.
pub fn table(layers: &[Layer]) -> Table {
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("expert", Align::Right),
        ("tokens", Align::Right),
        ("relevance", Align::Right),
        ("share", Align::Right),
    ]);
    for layer in layers {
        for e in &layer.experts {
            table.row([
                layer.layer.clone(),
                e.expert.to_string(),
                e.tokens.to_string(),
                number(e.relevance, 6),
                format!("{:.2} %", 100.0 * e.share),
            ]);
        }
        let blank = String::new;
        table.row([layer.layer.clone(), "all".into(), blank(), number(layer.received, 6), blank()]);
    }
    table
}
