//! Heat map of a table: bars for one row, a waterfall if trees are explained, or an overview of several rows.

use dlbc_ops::program::Info;

use super::caption::{HeatmapOptions, sum_text};
use crate::answer::probability;
use crate::explained::Explained;
use crate::features::{self, FeatureRelevance};
use crate::heatmap::canvas::Canvas;
use crate::heatmap::{MAX_SAMPLES, bars, overview, waterfall};
use crate::input::{Columns, Inputs};
use crate::notes::Notes;
use crate::wording::plural;

/// Draws the features of a table, the targets one below the other.
pub fn draw(
    table: &Columns,
    info: &Info,
    inputs: &Inputs,
    explained: &[Explained],
    options: &HeatmapOptions,
    notes: &dyn Notes,
) -> Canvas {
    if explained.len() > MAX_SAMPLES {
        let count = explained.len();
        notes.note(format!("the picture shows the first {MAX_SAMPLES} of {count} targets"));
    }
    let first = explained.iter().take(MAX_SAMPLES);
    let by_target: Vec<(&Explained, Vec<Vec<FeatureRelevance>>)> =
        first.map(|e| (e, features::rows(table, &inputs.tensors, &e.explanation))).collect();
    // Rules without signs give relevance the sign of the start; that of a negative multiplier does mean something.
    let unsigned = |rows: &[Vec<FeatureRelevance>]| {
        features::is_unsigned(info) && rows.iter().flatten().all(|f| f.relevance >= 0.0)
    };
    if let [row] = table.rows.as_slice() {
        let caption = |e: &Explained, features: &[FeatureRelevance]| {
            options.title.clone().unwrap_or_else(|| row_caption(*row, info, e, features))
        };
        let bars = |features: &[FeatureRelevance]| -> Vec<bars::Feature> {
            let bar = |f: &FeatureRelevance| bars::Feature {
                name: f.name.clone(),
                value: f.value,
                relevance: f.relevance,
            };
            features.iter().map(bar).collect()
        };
        if info.trees.is_some() {
            let waterfall = |(e, rows): &(&Explained, Vec<Vec<FeatureRelevance>>)| waterfall::Waterfall {
                caption: caption(e, &rows[0]),
                base: e.explanation.supporting.absorbed,
                features: bars(&rows[0]),
            };
            let waterfalls: Vec<_> = by_target.iter().map(waterfall).collect();
            return waterfall::draw(&waterfalls, options.colors);
        }
        let sample = |(e, rows): &(&Explained, Vec<Vec<FeatureRelevance>>)| bars::Sample {
            caption: caption(e, &rows[0]),
            unsigned: unsigned(rows),
            features: bars(&rows[0]),
        };
        let samples: Vec<bars::Sample> = by_target.iter().map(sample).collect();
        return bars::draw(&samples, options.colors);
    }
    let step = table.rows.len().div_ceil(overview::MOST_ROWS);
    if step > 1 {
        let drawn = table.rows.len().div_ceil(step);
        notes.note(format!("the picture has dots for {drawn} of {}", plural(table.rows.len(), "row")));
    }
    let overviews = by_target.iter().map(|(e, rows)| overview::Overview {
        caption: options
            .title
            .clone()
            .unwrap_or_else(|| format!("{}, target {}", plural(rows.len(), "row"), e.over_rows())),
        unsigned: unsigned(rows),
        features: (features::means(rows).into_iter().enumerate())
            .map(|(i, mean)| overview::Swarm {
                name: mean.name,
                magnitude: mean.magnitude,
                rows: rows.iter().step_by(step).map(|row| (row[i].value, row[i].relevance)).collect(),
            })
            .collect(),
    });
    overview::draw(&overviews.collect::<Vec<_>>())
}

/// Formats the caption of a row: target, its probability if the output holds probabilities, and the sum.
fn row_caption(row: usize, info: &Info, explained: &Explained, features: &[FeatureRelevance]) -> String {
    let sum = sum_text(&features.iter().map(|f| f.relevance).collect::<Vec<_>>());
    let value = explained.probability(info, 0).map(|p| format!(", probability {}", probability(p)));
    format!("row {row}, target {}{}, {sum}", explained.title(0), value.unwrap_or_default())
}
