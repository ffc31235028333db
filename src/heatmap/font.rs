//! Glyphs in pictures: Latin letters from an embedded bitmap font, all others from fonts of the system.
//!
//! Each character takes one or two cells by its width in Unicode, whatever font it comes from, so the layout of a picture is
//! the same on every machine.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ab_glyph::{Font, FontRef, GlyphId, PxScale};
use fontdb::{Database, FaceInfo, ID, Stretch, Style};
use image::imageops::{FilterType, resize};
use image::{Rgb, Rgba, RgbaImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};
use unicode_width::UnicodeWidthChar;

const WEIGHT: FontWeight = FontWeight::Regular;
const HEIGHT: RasterHeight = RasterHeight::Size16;

/// Height of the em square of glyphs from system fonts, in pixels: two cells.
const EM: f32 = 14.0;

/// Baseline of the letters, in pixels below the top of a line.
const BASELINE: f32 = 13.0;

/// Environment variable with a folder whose fonts are used instead of the system's.
pub const FOLDER: &str = "DLBC_FONTS";

/// Glyph: a picture with its offset from the top left corner of its cell.
pub struct Glyph {
    left: i32,
    top: i32,
    picture: RgbaImage,
    /// True if the picture has its own colours, as an emoji has; else its alpha is filled with the colour of the text.
    colored: bool,
}

impl Glyph {
    /// Yields each pixel: x, y, colour and coverage from 0 to 1.
    pub fn pixels(&self, text: Rgb<u8>) -> impl Iterator<Item = (i32, i32, Rgb<u8>, f64)> {
        self.picture.enumerate_pixels().filter(|(_, _, p)| p[3] > 0).map(move |(x, y, p)| {
            let color = if self.colored { Rgb([p[0], p[1], p[2]]) } else { text };
            (self.left + x as i32, self.top + y as i32, color, f64::from(p[3]) / 255.0)
        })
    }
}

/// Returns the width of a character in pixels.
pub fn width(c: char) -> u32 {
    let cells = if bitmap(c).is_some() { 1 } else { c.width().unwrap_or(1) };
    (cells * get_raster_width(WEIGHT, HEIGHT)) as u32
}

/// Returns the glyph of a character; a box if no font has it.
pub fn glyph(c: char) -> Arc<Glyph> {
    lock(|fonts| fonts.glyph(c))
}

/// Returns the characters that were drawn as boxes since the last call.
pub fn take_missing() -> Vec<char> {
    lock(|fonts| std::mem::take(&mut fonts.missing).into_iter().collect())
}

