//! Overlay of relevance on a picture, in the size of the picture.

use image::{Rgb, RgbImage};

use super::palette::Colors;
use super::palette::{blend, color, relative, scale};
use crate::input::Fit;

/// Share of white in the picture under the relevance.
const FADED: f64 = 0.35;
/// Share of white in the picture outside of the input.
const FADED_OUTSIDE: f64 = 0.7;

/// Opacity of the strongest relevance, from 0 to 1.
const STRONGEST: f64 = 0.85;

/// Relevance of the pixels of an input, with the map from the picture.
pub struct Map<'a> {
    /// Relevance of each pixel of the input, row by row.
    pub relevance: &'a [f64],
    /// Map from pixels of the picture to those of the input.
    pub fit: Fit,
}

/// Draws relevance over the picture of an input, interpolated between the pixels of the input. The parts of the picture
/// outside of the input are paler and have no relevance.
pub fn draw(picture: &RgbImage, map: &Map, colors: Colors) -> RgbImage {
    let strongest = scale(map.relevance);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let pixel = *picture.get_pixel(x, y);
        let [r, g, b] = pixel.0.map(f64::from);
        let grey = Rgb([(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]);
        let white = Rgb([255; 3]);
        let Some(relevance) = map.at(f64::from(x) + 0.5, f64::from(y) + 0.5) else {
            return blend(grey, white, FADED_OUTSIDE);
        };
        let t = relative(relevance, strongest);
        if t.is_nan() {
            return color(colors, t);
        }
        let strength = t.abs().min(1.0).sqrt();
        blend(blend(grey, white, FADED), color(colors, t.signum() * strength), STRONGEST * strength)
    })
}

impl Map<'_> {
    /// Returns the relevance at a point of the picture; `None` outside of the input.
    fn at(&self, x: f64, y: f64) -> Option<f64> {
        let [u, v, ..] = self.fit.to_input([x, y, x, y]);
        let (width, height) = (self.fit.input.0 as usize, self.fit.input.1 as usize);
        if !(0.0..width as f64).contains(&u) || !(0.0..height as f64).contains(&v) {
            return None;
        }
        // Pixel i of the input has its middle at i + 0.5; beyond the outermost middles nothing changes.
        let (u, v) = ((u - 0.5).max(0.0), (v - 0.5).max(0.0));
        let (left, top) = ((u as usize).min(width - 1), (v as usize).min(height - 1));
        let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
        let (across, down) = (u - left as f64, v - top as f64);
        let value = |x: usize, y: usize| self.relevance.get(y * width + x).copied();
        let row = |y: usize| Some(value(left, y)? * (1.0 - across) + value(right, y)? * across);
        Some(row(top)? * (1.0 - down) + row(bottom)? * down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_lies_where_the_crop_was() {
        // The middle 4 by 4 of 8 by 4 pixels, at half the size.
        let fit = Fit { picture: (8, 4), input: (2, 2), scale: (0.5, 0.5), shift: (-1.0, 0.0) };
        let map = Map { relevance: &[1.0, 0.0, 0.0, -1.0], fit };
        assert_eq!((map.at(1.9, 2.0), map.at(6.1, 2.0)), (None, None));
        assert_eq!((map.at(2.5, 0.5), map.at(5.5, 3.5)), (Some(1.0), Some(-1.0)));
        assert_eq!(map.at(4.0, 2.0), Some(0.0));
        let drawn = draw(&RgbImage::from_pixel(8, 4, Rgb([0; 3])), &map, Colors::BlueRed);
        assert_eq!(drawn.dimensions(), (8, 4));
        let (red, blue, outside) =
            (drawn.get_pixel(2, 0).0, drawn.get_pixel(5, 3).0, drawn.get_pixel(0, 0).0);
        assert!(red[0] > red[2] && blue[2] > blue[0] && outside[0] == outside[2]);
    }

    #[test]
    fn a_padded_picture_is_all_within() {
        // 2 by 1 pixels in an input of 2 by 3, a row of padding above and below.
        let fit = Fit { picture: (2, 1), input: (2, 3), scale: (1.0, 1.0), shift: (0.0, 1.0) };
        let map = Map { relevance: &[9.0, 9.0, 1.0, 2.0, 9.0, 9.0], fit };
        assert_eq!((map.at(0.5, 0.5), map.at(1.5, 0.5)), (Some(1.0), Some(2.0)));
    }
}
