//! Words: sums of the tokens of a text by word.

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

use super::unit::{TokenRelevance, Unit, char_indices};

/// Word with the relevance of its tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WordRelevance {
    /// Characters of the word in the text; the name of a token that the tokenizer added.
    pub word: String,
    /// Positions of its tokens, from 0.
    pub positions: Vec<usize>,
    /// Start in the text, in bytes.
    pub start: usize,
    /// End in the text, in bytes, exclusive.
    pub end: usize,
    /// Start in the text, in characters.
    pub char_start: usize,
    /// End in the text, in characters, exclusive.
    pub char_end: usize,
    /// True if the tokenizer added it: it is not in the text.
    pub special: bool,
    /// Sum of the relevance of its tokens.
    pub relevance: f64,
}

/// Adds up the tokens of each word by the word boundaries of Unicode (UAX 29). In scripts without spaces each character is a
/// word by these, so tokens stay as they are; punctuation marks are words.
pub fn words(text: &str, tokens: &[TokenRelevance]) -> Vec<WordRelevance> {
    let bounds: Vec<(usize, usize)> =
        text.split_word_bound_indices().map(|(at, word)| (at, at + word.len())).collect();
    // The end of the boundary word that holds the byte before `end`.
    let word_end = |end: usize| {
        let at = bounds.partition_point(|(_, e)| *e < end);
        bounds.get(at).map_or(end, |b| b.1)
    };
    let chars = char_indices(text);
    let char_at = |byte: usize| chars.get(byte).copied().unwrap_or_default();
    let mut words: Vec<WordRelevance> = vec![];
    // End of the boundary word that the last token reaches into; none after a token that is not in the text.
    let mut open: Option<usize> = None;
    for token in tokens {
        let (start, end) = trimmed(text, token);
        let in_text = !token.special && start < end;
        let continued = words.last_mut().filter(|_| in_text && open.is_some_and(|open| start < open));
        if let Some(word) = continued {
            word.positions.push(token.position);
            word.relevance += token.relevance;
            word.end = word.end.max(end);
            word.char_end = char_at(word.end);
            word.word = text.get(word.start..word.end).unwrap_or_default().into();
        } else {
            let word = text.get(start..end).filter(|_| in_text);
            words.push(WordRelevance {
                word: word.unwrap_or(&token.text).into(),
                positions: vec![token.position],
                start,
                end,
                char_start: char_at(start),
                char_end: char_at(end),
                special: token.special,
                relevance: token.relevance,
            });
        }
        open = in_text.then(|| word_end(end).max(open.unwrap_or(0)));
    }
    words
}

/// Returns words as they are shown. A token without a word, such as a space, is shown as a token.
pub fn word_units(words: &[WordRelevance], tokens: &[Unit]) -> Vec<Unit> {
    let shown = |w: &WordRelevance| match (w.positions.as_slice(), w.word.trim()) {
        ([position], "") => tokens.iter().find(|u| u.positions.0 == *position).map(|u| u.shown.clone()),
        ([position], _) if w.start == w.end => {
            tokens.iter().find(|u| u.positions.0 == *position).map(|u| u.shown.clone())
        }
        _ => None,
    };
    let unit = |w: &WordRelevance| Unit {
        shown: shown(w).unwrap_or_else(|| w.word.clone()),
        positions: (w.positions.first().copied().unwrap_or(0), w.positions.last().copied().unwrap_or(0)),
        start: w.start,
        end: w.end,
        special: w.special,
        relevance: w.relevance,
    };
    words.iter().map(unit).collect()
}

/// Returns the range of a token without the spaces before and after it, in bytes.
fn trimmed(text: &str, token: &TokenRelevance) -> (usize, usize) {
    let Some(characters) = text.get(token.start..token.end).filter(|text| !text.trim().is_empty()) else {
        return (token.start, token.end);
    };
    (token.end - characters.trim_start().len(), token.start + characters.trim_end().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the words of a text whose tokens are `parts`, each with relevance 1; parts that the text lacks are special.
    fn word_sums(text: &str, parts: &[&str]) -> Vec<(String, f64)> {
        let mut at = 0;
        let token = |(position, part): (usize, &&str)| {
            let start = text[at..].find(part).map_or(0, |i| at + i);
            let special = !text[at..].contains(part);
            let end = if special { start } else { start + part.len() };
            at = at.max(end);
            let text = (*part).to_string();
            TokenRelevance {
                text,
                position,
                start,
                end,
                special,
                relevance: 1.0,
                ..TokenRelevance::default()
            }
        };
        let tokens: Vec<TokenRelevance> = parts.iter().enumerate().map(token).collect();
        words(text, &tokens).into_iter().map(|w| (w.word, w.relevance)).collect()
    }

    #[test]
    fn parts_of_words_add_up() {
        let sums = word_sums(
            "An unbelievably good film.",
            &["[CLS]", "An", " un", "be", "liev", "ably", " good", " film", "."],
        );
        let wanted =
            [("[CLS]", 1.0), ("An", 1.0), ("unbelievably", 4.0), ("good", 1.0), ("film", 1.0), (".", 1.0)];
        assert_eq!(sums, wanted.map(|(w, r)| (w.to_string(), r)));
        let sums = word_sums(
            "It can't be 3.14, naïveté",
            &["It", " can", "'", "t", " be", " 3", ".", "14", ",", " na", "ï", "vet", "é"],
        );
        let shown: Vec<&str> = sums.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(shown, ["It", "can't", "be", "3.14", ",", "naïveté"]);
    }

    #[test]
    fn scripts_without_spaces_keep_their_tokens() {
        let sums = word_sums("电影很好看 good", &["电影", "很", "好看", " go", "od"]);
        let shown: Vec<&str> = sums.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(shown, ["电影", "很", "好看", "good"]);
    }

    #[test]
    fn parts_of_a_character_are_one_word() {
        let part = |position| TokenRelevance {
            text: "😈".into(),
            position,
            start: 2,
            end: 6,
            relevance: 0.5,
            ..TokenRelevance::default()
        };
        let sums = words("a 😈", &[part(1), part(2), part(3)]);
        assert_eq!((sums.len(), sums[0].word.as_str(), sums[0].relevance), (1, "😈", 1.5));
        assert_eq!((sums[0].char_start, sums[0].char_end), (2, 3));
        assert_eq!(sums[0].positions, [1, 2, 3]);
    }
}
