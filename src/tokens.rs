//! The relevance of a text's tokens, for the summary and for pictures.

use std::fmt::Write;

use dlbc_runtime::Explanation;
use serde::Serialize;

use crate::args::Colors;
use crate::heatmap::tint;
use crate::input::{Texts, Token};
use crate::terminal::{Align, Table, number, visible};

/// Tokens that are listed as the greatest.
const TOP: usize = 10;

/// Tokens up to which all are listed where nothing can be coloured.
const ALL: usize = 40;

/// Characters of a full bar.
const BAR: f64 = 12.0;

/// A token with its relevance.
#[derive(Clone, Debug, Serialize)]
pub struct TokenRelevance {
    /// As the vocabulary spells it.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Added by the tokenizer.
    pub special: bool,
    /// Its relevance.
    pub relevance: f64,
}

/// A piece of a text as it is shown: a token, or what stands between tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// What is shown.
    pub text: String,
    /// The relevance of a token.
    pub relevance: Option<f64>,
    /// Added by the tokenizer.
    pub special: bool,
}

/// The tokens of each text with their relevance, in contrastive mode what supports minus what opposes; padding left out.
pub fn rows(texts: &Texts, explanation: &Explanation) -> Vec<Vec<TokenRelevance>> {
    let Some(relevance) = explanation.net(&texts.input) else { return vec![] };
    let values = relevance.to_f64();
    let mut at = 0;
    let mut rows = vec![];
    for tokens in &texts.tokens {
        let own = values.get(at..at + tokens.len()).unwrap_or_default();
        at += tokens.len();
        let of = |(t, r): (&Token, &f64)| TokenRelevance {
            token: t.text.clone(),
            id: t.id,
            start: t.span.start,
            end: t.span.end,
            special: t.special,
            relevance: *r,
        };
        rows.push(tokens.iter().zip(own).filter(|(t, _)| !t.padding).map(of).collect());
    }
    rows
}

/// A text in pieces, in order: tokens where they stand, what the tokenizer added by its name.
pub fn pieces(text: &str, tokens: &[TokenRelevance]) -> Vec<Piece> {
    let mut pieces = vec![];
    let mut done = 0;
    let between = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_string();
    for t in tokens {
        let added = t.start == t.end;
        if !added && t.start > done {
            pieces.push(Piece { text: between(done, t.start), relevance: None, special: false });
        }
        // Several tokens of one character have the same place: it is shown once.
        let own = if added { t.token.clone() } else { between(t.start.max(done), t.end) };
        done = done.max(t.end);
        pieces.push(Piece { text: own, relevance: Some(t.relevance), special: t.special });
    }
    if done < text.len() {
        pieces.push(Piece { text: between(done, text.len()), relevance: None, special: false });
    }
    pieces
}

/// The magnitude of the strongest colour: that of the strongest word. What the tokenizer added often has several times as
/// much, and would pale all words.
pub fn scale(tokens: impl Iterator<Item = (f64, bool)> + Clone) -> f64 {
    let strongest = |special: bool| {
        let sizes = tokens.clone().filter(|(r, s)| *s == special && r.is_finite()).map(|(r, _)| r.abs());
        sizes.fold(0.0, f64::max)
    };
    let words = strongest(false);
    if words > 0.0 { words } else { strongest(true) }
}

fn flags(tokens: &[TokenRelevance]) -> impl Iterator<Item = (f64, bool)> + Clone {
    tokens.iter().map(|t| (t.relevance, t.special))
}

