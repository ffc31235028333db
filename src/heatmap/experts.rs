//! Chart of experts by layer: one cell per expert, coloured by its share of the layer's relevance.

use super::canvas::{Canvas, FAINT, INK, LINE, shortened, text_width};
use super::palette::Colors;
use super::palette::{color, relative, scale};
use crate::experts::Layer;
use crate::wording::number;

const MARGIN: u32 = 16;
const GAP: u32 = 12;
const NAME_CHARS: usize = 40;
/// Height of a cell with text, in pixels.
const TALL: u32 = 2 * LINE + 8;
/// Smallest width of a cell with text, in pixels.
const WIDE: u32 = 72;
/// Width of the legend's colour bar, in pixels.
const BAR: u32 = 240;
/// Strongest colour of a cell, as a share of the scale, on which text stays readable.
const STRONGEST: f64 = 0.75;

/// Draws the layers, one below the other, with a legend of the colours. Cells that are wide enough show relevance and
/// tokens; in narrow cells a dash marks an expert without tokens.
pub fn draw(caption: &str, layers: &[Layer], colors: Colors) -> Canvas {
    let most = layers.iter().map(|l| l.experts.len()).max().unwrap_or(0).max(1) as u32;
    let cell = (1200 / most).clamp(6, 96);
    let labelled = cell >= WIDE;
    let row = if labelled { TALL } else { LINE + 2 };
    let names: Vec<String> = layers.iter().map(|l| shortened(&l.layer, NAME_CHARS)).collect();
    let left = MARGIN + names.iter().map(|n| text_width(n)).max().unwrap_or(0) + GAP;
    let shares: Vec<f64> = layers.iter().flat_map(|l| l.experts.iter().map(|e| e.share)).collect();
    let strongest = scale(&shares);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let (low, high) =
        (percent(if shares.iter().any(|s| *s < 0.0) { -strongest } else { 0.0 }), percent(strongest));
    let legend = "share of the layer";
    let legend_width = text_width(legend) + text_width(&low) + text_width(&high) + BAR + 3 * GAP;
    let top = MARGIN + 2 * LINE + 8;
    let bottom = top + layers.len() as u32 * (row + 4) + GAP;
    let width = (left + most * cell).max(MARGIN + text_width(caption).max(legend_width)) + MARGIN;
    let mut canvas = Canvas::new(width, bottom + LINE + MARGIN);
    canvas.text(MARGIN, MARGIN, caption, INK);
    // As many numbers as fit side by side.
    let step = (text_width(&format!("{most} ")) / cell + 1).next_power_of_two();
    for expert in (0..most).step_by(step as usize) {
        canvas.text(left + expert * cell + 2, MARGIN + LINE + 4, &expert.to_string(), FAINT);
    }
    for (i, (layer, name)) in layers.iter().zip(&names).enumerate() {
        let y = top + i as u32 * (row + 4);
        canvas.text(MARGIN, y + row / 2 - LINE / 2, name, INK);
        for e in &layer.experts {
            let x = left + e.expert as u32 * cell;
            canvas.frame(x + 1, y + 1, cell - 2, row - 2, FAINT);
            let shade = color(colors, STRONGEST * relative(e.share, strongest).clamp(-1.0, 1.0));
            canvas.fill(x + 1, y + 1, cell - 2, row - 2, shade);
            if labelled {
                canvas.text(x + 4, y + 4, &number(e.relevance, 3), INK);
                canvas.text(x + 4, y + 4 + LINE, &format!("{} tok", e.tokens), INK);
            } else if e.tokens == 0 {
                canvas.fill(x + cell / 4, y + row / 2, (cell / 2).max(2), 1, INK);
            }
        }
    }
    let mut x = MARGIN;
    let mut write = |canvas: &mut Canvas, text: &str| {
        canvas.text(x, bottom, text, INK);
        x += text_width(text) + GAP;
        x
    };
    write(&mut canvas, legend);
    let bar = write(&mut canvas, &low);
    let lowest = if low.starts_with('-') { -1.0 } else { 0.0 };
    for i in 0..BAR {
        let t = lowest + (1.0 - lowest) * f64::from(i) / f64::from(BAR - 1);
        canvas.fill(bar + i, bottom + 2, 1, LINE - 4, color(colors, STRONGEST * t));
    }
    canvas.text(bar + BAR + GAP, bottom, &high, INK);
    canvas
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
