//! Decoder of picture files: within limits, rotated by their EXIF orientation, transparent parts over white.

use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::content::{Content, content};
use crate::error::{Error, Result};
use crate::input::npy;
use crate::wording::size;

/// Largest size of a decoded picture before it is resized, in bytes.
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// Extensions of the files of a folder that are read as pictures.
const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp"];

/// Decoded picture, as a viewer of its file shows it.
pub struct Decoded {
    /// Opaque pixels.
    pub picture: DynamicImage,
    /// Notes for the user on changes, such as rotation; mostly empty.
    pub notes: Vec<&'static str>,
}

/// Reads a picture.
///
/// # Errors
/// For a file that is not a picture, and for one above the limits.
pub fn decode(path: &Path, max_bytes: u64) -> Result<Decoded> {
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| Error::invalid(e.to_string()))?;
    let format = reader.format();
    let mut limits = image::Limits::default();
    let most = max_bytes.min(MAX_DECODED_BYTES);
    limits.max_alloc = Some(most);
    reader.limits(limits);
    let refuse = |e: image::ImageError| match e {
        image::ImageError::Limits(e) => Error::limit(format!("the picture is too large: {e}")),
        e => match content(path) {
            Some(kind) if kind != Content::Picture => npy::wrong_content("a picture", kind),
            None if matches!(e, image::ImageError::Unsupported(_)) => {
                Error::invalid("expected a picture (png, jpeg, bmp, gif, tiff, webp), found something else")
            }
            _ => Error::invalid(format!("invalid picture: {e}")),
        },
    };
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    // The decoder's own limit does not cover the picture that it fills.
    if decoder.total_bytes() > most {
        let (width, height) = decoder.dimensions();
        return Err(Error::limit(format!(
            "the picture is too large: {width}×{height} pixels take {}, the limit is {}",
            size(decoder.total_bytes()),
            size(most)
        )));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    if picture.width() == 0 || picture.height() == 0 {
        return Err(Error::invalid("the picture is empty"));
    }
    let mut notes = vec![];
    match format {
        Some(ImageFormat::Gif) => notes.push("the first frame of the GIF is taken"),
        Some(ImageFormat::Tiff) => notes.push("the first page of the TIFF is taken"),
        _ => {}
    }
    if orientation != Orientation::NoTransforms {
        picture.apply_orientation(orientation);
        notes.push("turned as its EXIF orientation says");
    }
    if picture.color().has_alpha() && over_white(&mut picture) {
        notes.push("its transparent parts are laid over white");
    }
    Ok(Decoded { picture, notes })
}

/// Lays a picture over white. Returns true if it has a transparent part.
fn over_white(picture: &mut DynamicImage) -> bool {
    let mut pixels = picture.to_rgba8();
    let mut transparent = false;
    for pixel in pixels.pixels_mut().filter(|p| p.0[3] < 255) {
        transparent = true;
        let alpha = u32::from(pixel.0[3]);
        for channel in &mut pixel.0[..3] {
            *channel = ((u32::from(*channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
        pixel.0[3] = 255;
    }
    if transparent {
        *picture = DynamicImage::ImageRgba8(pixels);
    }
    transparent
}

/// Returns the files among paths: files as they are, and the pictures in folders sorted by name.
///
/// # Errors
/// For a folder that cannot be read or contains no picture.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = vec![];
    for path in paths {
        if path.is_dir() {
            all.extend(folder(path)?);
        } else {
            all.push(path.clone());
        }
    }
    Ok(all)
}

fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::invalid(format!("`{}`: {e}", path.display()));
    let mut files = vec![];
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let kind = file.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        if kind.is_some_and(|k| EXTENSIONS.contains(&k.as_str())) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let kinds = EXTENSIONS.join(", ");
        return Err(Error::invalid(format!(
            "no picture in the folder `{}`: expected {kinds}",
            path.display()
        )));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    #[test]
    fn transparent_parts_become_white() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.png");
        let picture = RgbaImage::from_fn(2, 1, |x, _| Rgba([10, 20, 30, if x == 0 { 0 } else { 255 }]));
        picture.save(&path).unwrap();
        let decoded = decode(&path, 1 << 20).unwrap();
        assert_eq!(decoded.notes, ["its transparent parts are laid over white"]);
        assert_eq!(decoded.picture.to_rgb8().into_raw(), [255, 255, 255, 10, 20, 30]);
        RgbaImage::from_pixel(2, 1, Rgba([1, 2, 3, 255])).save(&path).unwrap();
        assert!(decode(&path, 1 << 20).unwrap().notes.is_empty());
    }

    #[test]
    fn pictures_are_turned_as_their_exif_says() {
        use image::ImageEncoder;
        // One entry: orientation 6, a quarter turn to the right.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.png");
        let mut encoder = image::codecs::png::PngEncoder::new(std::fs::File::create(&path).unwrap());
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&[1, 2, 3, 4, 5, 6], 3, 2, image::ExtendedColorType::L8).unwrap();
        let decoded = decode(&path, 1 << 20).unwrap();
        assert_eq!(decoded.notes, ["turned as its EXIF orientation says"]);
        assert_eq!(decoded.picture.to_luma8().into_raw(), [4, 1, 5, 2, 6, 3]);
    }

    #[test]
    fn gif_and_tiff_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for (name, note) in [("p.gif", "frame of the GIF"), ("p.tiff", "page of the TIFF")] {
            let path = folder.path().join(name);
            RgbaImage::from_pixel(3, 2, Rgba([255, 0, 0, 255])).save(&path).unwrap();
            let decoded = decode(&path, 1 << 20).unwrap();
            assert!(decoded.notes[0].contains(note), "{:?}", decoded.notes);
            assert_eq!(decoded.picture.to_rgb8().get_pixel(2, 1).0, [255, 0, 0]);
        }
    }

    #[test]
    fn folders_are_listed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(&[folder.path().into()]).is_err());
        for name in ["b.png", "a.JPG", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let all = files(&["z.png".into(), folder.path().into()]).unwrap();
        let names: Vec<_> = all.iter().filter_map(|f| f.file_name()?.to_str()).collect();
        assert_eq!(names, ["z.png", "a.JPG", "b.png"]);
    }
}
