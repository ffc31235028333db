//! Drawings of a run: heat maps, overlays and maps of experts.

use std::path::PathBuf;

use anyhow::Context;
use dlbc_ops::program::Info;

use crate::cli::args::RunArgs;
use crate::cli::exit::unsupported;
use crate::cli::report::several::DrawingFile;
use crate::cli::terminal::Console;
use dlbc::experts::layers;
use dlbc::explained::Explained;
use dlbc::heatmap::canvas::Canvas;
use dlbc::heatmap::format::DrawingFormat;
use dlbc::heatmap::{Axes, HeatmapOptions, caption, experts, font, overlay, sum_text};
use dlbc::input::{InputPicture, Inputs};
use dlbc::results::write;
use dlbc::scene::Scene;
use dlbc::wording::{plural, visible};

/// Maximum number of characters without a glyph that a note names.
const MISSING: usize = 8;

/// Drawing that is ready to be written.
pub struct Heatmap {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Heatmap {
    fn new(file: DrawingFile, drawing: &Canvas) -> anyhow::Result<Heatmap> {
        Ok(Heatmap { bytes: file.format.drawing(drawing)?, path: file.path })
    }

    /// Writes the drawing, and creates its folder if necessary.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.path.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
            let doing = || format!("cannot make the folder `{}`", folder.display());
            std::fs::create_dir(folder).with_context(doing)?;
        }
        Ok(write(&self.path, |out| Ok(out.write_all(&self.bytes)?))?)
    }
}

/// Draws the heat map of a run into a file.
///
/// # Errors
/// Fails if no input is explained.
pub fn heatmap(
    file: DrawingFile,
    info: &Info,
    inputs: &Inputs,
    explained: &[Explained],
    scene: &Scene,
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<Heatmap> {
    let options = HeatmapOptions { title: args.title.clone(), words: args.words, colors: args.colors };
    let drawing = dlbc::heatmap::heatmap(info, inputs, explained, scene, &options, &console)?;
    note_missing(file.format, console);
    Heatmap::new(file, &drawing)
}

/// Draws the relevance of a target over the picture, at the picture's size; in contrastive mode supporting minus opposing.
///
/// # Errors
/// Fails if the picture carries no relevance.
pub fn overlay(
    file: DrawingFile,
    seen: &InputPicture,
    explained: &Explained,
    args: &RunArgs,
) -> anyhow::Result<Heatmap> {
    let nothing = || unsupported(format!("input `{}` has no relevance to draw", visible(&seen.input)));
    let net = explained.explanation.net(&seen.input).ok_or_else(nothing)?;
    let axes = Axes::of(net.dims(), Some(seen.layout)).ok_or_else(nothing)?;
    let relevance = axes.per_pixel(&net.to_f64());
    let map = overlay::Map { relevance: &relevance, fit: seen.fit };
    let image = overlay::draw(&seen.original, &map, args.colors);
    Ok(Heatmap { bytes: file.format.pixels(&image)?, path: file.path })
}

/// Draws the relevance that each expert received for the first target.
///
/// # Errors
/// Fails if the picture cannot be encoded.
pub fn expert_map(
    file: DrawingFile,
    info: &Info,
    explained: &[Explained],
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<Heatmap> {
    if explained.len() > 1 {
        console.note("the picture of experts shows the first target");
    }
    let first = &explained[0];
    let caption = format!(
        "{}, {}",
        info.model,
        caption(0, 1, first, &sum_text(&[first.explanation.supporting.seed_sum]))
    );
    let drawing = experts::draw(&caption, &layers(&first.explanation), args.colors);
    Heatmap::new(file, &drawing)
}

/// Notes the characters of a drawing that no font has. SVG is left out, because its viewer has its own fonts.
fn note_missing(format: DrawingFormat, console: Console) {
    let missing = font::take_missing();
    if missing.is_empty() || format == DrawingFormat::Svg {
        return;
    }
    let shown: Vec<String> =
        missing.iter().take(MISSING).map(|c| format!("`{}`", visible(&c.to_string()))).collect();
    let rest = if missing.len() > MISSING { ", .." } else { "" };
    console.note(format!(
        "no font has a glyph for {} of the picture ({}{rest}), drawn as boxes: install a font that has them, or name a \
         folder of fonts in {}",
        plural(missing.len(), "character"),
        shown.join(", "),
        font::FOLDER
    ));
}
