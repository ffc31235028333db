//! Summary of an input picture.

use serde::Serialize;

use dlbc::input::InputPicture;

/// Picture file, and the part of it that became the input.
#[derive(Serialize)]
pub struct Picture {
    /// Path of the file.
    #[serde(rename = "picture")]
    pub file: String,
    crop: Crop,
}

/// Rectangle of the input, in pixels of the picture; it reaches beyond a picture that was padded.
#[derive(Serialize)]
struct Crop {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Picture {
    /// Creates the summary of a picture.
    pub fn new(seen: &InputPicture) -> Picture {
        let (across, down) = (f64::from(seen.fit.input.0), f64::from(seen.fit.input.1));
        let [left, top, right, bottom] = seen.fit.to_picture([0.0, 0.0, across, down]);
        let crop = Crop { x: left, y: top, width: right - left, height: bottom - top };
        Picture { file: seen.file.display().to_string(), crop }
    }
}
