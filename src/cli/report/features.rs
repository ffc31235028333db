//! Relevance of the features of tabular inputs, as a table.

use crate::cli::terminal::{Align, Table};
use dlbc::features::{FeatureRelevance, Features, MeanRelevance, PerRow};
use dlbc::wording::{number, plural};

/// Maximum number of listed features.
const TOP: usize = 10;

/// Length of a full bar, in characters.
const BAR: f64 = 12.0;

/// Formats the most relevant features as a table.
pub fn text(features: &Features) -> String {
    let means = &features.mean_features;
    let (table, count) = match &features.features {
        PerRow::One(features) => (one_row(features), features.len()),
        PerRow::Several(rows) => (several_rows(means, rows.len()), means.len()),
    };
    let rest = match count > TOP {
        true => format!("the {TOP} largest of {count} features; `--json` has them all\n"),
        false => String::new(),
    };
    format!("{}{rest}", table.text(0))
}

fn one_row(features: &[FeatureRelevance]) -> Table {
    let mut table = Table::new(&[
        ("feature", Align::Left),
        ("value", Align::Right),
        ("relevance", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ]);
    let scale = features.iter().map(|f| f.relevance.abs()).filter(|r| r.is_finite()).fold(0.0, f64::max);
    for f in largest(features, |f| f.relevance) {
        let bar = bar(f.relevance, scale);
        table.row([f.name.clone(), number(f.value, 5), number(f.relevance, 4), percent(f.share), bar]);
    }
    table
}

fn several_rows(features: &[MeanRelevance], rows: usize) -> Table {
    let title = format!("feature, {}", plural(rows, "row"));
    let mut table = Table::new(&[
        (&title, Align::Left),
        ("mean magnitude", Align::Right),
        ("mean relevance", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ]);
    let scale = features.iter().map(|f| f.magnitude).filter(|r| r.is_finite()).fold(0.0, f64::max);
    for f in largest(features, |f| f.magnitude) {
        let bar = bar(f.magnitude, scale);
        let (magnitude, relevance) = (number(f.magnitude, 4), number(f.relevance, 4));
        table.row([f.name.clone(), magnitude, relevance, percent(f.share), bar]);
    }
    table
}

fn largest<T>(features: &[T], size: impl Fn(&T) -> f64) -> Vec<&T> {
    let mut order: Vec<&T> = features.iter().collect();
    order.sort_by(|a, b| size(b).abs().total_cmp(&size(a).abs()));
    order.truncate(TOP);
    order
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Returns a bar whose length is the magnitude relative to `scale`: `#` for positive values, `-` for negative.
fn bar(relevance: f64, scale: f64) -> String {
    let length = if scale > 0.0 { (BAR * (relevance.abs() / scale).min(1.0)).round() as usize } else { 0 };
    if relevance < 0.0 { "-" } else { "#" }.repeat(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str, relevance: f64) -> FeatureRelevance {
        FeatureRelevance { name: name.into(), value: 1.5, relevance, share: 0.0 }
    }

    #[test]
    fn the_largest_stand_first_with_signed_bars() {
        let text = one_row(&[feature("small", 1.0), feature("against", -2.0), feature("none", 0.0)]).text(0);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(lines[0].starts_with("against") && lines[0].ends_with("------------"), "{text}");
        assert!(lines[1].starts_with("small") && lines[1].ends_with("######"), "{text}");
        assert!(lines[2].ends_with("0.0 %"), "{text}");
    }
}