fn lock<T>(work: impl FnOnce(&mut Fonts) -> T) -> T {
    static FONTS: LazyLock<Mutex<Fonts>> = LazyLock::new(Mutex::default);
    work(&mut FONTS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn bitmap(c: char) -> Option<RasterizedChar> {
    get_raster(if c.is_control() { '?' } else { c }, WEIGHT, HEIGHT)
}

/// Fonts with a cache of the glyphs drawn so far.
#[derive(Default)]
struct Fonts {
    /// Faces of the system fonts; read when the first character needs them.
    faces: Option<Faces>,
    glyphs: HashMap<char, Option<Arc<Glyph>>>,
    missing: BTreeSet<char>,
}

impl Fonts {
    fn glyph(&mut self, c: char) -> Arc<Glyph> {
        if let Some(raster) = bitmap(c) {
            return Arc::new(of_bitmap(&raster));
        }
        let faces = &mut self.faces;
        let glyph = self.glyphs.entry(c).or_insert_with(|| {
            let faces = faces.get_or_insert_with(Faces::of_machine);
            faces.glyph(c).map(Arc::new)
        });
        match glyph {
            Some(glyph) => glyph.clone(),
            // Marks without width and selectors of a variant change a character that is there.
            None if width(c) == 0 => Arc::new(empty()),
            None => {
                self.missing.insert(c);
                Arc::new(tofu(width(c)))
            }
        }
    }
}

/// Faces of a machine's fonts, plainest first.
struct Faces {
    database: Database,
    order: Vec<ID>,
}

impl Faces {
    fn of_machine() -> Faces {
        let mut database = Database::new();
        match std::env::var_os(FOLDER) {
            Some(folder) => database.load_fonts_dir(folder),
            None => database.load_system_fonts(),
        }
        Faces::new(database)
    }

    fn new(database: Database) -> Faces {
        let mut faces: Vec<&FaceInfo> = database.faces().collect();
        faces.sort_by_key(|face| {
            let plain = face.style == Style::Normal && face.stretch == Stretch::Normal;
            (Reverse(plain), face.weight.0.abs_diff(400), face.post_script_name.clone())
        });
        let order = faces.iter().map(|face| face.id).collect();
        Faces { database, order }
    }

    /// Returns the glyph of a character from the first face that has it.
    fn glyph(&mut self, c: char) -> Option<Glyph> {
        let has =
            |id: &ID| self.database.with_face_data(*id, |data, index| of_face(data, index, c)).flatten();
        let (at, glyph) = self.order.iter().enumerate().find_map(|(at, id)| Some((at, has(id)?)))?;
        // Texts stay within a script: the next character is looked for here first.
        self.order[..=at].rotate_right(1);
        Some(glyph)
    }
}

/// Returns the glyph of a character in a face: its outline, or its picture.
fn of_face(data: &[u8], index: u32, c: char) -> Option<Glyph> {
    let font = FontRef::try_from_slice_and_index(data, index).ok()?;
    let id = font.glyph_id(c);
    if id == GlyphId(0) {
        return None;
    }
    outline(&font, id, width(c))
        .or_else(|| of_picture(font.glyph_raster_image2(id, EM as u16)?.data, width(c)))
}

/// Rasterises an outline; one wider than its cells is scaled down.
fn outline(font: &FontRef<'_>, id: GlyphId, cells: u32) -> Option<Glyph> {
    let em = font.units_per_em()?;
    let advance = font.h_advance_unscaled(id) * EM / em;
    let narrow = if cells > 0 && advance > cells as f32 { cells as f32 / advance } else { 1.0 };
    let height = font.height_unscaled() * EM / em;
    let scale = PxScale { x: height * narrow, y: height };
    let space = if cells > 0 { ((cells as f32 - advance * narrow) / 2.0).max(0.0) } else { 0.0 };
    let origin = ab_glyph::point(space, BASELINE);
    let outlined = font.outline_glyph(id.with_scale_and_position(scale, origin))?;
    let bounds = outlined.px_bounds();
    let mut picture = RgbaImage::new(bounds.width() as u32, bounds.height() as u32);
    outlined.draw(|x, y, covered| {
        if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
            *pixel = Rgba([0, 0, 0, (covered.clamp(0.0, 1.0) * 255.0).round() as u8]);
        }
    });
    Some(Glyph { left: bounds.min.x as i32, top: bounds.min.y as i32, picture, colored: false })
}

/// Scales a glyph that is a picture, such as an emoji, to its cells.
fn of_picture(data: &[u8], cells: u32) -> Option<Glyph> {
    let picture = image::load_from_memory(data).ok()?.to_rgba8();
    let side = cells.max(1);
    let height = (picture.height() * side).div_ceil(picture.width().max(1)).clamp(1, 2 * side);
    let picture = resize(&picture, side, height, FilterType::Triangle);
    let top = (BASELINE as i32 + 2 - height as i32).max(0);
    Some(Glyph { left: 0, top, picture, colored: true })
}

fn of_bitmap(raster: &RasterizedChar) -> Glyph {
    let rows: Vec<_> = raster.rows().collect();
    let picture = RgbaImage::from_fn(raster.width() as u32, rows.len() as u32, |x, y| {
        Rgba([0, 0, 0, rows[y as usize][x as usize]])
    });
    Glyph { left: 0, top: 0, picture, colored: false }
}

fn empty() -> Glyph {
    Glyph { left: 0, top: 0, picture: RgbaImage::new(0, 0), colored: false }
}

/// Returns the box that is drawn for a character without a glyph.
fn tofu(width: u32) -> Glyph {
    let (width, height) = (width.saturating_sub(2).max(3), 11);
    let border = |x: u32, y: u32| x == 0 || y == 0 || x + 1 == width || y + 1 == height;
    let picture =
        RgbaImage::from_fn(width, height, |x, y| Rgba([0, 0, 0, if border(x, y) { 255 } else { 0 }]));
    Glyph { left: 1, top: BASELINE as i32 - 10, picture, colored: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_fonts() -> Fonts {
        Fonts { faces: Some(Faces::new(Database::new())), ..Fonts::default() }
    }

    #[test]
    fn widths_do_not_depend_on_fonts() {
        let cell = width('a');
        assert_eq!(("aé電", width('é'), width('電'), width('😍')), ("aé電", cell, 2 * cell, 2 * cell));
        assert_eq!((width('\u{200d}'), width('\u{fe0f}'), width('\u{7}')), (0, 0, cell));
    }

    #[test]
    fn a_character_without_a_glyph_is_a_box_with_a_note() {
        let mut fonts = without_fonts();
        let boxed = fonts.glyph('電');
        let ink: Vec<(i32, i32)> = boxed.pixels(Rgb([9; 3])).map(|(x, y, ..)| (x, y)).collect();
        assert!(ink.contains(&(1, 3)) && ink.contains(&(12, 13)) && !ink.contains(&(6, 8)), "{ink:?}");
        fonts.glyph('a');
        fonts.glyph('é');
        fonts.glyph('\u{fe0f}');
        assert_eq!(fonts.missing.into_iter().collect::<String>(), "電");
    }

    #[test]
    fn letters_of_the_program_need_no_font() {
        let mut fonts = Fonts::default();
        for c in "Az09?é±Łőž\u{7}".chars() {
            assert!(fonts.glyph(c).pixels(Rgb([0; 3])).count() > 0, "{c}");
        }
        assert!(fonts.missing.is_empty() && fonts.faces.is_none());
    }

    #[test]
    fn pictures_of_emoji_keep_their_colours() {
        let mut png = std::io::Cursor::new(vec![]);
        let red = RgbaImage::from_pixel(20, 20, Rgba([255, 0, 0, 255]));
        red.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let glyph = of_picture(png.get_ref(), 14).unwrap();
        assert_eq!(glyph.picture.dimensions(), (14, 14));
        assert!(glyph.pixels(Rgb([0; 3])).all(|(_, _, color, _)| color == Rgb([255, 0, 0])));
    }
}
