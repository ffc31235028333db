//! Pieces of a text: tokens or words in their positions, and the characters between them.

use super::unit::Unit;

/// Piece of a text as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Characters of the piece.
    pub text: String,
    /// Relevance of a token or word; `None` for the characters between them.
    pub relevance: Option<f64>,
    /// True if the tokenizer added the token.
    pub special: bool,
}

/// Splits a text into pieces, in order; tokens that the tokenizer added appear by their names. Tokens that are parts of one
/// character become one piece with the sum of their relevance.
pub fn pieces(text: &str, units: &[Unit]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = vec![];
    let mut done = 0;
    let between = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_string();
    for unit in units {
        let added = unit.start == unit.end;
        if !added && unit.start > done {
            pieces.push(Piece { text: between(done, unit.start), relevance: None, special: false });
        }
        let covered = !added && unit.end <= done;
        let last = pieces.last_mut().and_then(|p| p.relevance.as_mut()).filter(|_| covered);
        if let Some(sum) = last {
            *sum += unit.relevance;
            continue;
        }
        let text = if added { unit.shown.clone() } else { between(unit.start.max(done), unit.end) };
        done = done.max(unit.end);
        pieces.push(Piece { text, relevance: Some(unit.relevance), special: unit.special });
    }
    if done < text.len() {
        pieces.push(Piece { text: between(done, text.len()), relevance: None, special: false });
    }
    pieces
}

/// Returns the magnitude of the strongest colour and the longest bar: that of the strongest word. Special tokens often have
/// several times as much relevance and would pale all words.
pub fn scale(relevance: impl Iterator<Item = (f64, bool)> + Clone) -> f64 {
    let strongest = |special: bool| {
        let sizes = relevance.clone().filter(|(r, s)| *s == special && r.is_finite()).map(|(r, _)| r.abs());
        sizes.fold(0.0, f64::max)
    };
    let words = strongest(false);
    if words > 0.0 { words } else { strongest(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(shown: &str, start: usize, end: usize, relevance: f64) -> Unit {
        Unit { shown: shown.into(), start, end, special: start == end, relevance, ..Unit::default() }
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "A naïve  plot\u{1f608}.";
        let units = [
            unit("[CLS]", 0, 0, 0.0),
            unit("A", 0, 1, 1.0),
            unit("na", 2, 4, 2.0),
            unit("ïve", 4, 8, 3.0),
            unit("\u{1f608} (1/2)", 14, 18, 0.5),
            unit("\u{1f608} (2/2)", 14, 18, 0.25),
            unit(".", 18, 19, -1.0),
        ];
        let pieces = pieces(text, &units);
        let shown: Vec<&str> = pieces.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(shown, ["[CLS]", "A", " ", "na", "ïve", "  plot", "\u{1f608}", "."]);
        assert_eq!(shown[1..].concat(), text);
        assert_eq!(pieces[6].relevance, Some(0.75));
    }
}
