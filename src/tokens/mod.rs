//! Relevance of a text's tokens and words, for the summary and for pictures.

mod pieces;
mod unit;
mod verdict;
mod words;

use dlbc_runtime::Explanation;

use crate::input::{Texts, Token};
use unit::char_indices;

pub use pieces::{Piece, pieces, scale};
pub use unit::{TokenRelevance, Unit};
pub use verdict::{Verdict, verdicts};
pub use words::{WordRelevance, word_units, words};

/// Returns the tokens of each text with their relevance, without padding; in contrastive mode supporting minus opposing
/// relevance.
pub fn rows(texts: &Texts, explanation: &Explanation) -> Vec<Vec<TokenRelevance>> {
    let Some(relevance) = explanation.net(&texts.input) else { return vec![] };
    let values = relevance.to_f64();
    let mut at = 0;
    let mut rows = vec![];
    for (text, tokens) in texts.texts.iter().zip(&texts.tokens) {
        let relevance = values.get(at..at + tokens.len()).unwrap_or_default();
        at += tokens.len();
        rows.push(row(text, tokens, relevance));
    }
    rows
}

fn row(text: &str, tokens: &[Token], relevance: &[f64]) -> Vec<TokenRelevance> {
    let chars = char_indices(text);
    let char_at = |byte: usize| chars.get(byte).copied().unwrap_or_default();
    let of_token = |(position, (t, r)): (usize, (&Token, &f64))| TokenRelevance {
        token: t.text.clone(),
        text: text.get(t.span.clone()).filter(|s| !s.is_empty() && !t.special).unwrap_or(&t.text).into(),
        id: t.id,
        position,
        start: t.span.start,
        end: t.span.end,
        char_start: char_at(t.span.start),
        char_end: char_at(t.span.end),
        special: t.special,
        relevance: *r,
    };
    tokens.iter().zip(relevance).enumerate().filter(|(_, (t, _))| !t.padding).map(of_token).collect()
}

/// Returns the tokens of a text as they are shown, or its words.
pub fn shown_units(text: &str, tokens: &[TokenRelevance], by_words: bool) -> Vec<Unit> {
    let units = units(tokens);
    if by_words { word_units(&words(text, tokens), &units) } else { units }
}

/// Returns tokens as they are shown: by their characters in the text, and numbered if several are parts of one character.
fn units(tokens: &[TokenRelevance]) -> Vec<Unit> {
    // Range of the token without spaces: those before a character belong to the first of its bytes.
    let range = |t: &TokenRelevance| {
        let lead = t.text.len() - t.text.trim_start().len();
        (t.start + lead, t.start + t.text.trim_end().len())
    };
    let same = |a: &TokenRelevance, b: &TokenRelevance| {
        let in_text = |t: &TokenRelevance| !t.special && t.start < t.end && !t.text.trim().is_empty();
        in_text(a) && in_text(b) && range(a) == range(b)
    };
    let mut units = vec![];
    for group in tokens.chunk_by(same) {
        for (i, t) in group.iter().enumerate() {
            let part = if group.len() > 1 { format!(" ({}/{})", i + 1, group.len()) } else { String::new() };
            units.push(Unit {
                shown: shown(t) + &part,
                positions: (t.position, t.position),
                start: t.start,
                end: t.end,
                special: t.special,
                relevance: t.relevance,
            });
        }
    }
    units
}

/// Returns a token by its characters in the text, with signs for white space.
fn shown(token: &TokenRelevance) -> String {
    let trimmed = token.text.trim();
    if token.special || !trimmed.is_empty() {
        return readable(trimmed, token.start == token.end && !token.special);
    }
    let sign = |c: char| match c {
        '\n' => '⏎',
        '\t' => '⇥',
        _ => '␣',
    };
    token.text.chars().map(sign).collect()
}

/// Returns a vocabulary entry without its marks for spaces and continued words.
fn readable(token: &str, is_spelling: bool) -> String {
    if !is_spelling {
        return token.into();
    }
    let bare = token.trim_start_matches("##").replace(['Ġ', '▁'], "␣").replace('Ċ', "⏎");
    if bare.is_empty() { token.into() } else { bare }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, span: std::ops::Range<usize>, special: bool) -> Token {
        Token { text: text.into(), id: 1, span, special, padding: false, unknown: false }
    }

    #[test]
    fn tokens_are_shown_by_the_text() {
        let text = "A naïve \u{1f608}忽\n";
        let tokens = [
            token("[CLS]", 0..0, true),
            token("a", 0..1, false),
            token("Ġnaï", 1..6, false),
            token("##ve", 6..8, false),
            token("ĠðŁ", 8..13, false),
            token("ĺ", 9..13, false),
            token("Ī", 9..13, false),
            token("[UNK]", 13..16, false),
            token("Ċ", 16..17, false),
            token("▁", 17..17, false),
        ];
        let row = row(text, &tokens, &[1.0; 10]);
        let shown: Vec<String> = units(&row).into_iter().map(|u| u.shown).collect();
        let wanted = [
            "[CLS]",
            "A",
            "naï",
            "ve",
            "\u{1f608} (1/3)",
            "\u{1f608} (2/3)",
            "\u{1f608} (3/3)",
            "忽",
            "⏎",
            "␣",
        ];
        assert_eq!(shown, wanted);
        let chars: Vec<(usize, usize)> = row.iter().map(|t| (t.char_start, t.char_end)).collect();
        assert_eq!(chars[1..5], [(0, 1), (1, 5), (5, 7), (7, 9)]);
        assert_eq!((chars[7], chars[9]), ((9, 10), (11, 11)));
        for t in row.iter().filter(|t| t.start < t.end) {
            let by_chars: String = text.chars().skip(t.char_start).take(t.char_end - t.char_start).collect();
            assert_eq!((by_chars.as_str(), t.text.as_str()), (&text[t.start..t.end], &text[t.start..t.end]));
        }
    }
}
