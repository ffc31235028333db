//! The picture of a summary.

use serde::Serialize;

use dlbc::input::InputPicture;

/// A picture, and the part of it that is the input.
#[derive(Serialize)]
pub struct Picture {
    /// The file.
    #[serde(rename = "picture")]
    pub file: String,
    crop: Crop,
}

/// The rectangle of the input, in pixels of the picture; where the picture was padded it reaches beyond it.
#[derive(Serialize)]
struct Crop {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Picture {
    /// A picture that became an input.
    pub fn new(seen: &InputPicture) -> Picture {
        let (across, down) = (f64::from(seen.fit.input.0), f64::from(seen.fit.input.1));
        let [left, top, right, bottom] = seen.fit.to_picture([0.0, 0.0, across, down]);
        let crop = Crop { x: left, y: top, width: right - left, height: bottom - top };
        Picture { file: seen.file.display().to_string(), crop }
    }
}