/// The tokens of all texts as text: coloured where that is wanted, and the greatest in a table.
pub fn text(texts: &Texts, rows: &[Vec<TokenRelevance>], color: Option<Colors>) -> String {
    let mut out = String::new();
    for (i, (text, tokens)) in texts.texts.iter().zip(rows).enumerate() {
        if rows.len() > 1 {
            let _ = writeln!(out, "text {i}");
        }
        if let Some(colors) = color {
            out.push_str(&coloured(&pieces(text, tokens), scale(flags(tokens)), colors));
            out.push('\n');
        } else if tokens.len() <= ALL {
            out.push_str(&table(text, tokens, tokens.iter()).text(0));
            continue;
        }
        let mut order: Vec<&TokenRelevance> = tokens.iter().collect();
        order.sort_by(|a, b| b.relevance.abs().total_cmp(&a.relevance.abs()));
        out.push_str(&table(text, tokens, order.into_iter().take(TOP)).text(0));
        if tokens.len() > TOP {
            let _ = writeln!(out, "the {TOP} greatest of {} tokens; `--json` has them all", tokens.len());
        }
    }
    out
}

fn table<'a>(text: &str, all: &[TokenRelevance], shown: impl Iterator<Item = &'a TokenRelevance>) -> Table {
    let scale = scale(flags(all));
    let total: f64 = all.iter().map(|t| t.relevance).sum();
    let mut table = Table::new(&[
        ("token", Align::Left),
        ("relevance", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ]);
    for t in shown {
        let share =
            if total == 0.0 { String::new() } else { format!("{:.1} %", 100.0 * t.relevance / total) };
        let length =
            if scale > 0.0 { (BAR * (t.relevance.abs() / scale).min(1.0)).round() as usize } else { 0 };
        let bar = if t.relevance < 0.0 { "-" } else { "#" }.repeat(length);
        // The words as they stand in the text: tokens of byte pairs are hard to read.
        let place = text.get(t.start..t.end).map(str::trim).filter(|part| !part.is_empty() && !t.special);
        let shown = place.unwrap_or(&t.token).to_string();
        table.row([shown, number(t.relevance, 4), share, bar]);
    }
    table
}

fn coloured(pieces: &[Piece], scale: f64, colors: Colors) -> String {
    let mut out = String::new();
    for piece in pieces {
        let shown = visible(&piece.text);
        match piece.relevance {
            None => out.push_str(&shown),
            Some(r) => {
                let [red, green, blue] = tint(colors, r, scale).0;
                let ink = if u32::from(red) + u32::from(green) + u32::from(blue) < 330 { 97 } else { 30 };
                let faint = if piece.special { "2;" } else { "" };
                let _ = write!(out, "\u{1b}[{faint}{ink};48;2;{red};{green};{blue}m{shown}\u{1b}[0m");
                if piece.special {
                    out.push(' ');
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, start: usize, end: usize, relevance: f64) -> TokenRelevance {
        let special = start == end;
        TokenRelevance { token: text.into(), id: 1, start, end, special, relevance }
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "A naïve  plot.";
        let tokens = [
            token("[CLS]", 0, 0, 0.0),
            token("a", 0, 1, 1.0),
            token("na", 2, 4, 2.0),
            token("##ïve", 4, 8, 3.0),
            token(".", 14, 15, -1.0),
        ];
        let pieces = pieces(text, &tokens);
        let shown: Vec<&str> = pieces.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(shown, ["[CLS]", "A", " ", "na", "ïve", "  plot", "."]);
        assert_eq!(shown[1..].concat(), text);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let texts = Texts {
            input: "input_ids".into(),
            texts: vec!["a\u{1b}[2J\u{202e}b".into()],
            ..Texts::default()
        };
        let rows = vec![vec![token("a\u{1b}", 0, 2, 1.0), token("b", 8, 9, -1.0)]];
        for color in [None, Some(Colors::BlueRed)] {
            let shown = text(&texts, &rows, color);
            assert!(!shown.contains("\u{1b}[2J") && !shown.contains('\u{202e}'), "{shown:?}");
        }
    }

    #[test]
    fn long_texts_list_the_greatest() {
        let rows = vec![(0..60).map(|i| token("x", 0, 0, f64::from(i))).collect()];
        let texts = Texts { input: "input_ids".into(), texts: vec![String::new()], ..Texts::default() };
        let shown = text(&texts, &rows, None);
        assert!(shown.contains("the 10 greatest of 60"), "{shown}");
    }
}
