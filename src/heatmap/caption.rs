//! Captions of a heat map.

use super::palette::Colors;
use crate::explained::Explained;
use crate::tokens;
use crate::wording::number;

/// Choices of a heat map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatmapOptions {
    /// Title above the picture; by default sample, target, probability and sum.
    pub title: Option<String>,
    /// Draws words of a text instead of tokens.
    pub words: bool,
    /// Colours of relevance.
    pub colors: Colors,
}

/// The sum of a map; an empty map says so.
pub fn sum_text(map: &[f64]) -> String {
    match map.iter().all(|v| *v == 0.0) {
        true => "every relevance is 0".into(),
        false => format!("sum {}", number(map.iter().sum(), 4)),
    }
}

/// Answer to a text, for its caption.
pub fn text_caption(text: usize, batch: usize, answer: &tokens::Verdict) -> String {
    if batch > 1 { format!("text {text}: {}", answer.line()) } else { answer.line() }
}

/// Target and sum of a sample, for its caption.
pub fn caption(sample: usize, batch: usize, explained: &Explained, sum: &str) -> String {
    let target = explained.title(sample);
    let sample = if batch > 1 { format!("sample {sample}, ") } else { String::new() };
    format!("{sample}target {target}, {sum}")
}

/// A caption under the title that was asked for; of a single picture the title alone.
pub fn titled(options: &HeatmapOptions, pictures: usize, caption: String) -> String {
    match &options.title {
        None => caption,
        Some(title) if pictures == 1 => title.clone(),
        Some(title) => format!("{title}: {caption}"),
    }
}
