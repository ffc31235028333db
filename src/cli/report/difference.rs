//! Difference of two results, as tables.

use std::fmt::Write;

use crate::cli::terminal::{Align, Table};
use dlbc::diff::{Agreement, Compared, Difference};
use dlbc::wording::{number, visible};

/// Maximum number of rows of a table.
const LISTED: usize = 10;

/// Number of characters shown of a digest.
const DIGEST: usize = 12;

/// Number of characters shown of any other setting, such as texts.
const SHOWN: usize = 48;

/// Shortens a setting's value.
fn short(setting: &str, text: &str) -> String {
    let digest = setting.ends_with("_hash") || setting.starts_with("sha256/");
    match text.char_indices().nth(if digest { DIGEST } else { SHOWN }) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// Formats a difference as tables.
pub fn text(difference: &Difference) -> String {
    let mut out = String::new();
    if !difference.settings.is_empty() {
        let mut table =
            Table::new(&[("differs", Align::Left), ("first", Align::Left), ("second", Align::Left)]);
        for s in &difference.settings {
            table.row([s.setting.clone(), short(&s.setting, &s.first), short(&s.setting, &s.second)]);
        }
        let _ = writeln!(out, "{}", table.text(0));
    }
    if !difference.argmax.is_empty() {
        let right = |name| (name, Align::Right);
        let mut table =
            Table::new(&[("another argmax", Align::Left), right("sample"), right("first"), right("second")]);
        for a in difference.argmax.iter().take(LISTED) {
            let numbers = [a.sample, a.before, a.after].map(|n| n.to_string());
            table.row([std::slice::from_ref(&a.output), &numbers].concat());
        }
        out.push_str(&table.text(0));
        let more = difference.argmax.len().saturating_sub(LISTED);
        out.push_str(&if more > 0 { format!("and {more} more\n\n") } else { "\n".to_string() });
    }
    out.push_str(&agreements(&difference.tensors));
    out.push_str(&moves(&difference.tensors));
    for (which, names) in [("first", &difference.only_first), ("second", &difference.only_second)] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|n| visible(n).to_string()).collect();
            let _ = writeln!(out, "only in the {which}: {}", names.join(", "));
        }
    }
    out
}

/// Formats the agreement of each tensor and of its samples; if there are many samples, the worst agreement comes first.
fn agreements(tensors: &[Compared]) -> String {
    let right = |name| (name, Align::Right);
    let columns =
        [("tensor", Align::Left), right("rank"), right("cosine"), right("overlap"), right("relative L1")];
    let mut table = Table::new(&columns);
    let mut row = |name: String, a: &Agreement| {
        let [rank, cosine, overlap] = [a.rank, a.cosine, a.overlap].map(|v| format!("{v:.4}"));
        table.row([name, rank, cosine, overlap, format!("{:.3e}", a.l1)]);
    };
    let mut hidden = 0;
    for c in tensors {
        row(c.tensor.clone(), &c.agreement);
        let mut samples: Vec<(usize, &Agreement)> = c.samples.iter().enumerate().collect();
        if samples.len() > LISTED {
            samples.sort_by(|a, b| a.1.rank.total_cmp(&b.1.rank).then(a.0.cmp(&b.0)));
            hidden += samples.len() - LISTED;
            samples.truncate(LISTED);
        }
        for (i, agreement) in samples {
            row(format!("  sample {i}"), agreement);
        }
    }
    let mut out = table.text(0);
    if hidden > 0 {
        let _ = writeln!(out, "{hidden} more samples agree better; `--json` has them");
    }
    out
}

fn moves(tensors: &[Compared]) -> String {
    let mut moved: Vec<&Compared> = tensors.iter().filter(|c| !c.moves.is_empty()).collect();
    if moved.is_empty() {
        return String::new();
    }
    // Of many tensors, only those that differ most.
    let more = moved.len().saturating_sub(LISTED);
    if more > 0 {
        moved.sort_by(|a, b| b.agreement.l1.total_cmp(&a.agreement.l1));
        moved.truncate(LISTED);
    }
    let mut table =
        Table::new(&[("largest moves", Align::Left), ("first", Align::Right), ("second", Align::Right)]);
    for c in moved {
        for m in &c.moves {
            let place = m.index.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let name = m.name.as_ref().map(|n| format!(" {n}")).unwrap_or_default();
            table.row([format!("{}[{place}]{name}", c.tensor), number(m.before, 4), number(m.after, 4)]);
        }
    }
    let mut out = format!("\n{}", table.text(0));
    if more > 0 {
        let _ = writeln!(out, "{more} more tensors differ; `--json` has their moves");
    }
    out
}
