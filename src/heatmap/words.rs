//! Heat map of texts: words on coloured backgrounds, with the scale.

use image::Rgb;

use super::canvas::{Canvas, FAINT, INK, LINE, text_width};
use super::palette::Colors;
use super::palette::{color, relative};
use crate::tokens::Piece;
use crate::wording::{number, plural};

/// Text of a batch.
pub struct Sample {
    /// Caption above the sample.
    pub caption: String,
    /// Text in pieces.
    pub pieces: Vec<Piece>,
    /// Relevance magnitude that gets the strongest colour.
    pub scale: f64,
}

const MARGIN: u32 = 16;
const WIDTH: u32 = 800;
const LEADING: u32 = LINE + 6;
/// Largest number of lines of a text; the rest is cut.
const LINES: usize = 400;

/// Draws the texts, one below the other, and the number of omitted texts below them.
pub fn draw(samples: &[Sample], omitted: usize, colors: Colors) -> Canvas {
    let laid: Vec<Vec<Vec<Placed>>> = samples.iter().map(|s| lines(&s.pieces)).collect();
    let heights: Vec<u32> = laid.iter().map(|l| LEADING * (l.len() as u32 + 3)).collect();
    let captions = samples.iter().map(|s| text_width(&s.caption)).max().unwrap_or(0);
    let last = if omitted > 0 { LINE } else { 0 };
    let height = 2 * MARGIN + heights.iter().sum::<u32>() + last;
    let mut canvas = Canvas::new(2 * MARGIN + WIDTH.max(captions), height);
    let mut top = MARGIN;
    for ((sample, lines), height) in samples.iter().zip(&laid).zip(heights) {
        canvas.text(MARGIN, top, &sample.caption, FAINT);
        for (i, line) in lines.iter().enumerate() {
            let y = top + LEADING * (i as u32 + 1);
            for placed in line {
                let x = MARGIN + placed.x;
                let width = text_width(&placed.text);
                let mut ink = if placed.special { FAINT } else { INK };
                if let Some(r) = placed.relevance {
                    let back = color(colors, relative(r, sample.scale));
                    if back.0.iter().map(|c| u32::from(*c)).sum::<u32>() < 330 {
                        ink = Rgb([255; 3]);
                    }
                    canvas.fill(x, y.saturating_sub(1), width, LINE, back);
                }
                canvas.text(x, y, &placed.text, ink);
            }
        }
        legend(&mut canvas, top + LEADING * (lines.len() as u32 + 1), sample.scale, colors);
        top += height;
    }
    if omitted > 0 {
        canvas.text(MARGIN, top, &format!("{} left out", plural(omitted, "more text")), INK);
    }
    canvas
}

fn legend(canvas: &mut Canvas, y: u32, scale: f64, colors: Colors) {
    let low = number(-scale, 3);
    let left = MARGIN + text_width(&low) + 8;
    canvas.text(MARGIN, y, &low, FAINT);
    for i in 0..200 {
        canvas.fill(left + i, y + 3, 1, LINE - 8, color(colors, f64::from(i) / 99.5 - 1.0));
    }
    canvas.text(left + 208, y, &format!("+{}", number(scale, 3)), FAINT);
}

/// Part of a piece in its line.
struct Placed {
    text: String,
    x: u32,
    relevance: Option<f64>,
    special: bool,
}

/// Breaks pieces into lines: at spaces, and within words that are wider than a line.
fn lines(pieces: &[Piece]) -> Vec<Vec<Placed>> {
    let mut lines: Vec<Vec<Placed>> = vec![vec![]];
    let mut x = 0;
    for piece in pieces {
        let shown: String = piece.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let shown = if piece.special { format!("{shown} ") } else { shown };
        let after_word = lines.last().and_then(|line| line.last()).is_some_and(|p| !p.special);
        if piece.special && after_word {
            x += text_width(" ");
        }
        for word in shown.split_inclusive(' ') {
            let mut rest = word;
            while !rest.is_empty() {
                if lines.len() > LINES {
                    let text = "the rest of the text is left out".into();
                    lines.push(vec![Placed { text, x: 0, relevance: None, special: true }]);
                    return lines;
                }
                if x > 0 && x + text_width(rest.trim_end()) > WIDTH {
                    lines.push(vec![]);
                    x = 0;
                }
                let (now, later) = rest.split_at(fitting(rest));
                // The colour of a special token ends with its name.
                let colored = piece.special && now.ends_with(' ');
                let text = if colored { now.trim_end() } else { now };
                let placed =
                    Placed { text: text.into(), x, relevance: piece.relevance, special: piece.special };
                x += text_width(now);
                if let Some(line) = lines.last_mut() {
                    line.push(placed);
                }
                rest = later;
            }
        }
    }
    lines
}

/// Returns the number of bytes of `text` whose characters fit into a line; at least those of one character.
fn fitting(text: &str) -> usize {
    let mut width = 0;
    for (i, c) in text.char_indices() {
        width += text_width(c.encode_utf8(&mut [0; 4]));
        if width > WIDTH && i > 0 {
            return i;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_wrap_and_nothing_is_lost() {
        let text = "word ".repeat(100) + &"x".repeat(300) + &"電".repeat(200);
        let pieces = [Piece { text: text.clone(), relevance: Some(1.0), special: false }];
        let lines = lines(&pieces);
        assert!(lines.len() > 5);
        let shown: String = lines.iter().flatten().map(|p| p.text.as_str()).collect();
        assert_eq!(shown, text);
        for placed in lines.iter().flatten() {
            assert!(placed.x + text_width(placed.text.trim_end()) <= WIDTH, "{}", placed.text);
        }
    }
}
