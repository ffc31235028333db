//! Suggestions for mistyped names.

use crate::wording::visible;

/// Suggestions of one message.
const MOST: usize = 3;

/// Characters after which a name is not compared.
const LONGEST: usize = 300;

/// Similarity below which a name is no suggestion.
const LEAST: f64 = 0.6;

/// Distance in similarity up to which a name stands beside the most similar one.
const BESIDE: f64 = 0.12;

/// The known names most like `name`, the most similar first, at most three; none when nothing is similar.
///
/// Case, `-`, `_`, `.`, `/` and spaces count for nothing: `LRP_Epsilon` is `lrp-epsilon`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = plain(name);
    let scored = known.into_iter().map(|k| (similarity(&wanted, &plain(k)), k));
    let mut similar: Vec<(f64, &str)> = scored.filter(|(score, _)| *score >= LEAST).collect();
    // Stable: of names that are equally similar the first known comes first.
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = similar.first().map_or(0.0, |(score, _)| *score);
    // A name that differs in its spelling only is the one that was meant.
    let least = if best == 1.0 { 1.0 } else { best - BESIDE };
    let similar = similar.into_iter().filter(|(score, _)| *score >= least).map(|(_, k)| k);
    let mut suggestions: Vec<&str> = vec![];
    for name in similar {
        if !suggestions.contains(&name) {
            suggestions.push(name);
        }
    }
    suggestions.truncate(MOST);
    suggestions
}

/// The line of advice for a mistyped name: "did you mean `a`, `b` or `c`?"; `None` when nothing is similar.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = nearest(name, known).iter().map(|n| format!("`{}`", visible(n))).collect();
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        _ => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

/// Returns the expectation of a message, with the names most like the one given.
pub fn suggested<'a>(expected: &str, given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match did_you_mean(given, known) {
        Some(advice) => format!("{expected}; {advice}"),
        None => expected.into(),
    }
}

fn plain(name: &str) -> String {
    let counts = |c: &char| !matches!(c, '-' | '_' | '.' | '/' | ' ' | ':');
    name.chars().take(LONGEST).filter(counts).flat_map(char::to_lowercase).collect()
}

/// 1 for the same letters, 0 for nothing in common.
fn similarity(wanted: &str, known: &str) -> f64 {
    let (letters, others) = (wanted.chars().count(), known.chars().count());
    if letters == 0 || others == 0 {
        return 0.0;
    }
    if wanted == known {
        return 1.0;
    }
    // The beginning of a name, or a part of it.
    if letters > 1 && known.starts_with(wanted) {
        return 0.95;
    }
    if letters > 2 && known.contains(wanted) {
        return 0.85;
    }
    let part = if wanted.contains(known) { 0.6 + 0.3 * others as f64 / letters as f64 } else { 0.0 };
    strsim::normalized_damerau_levenshtein(wanted, known).max(part)
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
