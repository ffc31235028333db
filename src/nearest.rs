//! Suggestions for mistyped names.

use crate::wording::visible;

/// Largest number of suggestions in a message.
const MAX_SUGGESTIONS: usize = 3;

/// Number of characters of a name that are compared.
const MAX_CHARS: usize = 300;

/// Similarity from which a name is suggested.
const MIN_SIMILARITY: f64 = 0.6;

/// Largest difference in similarity between the best suggestion and further ones.
const TOLERANCE: f64 = 0.12;

/// Returns up to three known names that resemble `name`, the most similar first.
///
/// Case, `-`, `_`, `.`, `/`, `:` and spaces are ignored: `LRP_Epsilon` equals `lrp-epsilon`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let normalized = normalize(name);
    let scored = known.into_iter().map(|k| (similarity(&normalized, &normalize(k)), k));
    let mut similar: Vec<(f64, &str)> = scored.filter(|(score, _)| *score >= MIN_SIMILARITY).collect();
    // The sort is stable: equally similar names keep their order.
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = similar.first().map_or(0.0, |(score, _)| *score);
    // A name that differs only in ignored characters is the only suggestion.
    let threshold = if best == 1.0 { 1.0 } else { best - TOLERANCE };
    let similar = similar.into_iter().filter(|(score, _)| *score >= threshold).map(|(_, k)| k);
    let mut suggestions: Vec<&str> = vec![];
    for name in similar {
        if !suggestions.contains(&name) {
            suggestions.push(name);
        }
    }
    suggestions.truncate(MAX_SUGGESTIONS);
    suggestions
}

/// Returns the help for a mistyped name, such as "did you mean `a`, `b` or `c`?"; `None` when no known name is similar.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = nearest(name, known).iter().map(|n| format!("`{}`", visible(n))).collect();
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        _ => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

/// Returns the expectation of a message, followed by suggestions for a mistyped name.
pub fn suggested<'a>(expected: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match did_you_mean(name, known) {
        Some(advice) => format!("{expected}; {advice}"),
        None => expected.into(),
    }
}

/// Removes separators and case from a name.
fn normalize(name: &str) -> String {
    let counts = |c: &char| !matches!(c, '-' | '_' | '.' | '/' | ' ' | ':');
    name.chars().take(MAX_CHARS).filter(counts).flat_map(char::to_lowercase).collect()
}

/// Returns the similarity of two normalized names: 1 if they are equal, 0 if they have nothing in common.
fn similarity(name: &str, known: &str) -> f64 {
    let (length, known_length) = (name.chars().count(), known.chars().count());
    if length == 0 || known_length == 0 {
        return 0.0;
    }
    if name == known {
        return 1.0;
    }
    // A prefix of the known name, then any other part of it.
    if length > 1 && known.starts_with(name) {
        return 0.95;
    }
    if length > 2 && known.contains(name) {
        return 0.85;
    }
    let part = if name.contains(known) { 0.6 + 0.3 * known_length as f64 / length as f64 } else { 0.0 };
    strsim::normalized_damerau_levenshtein(name, known).max(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composites(name: &str) -> Vec<&'static str> {
        nearest(name, dlbc_compiler::built_in_names())
    }

    #[test]
    fn mistyped_composites() {
        assert_eq!(composites("epsilon_plus"), ["epsilon-plus"]);
        assert_eq!(composites("lrp-eps"), ["lrp-epsilon"]);
        assert_eq!(composites("LRP").len(), 3);
        assert!(composites("LRP").iter().all(|n| n.starts_with("lrp-")));
        assert_eq!(composites("attn-lrp"), ["attnlrp"]);
        assert_eq!(composites("integrated_gradient"), ["integrated-gradients"]);
        assert_eq!(composites("magic"), [""; 0]);
        assert_eq!(composites(""), [""; 0]);
    }

    #[test]
    fn mistyped_tensors() {
        let known = ["relu1.out", "relu2.out", "conv1.out", "input", "logits"];
        assert_eq!(nearest("relu9.out", known), ["relu1.out", "relu2.out"]);
        assert_eq!(nearest("x", ["X"]), ["X"]);
        assert_eq!(nearest("logit", known), ["logits"]);
        assert_eq!(did_you_mean("imput", known).unwrap(), "did you mean `input`?");
        assert_eq!(did_you_mean("relu9.out", known).unwrap(), "did you mean `relu1.out` or `relu2.out`?");
        assert_eq!(did_you_mean("zzz", known), None);
    }
}
