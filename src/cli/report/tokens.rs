//! Texts on a terminal: coloured text, and a table of tokens or words.

use std::fmt::Write;

use crate::cli::terminal::{Align, Table};
use dlbc::heatmap::{Colors, tint};
use dlbc::tokens::{Piece, Unit, Verdict, pieces, scale};
use dlbc::wording::{number, plural, visible};

/// Maximum number of strongest units in a table.
const TOP: usize = 10;

/// Maximum number of units for which all are listed, without colours.
const ALL: usize = 40;

/// Length of a full bar, in characters.
const BAR: f64 = 12.0;

/// Number of characters of a text in its heading.
const EXCERPT: usize = 48;

/// Text with its tokens or words.
pub struct Listed<'a> {
    /// Text to print.
    pub text: &'a str,
    /// Tokens or words of the text, in order.
    pub units: &'a [Unit],
    /// Model's answer to the text.
    pub verdict: &'a Verdict,
}

/// Formats the texts: coloured if `color` is set, and a table of their units. `word` is the name of a unit, `token` or `word`.
pub fn text(texts: &[Listed], word: &str, color: Option<Colors>) -> String {
    let mut out = String::new();
    for (i, listed) in texts.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if texts.len() > 1 {
            let _ = writeln!(out, "text {i}   {}   \"{}\"", listed.verdict.line(), excerpt(listed.text));
        }
        let regular = || listed.units.iter().filter(|u| !u.special);
        let count = regular().count();
        if let Some(colors) = color {
            out.push_str(&coloured(&pieces(listed.text, listed.units), colors));
            out.push('\n');
        } else if count <= ALL {
            out.push_str(&table(listed.units, regular(), word).text(0));
            continue;
        }
        let mut order: Vec<&Unit> = regular().collect();
        order.sort_by(|a, b| b.relevance.abs().total_cmp(&a.relevance.abs()));
        out.push_str(&table(listed.units, order.into_iter().take(TOP), word).text(0));
        if count > TOP {
            let _ = writeln!(out, "the {TOP} strongest of {}; `--json` has them all", plural(count, word));
        }
    }
    out
}

/// Returns the beginning of a text.
fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(EXCERPT).collect();
    let rest = if short.len() < text.len() { ".." } else { "" };
    format!("{}{rest}", visible(&short))
}

/// Returns a table with a row for each of `shown` and, below them, the special tokens of the tokenizer, without bars: their
/// relevance is often several times that of any word.
fn table<'a>(all: &[Unit], shown: impl Iterator<Item = &'a Unit>, word: &str) -> Table {
    let flags = all.iter().map(|u| (u.relevance, u.special));
    let scale = scale(flags);
    let total: f64 = all.iter().map(|u| u.relevance.abs()).sum();
    let share = |u: &Unit| {
        if total > 0.0 { format!("{:.1} %", 100.0 * u.relevance.abs() / total) } else { String::new() }
    };
    let position = |u: &Unit| match u.positions {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let mut table = Table::new(&[
        (word, Align::Left),
        ("position", Align::Right),
        ("relevance", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ]);
    let mut has_rows = false;
    for u in shown {
        let length =
            if scale > 0.0 { (BAR * (u.relevance.abs() / scale).min(1.0)).round() as usize } else { 0 };
        let bar = if u.relevance < 0.0 { "-" } else { "#" }.repeat(length);
        table.row([u.shown.clone(), position(u), number(u.relevance, 4), share(u), bar]);
        has_rows = true;
    }
    let mut added = all.iter().filter(|u| u.special).peekable();
    if has_rows && added.peek().is_some() {
        table.rule();
    }
    for u in added {
        table.row([u.shown.clone(), position(u), number(u.relevance, 4), share(u), "special token".into()]);
    }
    table
}

fn coloured(pieces: &[Piece], colors: Colors) -> String {
    let scale = scale(pieces.iter().filter_map(|p| Some((p.relevance?, p.special))));
    let mut out = String::new();
    let mut is_after_word = false;
    for piece in pieces {
        if piece.special && is_after_word {
            out.push(' ');
        }
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
                is_after_word = !piece.special;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(shown: &str, position: usize, span: std::ops::Range<usize>, relevance: f64) -> Unit {
        let special = span.is_empty();
        Unit {
            shown: shown.into(),
            positions: (position, position),
            start: span.start,
            end: span.end,
            special,
            relevance,
        }
    }

    fn shown(text_: &str, units: &[Unit], color: Option<Colors>) -> String {
        text(&[Listed { text: text_, units, verdict: &Verdict::default() }], "token", color)
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let units = [unit("a\u{1b}", 0, 0..2, 1.0), unit("b", 1, 8..9, -1.0)];
        for color in [None, Some(Colors::BlueRed)] {
            let shown = shown("a\u{1b}[2J\u{202e}b", &units, color);
            assert!(!shown.contains("\u{1b}[2J") && !shown.contains('\u{202e}'), "{shown:?}");
        }
    }

    #[test]
    fn long_texts_list_the_strongest() {
        let units: Vec<Unit> = (0..60).map(|i| unit("x", i, i..i + 1, i as f64)).collect();
        let shown = shown(&"x".repeat(60), &units, None);
        assert!(shown.contains("the 10 strongest of 60 tokens"), "{shown}");
        assert!(shown.lines().nth(2).unwrap().starts_with("x            59         59  3.3 %"), "{shown}");
    }

    #[test]
    fn what_the_tokenizer_added_does_not_shorten_bars() {
        let units = [unit("[CLS]", 0, 0..0, 60.0), unit("bad", 1, 0..3, -30.0), unit("ok", 2, 4..6, 10.0)];
        let shown = shown("bad ok", &units, None);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[2].starts_with("bad") && lines[2].ends_with("30.0 %  ------------"), "{shown}");
        assert!(lines[3].starts_with("ok") && lines[3].ends_with("10.0 %  ####"), "{shown}");
        assert!(lines[4].starts_with("---"), "{shown}");
        assert!(lines[5].starts_with("[CLS]") && lines[5].ends_with("60.0 %  special token"), "{shown}");
    }
}
