//! Experts by layers: a cell an expert, its colour its share of the layer's relevance.

use image::RgbImage;

use super::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};
use super::palette::{color, relative, scale};
use crate::args::Colors;
use crate::experts::Layer;
use crate::terminal::number;

const MARGIN: u32 = 16;
const GAP: u32 = 12;
const NAME_CHARS: usize = 40;
const ROW: u32 = 2 * LINE + 8;

/// Draws the layers, one below the other; in each cell relevance and tokens where there is room for them.
pub fn draw(caption: &str, layers: &[Layer], colors: Colors) -> RgbImage {
    let most = layers.iter().map(|l| l.experts.len()).max().unwrap_or(0).max(1) as u32;
    let cell = (1200 / most).clamp(6, 96);
    let names: Vec<String> = layers.iter().map(|l| shortened(&l.layer, NAME_CHARS)).collect();
    let left = MARGIN + names.iter().map(|n| text_width(n)).max().unwrap_or(0) + GAP;
    let width = (left + most * cell).max(MARGIN + text_width(caption)) + MARGIN;
    let top = MARGIN + 2 * LINE + 8;
    let mut canvas = Canvas::new(width, top + layers.len() as u32 * (ROW + 4) + MARGIN);
    canvas.text(MARGIN, MARGIN, caption, INK);
    let labelled = cell >= 48;
    if labelled {
        for expert in 0..most {
            let text = expert.to_string();
            canvas.text(left + expert * cell + 4, MARGIN + LINE + 4, &text, FAINT);
        }
    }
    let shares: Vec<f64> = layers.iter().flat_map(|l| l.experts.iter().map(|e| e.share)).collect();
    let strongest = scale(&shares);
    for (i, (layer, name)) in layers.iter().zip(&names).enumerate() {
        let y = top + i as u32 * (ROW + 4);
        canvas.text(MARGIN, y + ROW / 2 - LINE / 2, name, INK);
        for e in &layer.experts {
            let x = left + e.expert as u32 * cell;
            canvas.frame(x + 1, y + 1, cell - 2, ROW - 2, FAINT);
            // Text stays readable on the strongest colour.
            canvas.fill(x + 1, y + 1, cell - 2, ROW - 2, color(colors, 0.75 * relative(e.share, strongest)));
            if labelled {
                canvas.text(x + 4, y + 4, &number(e.relevance, 3), INK);
                canvas.text(x + 4, y + 4 + LINE, &format!("{} tok", e.tokens), FAINT);
            }
        }
    }
    canvas.image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experts::Expert;

    #[test]
    fn any_number_of_experts_draws() {
        for count in [0usize, 1, 8, 500] {
            let expert = |expert| Expert { expert, tokens: 1, relevance: f64::NAN, share: 0.5 };
            let experts = (0..count).map(expert).collect();
            let layer = Layer { layer: "l".repeat(90), received: 1.0, residual: 0.0, experts };
            draw("caption", &[layer], Colors::BlueRed);
        }
    }
}
