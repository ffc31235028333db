//! Captions of a heat map.

use super::palette::Colors;
use crate::explained::Explained;
use crate::tokens;
use crate::wording::number;

/// Options of a heat map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatmapOptions {
    /// Title above the picture; by default sample, target, probability and sum.
    pub title: Option<String>,
    /// True to draw the words of a text instead of its tokens.
    pub words: bool,
    /// Colours of relevance.
    pub colors: Colors,
}

/// Formats the sum of a map, or "every relevance is 0".
pub fn sum_text(map: &[f64]) -> String {
    match map.iter().all(|v| *v == 0.0) {
        true => "every relevance is 0".into(),
        false => format!("sum {}", number(map.iter().sum(), 4)),
    }
}

/// Returns the caption of a text: the answer of the model.
pub fn text_caption(text: usize, batch: usize, answer: &tokens::Verdict) -> String {
    if batch > 1 { format!("text {text}: {}", answer.line()) } else { answer.line() }
}

/// Returns the caption of a sample: target and sum.
pub fn caption(sample: usize, batch: usize, explained: &Explained, sum: &str) -> String {
    let target = explained.title(sample);
    let sample = if batch > 1 { format!("sample {sample}, ") } else { String::new() };
    format!("{sample}target {target}, {sum}")
}

/// Combines a caption with the title from the options; a single picture has the title alone.
pub fn titled(options: &HeatmapOptions, pictures: usize, caption: String) -> String {
    match &options.title {
        None => caption,
        Some(title) if pictures == 1 => title.clone(),
        Some(title) => format!("{title}: {caption}"),
    }
}
